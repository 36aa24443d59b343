//! Images that cannot be read: replaced in training, left out of evaluations, listed once, and never too many.
#![allow(clippy::unwrap_used)]

use candle_core::Device;
use selfie_train::{
    Augment, BadImages, Batch, DataError, Dataset, Loader, LoaderConfig, Normalise, OnBadImage, Split, Transform,
    channel_stats,
};
use tempfile::TempDir;

/// `count` images whose red is their number; those in `bad` are no images.
fn folder(count: usize, bad: &[usize]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..count {
        let path = dir.path().join(format!("{i:03}.png"));
        match bad.contains(&i) {
            true => std::fs::write(path, "broken").unwrap(),
            false => image::RgbImage::from_pixel(4, 4, image::Rgb([i as u8, 0, 0])).save(path).unwrap(),
        }
    }
    dir
}

fn open(dir: &TempDir, bad: &BadImages) -> Dataset {
    Dataset::open(dir.path().to_str().unwrap(), Split::Train).unwrap().with_bad_images(bad)
}

fn normalise() -> Normalise {
    Normalise::new(&[0.0; 3], &[1.0; 3]).unwrap()
}

fn training(data: &Dataset, workers: usize, positions: std::ops::Range<u64>) -> Result<Vec<Batch>, DataError> {
    let (start_position, end_position) = (positions.start, Some(positions.end));
    let config = LoaderConfig { batch_size: 8, workers, seed: 3, start_position, end_position, ..Default::default() };
    let transform = Transform::train(Augment::None, 4);
    let mut loader = Loader::new(data.clone(), transform, normalise(), config, &Device::Cpu)?;
    std::iter::from_fn(|| loader.next().transpose()).collect()
}

fn red(batch: &Batch) -> Vec<usize> {
    let pixels = batch.images.narrow(1, 0, 1).unwrap().narrow(2, 0, 1).unwrap().narrow(3, 0, 1).unwrap();
    let pixels: Vec<f32> = pixels.flatten_all().unwrap().to_vec1().unwrap();
    pixels.iter().map(|p| (p * 255.0).round() as usize).collect()
}

#[test]
fn batches_stay_full_and_the_same_whatever_the_threads_and_the_start() {
    let dir = folder(40, &[5, 17]);
    let skip = || open(&dir, &BadImages::new(OnBadImage::Skip, 0.05));
    let one = training(&skip(), 1, 0..120).unwrap();
    let four = training(&skip(), 4, 0..120).unwrap();
    let resumed = training(&skip(), 3, 56..120).unwrap();
    let indices = |batches: &[Batch]| batches.iter().map(|b| b.indices.clone()).collect::<Vec<_>>();
    assert_eq!(indices(&one), indices(&four));
    assert_eq!(indices(&one)[7..], indices(&resumed));
    assert!(one.iter().all(|batch| batch.len() == 8 && batch.indices == red(batch)));
    // Three epochs, each with two draws more.
    let mut counts = [0; 40];
    one.iter().flat_map(|batch| &batch.indices).for_each(|&i| counts[i] += 1);
    assert_eq!((counts[5], counts[17], counts.iter().sum::<i32>()), (0, 0, 120));
    assert!((0..40).filter(|i| ![5, 17].contains(i)).all(|i| counts[i] >= 3));
}

#[test]
fn each_bad_image_is_listed_once_with_its_reason() {
    let dir = folder(40, &[5, 17]);
    let list = tempfile::tempdir().unwrap();
    let file = list.path().join("bad-images.txt");
    let bad = BadImages::new(OnBadImage::Skip, 0.05);
    bad.list_in(&file).unwrap();
    training(&open(&dir, &bad), 2, 0..120).unwrap();
    let listed = std::fs::read_to_string(&file).unwrap();
    assert_eq!((listed.lines().count(), bad.count()), (2, 2));
    assert!(listed.lines().all(|line| line.starts_with("005.png\t") || line.starts_with("017.png\t")), "{listed}");
    assert!(listed.contains("neither JPEG"), "{listed}");
}

#[test]
fn more_than_the_limit_ends_the_run_and_says_so() {
    let dir = folder(40, &[5, 17, 30]);
    let text = training(&open(&dir, &BadImages::new(OnBadImage::Skip, 0.05)), 2, 0..400).unwrap_err().to_string();
    assert!(text.contains("3 of 40 images could not be read") && text.contains("data.max_bad_images = 0.05"), "{text}");
    training(&open(&dir, &BadImages::new(OnBadImage::Skip, 0.1)), 2, 0..400).unwrap();
    let text =
        training(&open(&folder(9, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), &BadImages::new(OnBadImage::Skip, 1.0)), 2, 0..8);
    assert!(text.unwrap_err().to_string().contains(".png"));
}

#[test]
fn one_image_that_can_be_read_is_enough_to_train_on() {
    let bad = BadImages::new(OnBadImage::Skip, 0.05);
    let dir = folder(1000, &(0..39).collect::<Vec<_>>());
    let few = open(&dir, &bad).select(&(0..40).collect::<Vec<_>>()).unwrap(); // a label budget's, say
    assert!(training(&few, 2, 0..80).unwrap().iter().all(|batch| batch.indices == [39; 8]));
}

#[test]
fn fail_ends_with_the_first_one() {
    let dir = folder(40, &[5]);
    let text = training(&open(&dir, &BadImages::new(OnBadImage::Fail, 0.05)), 2, 0..400).unwrap_err().to_string();
    assert!(text.contains("cannot read the image") && text.contains("005.png"), "{text}");
}

#[test]
fn an_evaluation_leaves_them_out_and_repeats_none() {
    let dir = folder(40, &[0, 1, 2, 17]);
    let bad = BadImages::new(OnBadImage::Skip, 0.1);
    let mut loader = Loader::once(open(&dir, &bad), Transform::eval(4), normalise(), 3, 2, &Device::Cpu).unwrap();
    let batches: Vec<_> = std::iter::from_fn(|| loader.next().unwrap()).collect();
    let seen: Vec<_> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(seen, (3..40).filter(|&i| i != 17).collect::<Vec<_>>());
    assert!(batches.iter().all(|b| !b.is_empty() && b.keys.len() == b.len() && b.indices == red(b)));
    assert_eq!(bad.count(), 4);
}

#[test]
fn the_share_of_bad_images_is_that_of_all_images_of_a_run() {
    // 3 of 40 training images and 3 of 4 evaluated ones are bad: 6 of the 100 that the list is of.
    let (train, test) = (folder(40, &[0, 1, 2]), folder(60, &[10, 20, 30]));
    let read = |limit: f64| {
        let bad = BadImages::new(OnBadImage::Skip, limit);
        let (train, test) = (open(&train, &bad), open(&test, &bad).select(&[10, 20, 30, 40]).unwrap());
        training(&train, 2, 0..120)?;
        let mut loader = Loader::once(test, Transform::eval(4), normalise(), 2, 2, &Device::Cpu)?;
        let mut read = Vec::new();
        while let Some(batch) = loader.next()? {
            read.extend(batch.indices);
        }
        Ok::<_, DataError>((read, loader.position()))
    };
    assert_eq!(read(0.06).unwrap(), (vec![3], 4));
    let text = read(0.05).unwrap_err().to_string();
    assert!(text.contains("6 of 100 images") && text.contains("030.png"), "{text}");
}

#[test]
fn an_image_has_the_same_key_in_every_evaluation() {
    let once = |bad: &[usize], kept: &[usize]| {
        let dir = folder(20, bad);
        let data = open(&dir, &BadImages::new(OnBadImage::Skip, 1.0)).select(kept).unwrap();
        let mut loader = Loader::once(data, Transform::eval(4), normalise(), 3, 2, &Device::Cpu).unwrap();
        let batches = std::iter::from_fn(|| loader.next().unwrap());
        batches.flat_map(|batch| red(&batch).into_iter().zip(batch.keys).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..20).collect();
    let whole = once(&[], &all);
    let without =
        |left_out: &[usize]| whole.iter().copied().filter(|(number, _)| !left_out.contains(number)).collect::<Vec<_>>();
    assert_eq!(once(&[0, 4, 19], &all), without(&[0, 4, 19])); // unreadable
    assert_eq!(once(&[], &all[5..]), without(&[0, 1, 2, 3, 4])); // not in the set
    assert!((0..20).all(|i| whole.iter().filter(|(_, key)| *key == whole[i].1).count() == 1));
}

#[test]
fn pictures_take_the_next_image_that_can_be_read() {
    let readable = |bad: &[usize], most: usize| {
        open(&folder(40, bad), &BadImages::new(OnBadImage::Skip, 1.0)).readable(most).unwrap()
    };
    assert_eq!(readable(&[], 4), [0, 10, 20, 30]);
    assert_eq!(readable(&[0, 10, 11, 30], 4), [1, 12, 20, 31]);
    assert_eq!(readable(&(9..40).collect::<Vec<_>>(), 4), [0, 1, 2, 3]); // after the last comes the first
    assert_eq!(readable(&(2..40).collect::<Vec<_>>(), 4), [0, 1]);
    let fail = open(&folder(40, &[10]), &BadImages::new(OnBadImage::Fail, 1.0)).readable(4).unwrap_err().to_string();
    assert!(fail.contains("010.png"), "{fail}");
}

#[test]
fn mean_and_deviation_are_those_of_the_others() {
    let dir = folder(40, &[5, 17]);
    let bad = BadImages::new(OnBadImage::Skip, 0.05);
    let (mean, _) = channel_stats(&open(&dir, &bad), 100).unwrap();
    let expected = (0..40).filter(|i| ![5, 17].contains(i)).sum::<i32>() as f32 / 38.0 / 255.0;
    assert!((mean[0] - expected).abs() < 1e-6, "{mean:?}");
    assert_eq!(bad.count(), 2);
    assert!(channel_stats(&open(&dir, &BadImages::default()), 100).is_err());
}

#[test]
fn ranks_share_each_batch_and_no_image() {
    let dir = folder(40, &[]);
    let data = open(&dir, &BadImages::default());
    let part = |rank: usize, ranks: usize| {
        let config = LoaderConfig {
            batch_size: 8,
            seed: 3,
            end_position: Some(80),
            rank,
            ranks,
            workers: 2,
            ..Default::default()
        };
        let mut loader = Loader::new(data.clone(), Transform::eval(4), normalise(), config, &Device::Cpu).unwrap();
        std::iter::from_fn(|| loader.next().unwrap())
            .map(|batch| (batch.indices.clone(), batch.keys))
            .collect::<Vec<_>>()
    };
    let whole = part(0, 1);
    for ranks in [2, 3, 8] {
        let parts: Vec<_> = (0..ranks).map(|rank| part(rank, ranks)).collect();
        for (batch, (indices, keys)) in whole.iter().enumerate() {
            let joined: Vec<_> = parts.iter().flat_map(|part| part[batch].0.clone()).collect();
            let joined_keys: Vec<_> = parts.iter().flat_map(|part| part[batch].1.clone()).collect();
            assert_eq!((&joined, &joined_keys), (indices, keys));
        }
    }
    let config = LoaderConfig { batch_size: 8, rank: 3, ranks: 3, ..Default::default() };
    let error = Loader::new(data.clone(), Transform::eval(4), normalise(), config, &Device::Cpu).err().unwrap();
    assert!(error.to_string().starts_with("rank: 3, expected below the 3 ranks"), "{error}");
    let config = LoaderConfig { batch_size: 8, end_position: Some(9), ranks: 2, ..Default::default() };
    let error = Loader::new(data, Transform::eval(4), normalise(), config, &Device::Cpu).err().unwrap();
    assert!(error.to_string().starts_with("batch_size: a batch of 1 images"), "{error}");
}

#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file_is_one_bad_image_in_folders_and_lists() {
    use std::os::unix::fs::symlink;
    let dir = folder(40, &[]);
    let at = |name: &str| dir.path().join(name);
    for (name, target) in [("050.png", "051.png"), ("051.png", "050.png"), ("052.png", "/dev/zero"), ("053.png", "no")]
    {
        symlink(target, at(name)).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(at("054.png")).status().unwrap().success());
    let names = |data: &Dataset| (0..data.len()).map(|i| data.name(i)).collect::<Vec<_>>();
    let list = tempfile::tempdir_in(dir.path()).unwrap();
    let lines: Vec<_> = (0..40).chain(50..55).map(|i| format!("../{i:03}.png")).collect();
    std::fs::write(list.path().join("all.txt"), lines.join("\n")).unwrap();
    let list = format!("list:{}", list.path().join("all.txt").display());
    for given in [dir.path().to_str().unwrap(), &list] {
        let bad = BadImages::new(OnBadImage::Skip, 0.2);
        let data = Dataset::open(given, Split::Train).unwrap().with_bad_images(&bad);
        assert_eq!(names(&data).len(), 45, "{given}");
        training(&data, 2, 0..96).unwrap();
        let bad: Vec<_> = bad.all().into_iter().map(|(name, _)| name.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(bad, ["050.png", "051.png", "052.png", "053.png", "054.png"], "{given}");
    }
}
