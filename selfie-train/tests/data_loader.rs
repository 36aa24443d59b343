//! The loader: the same bits whatever the threads and wherever it starts, strict order, errors in their place.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device};
use rand::SeedableRng;
use selfie_train::{Augment, Batch, Dataset, Image8, Loader, LoaderConfig, Normalise, Split, Transform};

const SIZE: usize = 16;

/// Noise of different sizes; the label is the number of the image.
fn data(count: u32) -> Dataset {
    let image = |i: u32| {
        let (width, height) = (20 + i as usize % 7, 17 + i as usize % 5);
        let byte = |k: usize| (k as u32).wrapping_mul(2_654_435_761).wrapping_add(i * 977).to_be_bytes()[0];
        Image8::new(width, height, (0..width * height * 3).map(byte).collect()).unwrap()
    };
    let names: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let labels: Vec<u32> = (0..count).collect();
    Dataset::from_images((0..count).map(image).collect(), &labels, &names).unwrap()
}

fn normalise() -> Normalise {
    Normalise::new(&[0.5, 0.4, 0.3], &[0.2, 0.3, 0.4]).unwrap()
}

fn loader(data: &Dataset, augment: Augment, workers: usize, positions: std::ops::Range<u64>) -> Loader {
    let config = LoaderConfig {
        batch_size: 6,
        workers,
        seed: 5,
        start_position: positions.start,
        end_position: Some(positions.end),
        ..Default::default()
    };
    Loader::new(data.clone(), Transform::train(augment, SIZE), normalise(), config, &Device::Cpu).unwrap()
}

fn all(mut loader: Loader) -> Vec<Batch> {
    std::iter::from_fn(|| loader.next().unwrap()).collect()
}

fn bits(batch: &Batch) -> Vec<u32> {
    let floats: Vec<f32> = batch.images.flatten_all().unwrap().to_vec1().unwrap();
    floats.iter().map(|f| f.to_bits()).collect()
}

fn same(a: &Batch, b: &Batch) -> bool {
    let labels = |batch: &Batch| batch.labels.as_ref().unwrap().to_vec1::<u32>().unwrap();
    bits(a) == bits(b) && labels(a) == labels(b) && a.indices == b.indices && a.keys == b.keys
}

#[test]
fn threads_and_a_start_in_the_middle_change_no_bit() {
    let data = data(20); // 6 does not divide 20: batches cross the epochs' borders
    for augment in [Augment::RandomResizedCrop, Augment::PaddedCrop, Augment::Flip] {
        let one = all(loader(&data, augment, 1, 0..60));
        let four = all(loader(&data, augment, 4, 0..60));
        let resumed = all(loader(&data, augment, 3, 24..60));
        assert_eq!((one.len(), four.len(), resumed.len()), (10, 10, 6));
        assert!(one.iter().zip(&four).all(|(a, b)| same(a, b)));
        assert!(one[4..].iter().zip(&resumed).all(|(a, b)| same(a, b)));
    }
}

#[test]
fn every_epoch_visits_each_image_once_with_fresh_augmentation() {
    let data = data(12);
    let batches = all(loader(&data, Augment::RandomResizedCrop, 2, 0..36));
    let view_of_image_3 = |epoch: &[Batch]| {
        let mut seen: Vec<_> = epoch.iter().flat_map(|b| b.indices.clone()).collect();
        let at = seen.iter().position(|&i| i == 3).unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..12).collect::<Vec<_>>());
        bits(&epoch[at / 6].narrow(at % 6, 1).unwrap())
    };
    let views: Vec<_> = batches.chunks(2).map(view_of_image_3).collect();
    assert!(views[0] != views[1] && views[1] != views[2] && views[0] != views[2]);
}

#[test]
fn batches_say_where_they_stand_and_the_last_one_is_short() {
    let batches = all(loader(&data(20), Augment::None, 2, 6..20));
    let keys: Vec<_> = batches.iter().map(|b| b.keys.clone()).collect();
    assert_eq!(keys, [6..12, 12..18, 18..20].map(|positions| positions.collect::<Vec<u64>>()));
    let last = &batches[2];
    assert_eq!(last.images.dims(), [2, 3, SIZE, SIZE]);
    assert_eq!(last.images.dtype(), DType::F32);
    let labels: Vec<u32> = last.labels.as_ref().unwrap().to_vec1().unwrap();
    assert_eq!(labels, last.indices.iter().map(|&i| i as u32).collect::<Vec<_>>());
}

#[test]
fn a_micro_batch_is_a_part_of_its_batch() {
    let batch = &all(loader(&data(12), Augment::Flip, 2, 6..12))[0];
    let part = batch.narrow(2, 3).unwrap();
    assert_eq!((part.len(), part.keys.clone()), (3, vec![8, 9, 10]));
    assert_eq!(part.indices, batch.indices[2..5]);
    assert_eq!(bits(&part), bits(batch)[2 * 3 * SIZE * SIZE..5 * 3 * SIZE * SIZE]);
    assert!(batch.narrow(4, 3).is_err());
}

#[test]
fn once_delivers_every_image_in_order_normalised() {
    let data = data(7);
    let loader = Loader::once(data.clone(), Transform::eval(SIZE), normalise(), 3, 2, &Device::Cpu);
    let batches = all(loader.unwrap());
    let indices: Vec<_> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, (0..7).collect::<Vec<_>>());
    let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(0); // evaluation draws nothing
    let view = Transform::eval(SIZE).apply(&data.load(6).unwrap(), rng).unwrap();
    let image = batches[2].images.get(0).unwrap(); // (C, H, W)
    let value: f32 = image.get(1).unwrap().get(4).unwrap().get(9).unwrap().to_scalar().unwrap();
    assert_eq!(value, (f32::from(view.pixel(9, 4)[1]) / 255.0 - 0.4) / 0.3);
}

#[test]
fn an_error_comes_in_its_place_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..9 {
        let path = dir.path().join(format!("{i}.png"));
        image::RgbImage::new(8, 8).save(path).unwrap();
    }
    std::fs::write(dir.path().join("4.png"), "broken").unwrap();
    let data = Dataset::open(dir.path().to_str().unwrap(), Split::Train).unwrap();
    let mut loader = Loader::once(data, Transform::eval(8), normalise(), 3, 4, &Device::Cpu).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().indices, [0, 1, 2]);
    let error = loader.next().unwrap_err().to_string();
    assert!(error.contains("4.png"), "{error}");
    assert_eq!(loader.next().unwrap().unwrap().indices, [6, 7, 8]);
    assert!(loader.next().unwrap().is_none());
}

#[test]
fn an_endless_loader_is_dropped_at_once() {
    let data = data(5);
    let config = LoaderConfig { batch_size: 4, workers: 3, ..Default::default() };
    let transform = Transform::train(Augment::Flip, SIZE);
    let start = std::time::Instant::now();
    for used in 0..3 {
        let mut loader = Loader::new(data.clone(), transform, normalise(), config.clone(), &Device::Cpu).unwrap();
        for _ in 0..used {
            assert_eq!(loader.next().unwrap().unwrap().len(), 4);
        }
        assert!(loader.waited() <= start.elapsed());
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn settings_out_of_range_are_named() {
    let nothing = data(3).select(&[]).unwrap();
    let once = |data, size, batch, workers| {
        let loader = Loader::once(data, Transform::eval(size), normalise(), batch, workers, &Device::Cpu);
        loader.err().unwrap().to_string()
    };
    assert!(once(nothing, 8, 1, 1).contains("0 images"));
    assert!(once(data(3), 0, 1, 1).starts_with("image_size: 0"));
    assert!(once(data(3), 8, 0, 1).starts_with("batch_size: 0"));
    assert!(once(data(3), 8, 1, 0).starts_with("data.workers: 0"));
}

#[test]
fn images_get_as_many_channels_as_mean_and_deviation_have() {
    let gray = Normalise::new(&[0.0], &[1.0]).unwrap();
    let once = |data: Dataset| Loader::once(data, Transform::eval(SIZE), gray.clone(), 2, 1, &Device::Cpu).unwrap();
    assert_eq!(all(once(data(2)))[0].images.dims(), [2, 1, SIZE, SIZE]);
    let five = Image8::new(SIZE, SIZE, vec![7; SIZE * SIZE * 5]).unwrap();
    let data = Dataset::from_images(vec![five], &[], &[]).unwrap();
    let error = once(data.clone()).next().unwrap_err().to_string();
    assert!(error.contains("5 channels, expected 1"), "{error}");
    let normalise = Normalise::new(&[0.5; 5], &[0.5; 5]).unwrap();
    let loader = Loader::once(data, Transform::train(Augment::PaddedCrop, SIZE), normalise, 1, 1, &Device::Cpu);
    assert_eq!(all(loader.unwrap())[0].images.dims(), [1, 5, SIZE, SIZE]);
}

#[test]
fn shards_give_the_same_batches_to_any_threads_and_from_any_start() {
    for name in ["hub", "webdataset", "imagenet32"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name);
        let whole = Dataset::open(folder.to_str().unwrap(), Split::Train).unwrap();
        let part = whole.select(&(1..whole.len()).collect::<Vec<_>>()).unwrap();
        for data in [whole, part] {
            let one = all(loader(&data, Augment::RandomResizedCrop, 1, 0..60));
            let four = all(loader(&data, Augment::RandomResizedCrop, 4, 0..60));
            let resumed = all(loader(&data, Augment::RandomResizedCrop, 3, 24..60));
            assert!(one.iter().zip(&four).all(|(a, b)| same(a, b)), "{name}");
            assert!(one[4..].iter().zip(&resumed).all(|(a, b)| same(a, b)), "{name}");
            let mut epoch: Vec<_> = one.iter().flat_map(|batch| batch.indices.clone()).take(data.len()).collect();
            epoch.sort_unstable();
            assert_eq!(epoch, (0..data.len()).collect::<Vec<_>>(), "{name}");
        }
    }
}
