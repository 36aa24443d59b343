//! `--data` strings that name folders of images: what is found, in which order, under which labels, and the errors.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use image::{Rgb, RgbImage};
use selfie_train::{DataError, Dataset, Image8, Split};
use tempfile::TempDir;

/// Writes a 3 x 2 image whose colour is `value`; the folders on the way are made.
fn picture(root: &Path, name: &str, value: u8) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_pixel(3, 2, Rgb([value; 3]));
    image.save_with_format(path, image::ImageFormat::Png).unwrap();
}

fn folder(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (value, name) in names.iter().enumerate() {
        picture(dir.path(), name, value as u8);
    }
    dir
}

fn open(dir: &TempDir, split: Split) -> Result<Dataset, DataError> {
    Dataset::open(dir.path().to_str().unwrap(), split)
}

fn listing(data: &Dataset) -> Vec<(String, Option<u32>)> {
    (0..data.len()).map(|i| (data.name(i), data.label(i))).collect()
}

fn named(pairs: &[(&str, Option<u32>)]) -> Vec<(String, Option<u32>)> {
    pairs.iter().map(|(name, label)| (name.to_string(), *label)).collect()
}

#[test]
fn flat_folders_are_sorted_and_have_no_labels() {
    let dir = folder(&["b.png", "a.JPG", "c.jpeg", ".hidden.png", "notes.txt", "d.PNG"]);
    let data = open(&dir, Split::Train).unwrap();
    let names = [("a.JPG", None), ("b.png", None), ("c.jpeg", None), ("d.PNG", None)];
    assert_eq!(listing(&data), named(&names));
    assert!(data.classes().is_empty() && !data.has_test_split());
    // `a.JPG` was written second; its content is a PNG, and the content decides.
    assert_eq!(data.load(0).unwrap(), Image8::new(3, 2, vec![1; 18]).unwrap());
}

#[test]
fn the_first_level_gives_the_labels_at_any_depth() {
    let dir = folder(&["dog/x/y/1.png", "cat/2.png", "beside.png", ".git/3.png", "empty/readme.txt"]);
    let data = open(&dir, Split::Train).unwrap();
    assert_eq!(data.classes(), ["cat", "dog"]);
    let names = [("beside.png", None), ("cat/2.png", Some(0)), ("dog/x/y/1.png", Some(1))];
    assert_eq!(listing(&data), named(&names));
}

#[test]
fn splits_share_their_classes() {
    for test in ["val", "validation", "test"] {
        let late = format!("{test}/ant/1.png");
        let dir = folder(&["train/dog/1.png", "train/cat/1.png", &late, "extra/1.png"]);
        let data = open(&dir, Split::Train).unwrap();
        assert!(data.has_test_split());
        assert_eq!(data.classes(), ["ant", "cat", "dog"]);
        let names = [("train/cat/1.png", Some(1)), ("train/dog/1.png", Some(2))];
        assert_eq!(listing(&data), named(&names));
        let data = open(&dir, Split::Test).unwrap();
        assert_eq!(data.classes(), ["ant", "cat", "dog"]);
        assert_eq!(listing(&data), named(&[(&late, Some(0))]));
    }
}

#[test]
fn val_is_preferred_to_test() {
    let dir = folder(&["train/1.png", "test/2.png", "val/3.png"]);
    let data = open(&dir, Split::Test).unwrap();
    assert_eq!(listing(&data), named(&[("val/3.png", None)]));
}

#[test]
fn train_alone_is_a_split_but_among_other_folders_a_class() {
    let split = open(&folder(&["train/a/1.png"]), Split::Train).unwrap();
    assert_eq!(split.classes(), ["a"]);
    let class = open(&folder(&["train/1.png", "bus/2.png"]), Split::Train).unwrap();
    assert_eq!(class.classes(), ["bus", "train"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_are_not() {
    let dir = folder(&["a/1.png"]);
    let other = folder(&["2.png"]);
    std::os::unix::fs::symlink(other.path(), dir.path().join("b")).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/back")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", dir.path().join("a/gone.png")).unwrap();
    let data = open(&dir, Split::Train).unwrap();
    let names = [("a/1.png", Some(0)), ("a/gone.png", Some(0)), ("b/2.png", Some(1))];
    assert_eq!(listing(&data), named(&names));
    let error = data.load(1).unwrap_err().to_string();
    assert!(error.contains("a/gone.png"), "{error}");
}

#[test]
fn folder_is_a_scheme_too() {
    let dir = folder(&["1.png"]);
    let data = Dataset::open(&format!("folder:{}", dir.path().display()), Split::Train).unwrap();
    assert_eq!(data.len(), 1);
}

#[test]
fn a_missing_split_says_what_would_make_it() {
    let error = open(&folder(&["a/1.png"]), Split::Test).unwrap_err();
    assert!(matches!(error, DataError::NoSplit { .. }));
    assert!(error.to_string().contains("val/, validation/ or test/"), "{error}");
}

#[test]
fn what_cannot_be_opened_is_named_with_what_was_expected() {
    let dir = folder(&["1.png"]);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let message = |given: &str| Dataset::open(given, Split::Train).unwrap_err().to_string();
    let text = message(&at("gone"));
    assert!(text.contains("no such folder") && text.contains(&at("gone")), "{text}");
    let text = message(&at("1.png"));
    assert!(text.contains("is a file"), "{text}");
    let text = message(&at("empty"));
    assert!(text.contains(&at("empty")) && text.contains(".jpg .jpeg .jpe .jfif .png"), "{text}");
    let text = message("zip:photos.zip");
    assert!(text.contains("\"zip\"") && text.contains("cifar10:DIR"), "{text}");
}

#[test]
fn an_unreadable_image_is_named_with_the_reason() {
    let dir = folder(&["1.png"]);
    let path = dir.path().join("2.jpg");
    std::fs::write(&path, "not an image").unwrap();
    let error = open(&dir, Split::Train).unwrap().load(1).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("JPEG"), "{error}");
}

#[test]
fn the_sample_is_there_with_both_splits() {
    let train = Dataset::open("sample", Split::Train).unwrap();
    let test = Dataset::open("sample", Split::Test).unwrap();
    assert_eq!((train.len(), test.len(), train.classes().len()), (192, 48, 12));
    assert_eq!(train.classes(), test.classes());
    assert!((0..48).all(|i| test.label(i) == Some(i as u32 / 4)));
    let image = train.load(0).unwrap();
    assert_eq!(image.width().min(image.height()), 160);
}
