//! What data are recognized as: splits, classes, and what is not read.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use selfie_train::{DataConfig, DataError, Dataset, Split, SplitRole};
use serde::Deserialize;
use tempfile::TempDir;

/// Folders of images, and the labels of their splits as Hugging Face's `datasets` 5.2.0 reads them; made by
/// `formats/layouts.py`.
#[derive(Deserialize)]
struct Peer {
    datasets: String,
    layouts: Vec<PeerLayout>,
}

#[derive(Deserialize)]
struct PeerLayout {
    name: String,
    files: Vec<String>,
    splits: BTreeMap<String, Vec<Option<String>>>,
}

/// A folder of these files; names of images get the bytes of one.
fn folder(files: &[impl AsRef<str>]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in files {
        let path = dir.path().join(name.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match name.as_ref().ends_with(".png") {
            true => image::RgbImage::new(2, 2).save(path).unwrap(),
            false => std::fs::write(path, "x").unwrap(),
        }
    }
    dir
}

fn of(dir: &Path) -> DataConfig {
    DataConfig { source: dir.to_str().unwrap().to_owned(), ..Default::default() }
}

fn class_names(data: &Dataset) -> Vec<Option<String>> {
    (0..data.len()).map(|i| data.label(i).map(|label| data.classes()[label as usize].clone())).collect()
}

/// The names of the splits with a role.
fn names(data: &Dataset, role: SplitRole) -> Vec<&str> {
    data.recognized().splits.iter().filter(|split| split.role == role).map(|split| split.name.as_str()).collect()
}

#[test]
fn splits_and_labels_of_folders_are_those_of_datasets() {
    let peer: Peer = serde_json::from_str(include_str!("formats/layouts.json")).unwrap();
    assert_eq!(peer.datasets, "5.2.0");
    for PeerLayout { name, files, splits } in peer.layouts {
        let dir = folder(&files);
        let opened: BTreeMap<_, _> =
            of(dir.path()).open_all().unwrap().into_iter().map(|(s, d)| (s as u8, d)).collect();
        let labels = |split: Split| opened.get(&(split as u8)).map(class_names);
        assert_eq!(labels(Split::Train).as_ref(), splits.get("train"), "{name}");
        assert_eq!(labels(Split::Test).as_ref(), splits.get("validation").or(splits.get("test")), "{name}");
    }
}

/// Where this crate differs from `datasets` 5.2.0: an image without a word is not lost beside one that has a word.
#[test]
fn names_of_files_decide_only_if_every_one_has_a_word() {
    let dir = folder(&["1.png", "2.png", "test_1.png"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    assert_eq!((data.len(), data.has_test_split()), (3, false));
    let remark = &data.recognized().remarks[0];
    assert!(remark.contains("such as test_1.png, are trained on: 1"), "{remark}");
    let dir = folder(&["train_1.png", "train_2.png", "test_1.png", "val_1.png"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    assert_eq!((names(&data, SplitRole::Train), names(&data, SplitRole::Test)), (vec!["train"], vec!["val"]));
    assert_eq!(names(&data, SplitRole::Unused), ["test"]);
    let chosen = DataConfig { test_splits: vec!["test".into()], ..of(dir.path()) };
    let test = chosen.open(Split::Test).unwrap();
    assert_eq!((test.len(), test.name(0)), (1, "test_1.png".to_owned()));
    let wrong = DataConfig { test_splits: vec!["more".into()], ..of(dir.path()) };
    assert!(wrong.open(Split::Train).unwrap_err().to_string().contains("got \"more\""));
}

/// Where this crate differs from `datasets` 5.2.0: it takes words in any case, and class folders with a word for classes.
#[test]
fn capital_words_are_splits_and_classes_with_a_word_are_classes() {
    let dir = folder(&["Training/a/1.png", "Training/b/1.png", "Testing/a/1.png"]);
    let splits = of(dir.path()).open_all().unwrap();
    assert_eq!(
        (splits[0].1.len(), splits[1].1.len(), splits[0].1.classes()),
        (2, 1, &["a", "b"].map(String::from)[..])
    );
    let dir = folder(&["cat/1.png", "test_tube/1.png", "train_station/1.png"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    assert_eq!((data.len(), data.classes().len(), data.has_test_split()), (3, 3, false));
    let dir = folder(&["train/1.png", "bus/2.png"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    assert_eq!(data.classes(), ["bus", "train"]);
    assert!(data.recognized().remarks[0].contains("train/ is taken as a class"), "{:?}", data.recognized());
}

#[test]
fn folders_above_the_data_do_not_decide() {
    let dir = folder(&["test/train/x/a/1.png", "test/train/x/b/1.png"]);
    let data = of(&dir.path().join("test/train/x")).open(Split::Train).unwrap();
    assert_eq!((data.len(), data.classes().len(), data.has_test_split()), (2, 2, false));
}

#[test]
fn masks_and_labels_beside_images_are_not_images_to_train_on() {
    let dir = folder(&["train_images/1.png", "train_masks/1.png", "test_images/2.png", "test_masks/2.png"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    assert_eq!(data.name(0), "train_images/1.png");
    assert_eq!(
        (names(&data, SplitRole::Train), names(&data, SplitRole::Test)),
        (vec!["train_images"], vec!["test_images"])
    );
    assert_eq!(names(&data, SplitRole::Unused), ["test_masks", "train_masks"]);
}

#[test]
fn further_splits_are_listed_and_taken_if_they_are_chosen() {
    let dir =
        folder(&["train/a/1.png", "train/b/1.png", "extra/a/5.png", "extra/c/6.png", "test/a/9.png", "val/b/9.png"]);
    let config = of(dir.path());
    let data = config.open(Split::Train).unwrap();
    assert_eq!((data.len(), names(&data, SplitRole::Unused)), (2, vec!["extra", "test"]));
    let chosen = DataConfig {
        train_splits: vec!["train".into(), "extra".into()],
        test_splits: vec!["test".into()],
        ..config.clone()
    };
    let data = chosen.open(Split::Train).unwrap();
    let listed: Vec<_> = (0..data.len()).map(|i| data.name(i)).collect();
    assert_eq!(listed, ["extra/a/5.png", "extra/c/6.png", "train/a/1.png", "train/b/1.png"]);
    assert_eq!((class_names(&data)[1].as_deref(), data.classes().len()), (Some("c"), 3));
    assert_eq!(data.load(3).unwrap().width(), 2);
    assert_eq!(chosen.open(Split::Test).unwrap().name(0), "test/a/9.png");
    let wrong = DataConfig { train_splits: vec!["more".into()], ..config };
    let text = wrong.open(Split::Train).unwrap_err().to_string();
    assert!(
        text.starts_with("data.train_splits: got \"more\"") && text.contains("\"extra\", \"test\", \"train\""),
        "{text}"
    );
}

#[test]
fn data_without_a_train_split_name_the_splits_that_there_are() {
    let dir = folder(&["test/a/1.png", "test/b/1.png"]);
    let error = of(dir.path()).open(Split::Train).unwrap_err();
    assert!(matches!(error, DataError::NoSplit { .. }));
    let text = error.to_string();
    assert!(text.contains("no train split") && text.contains("data.train_splits = [\"test\"]"), "{text}");
    assert_eq!(of(dir.path()).open_all().unwrap().len(), 1);
}

#[test]
fn files_that_are_not_images_are_counted_by_suffix() {
    let dir = folder(&["a/1.png", "a/1.svg", "b/2.SVG", "b/x.heic", "b/README", ".git/x.svg", "__MACOSX/a/._1.svg"]);
    let data = of(dir.path()).open(Split::Train).unwrap();
    let expected = [(".heic", 1), (".svg", 2), ("no suffix", 1)].map(|(suffix, files)| (suffix.to_owned(), files));
    assert_eq!(data.recognized().passed_over, BTreeMap::from(expected));
    assert_eq!((data.recognized().classes, data.recognized().splits[0].labeled), (1, Some(1)));
}

#[test]
fn a_folder_with_images_in_several_forms_is_refused_with_the_choices() {
    let open = |files: &[&str]| of(folder(files).path()).open(Split::Train).unwrap_err();
    let error = open(&["a/1.png", "data/0.parquet"]);
    assert!(matches!(error, DataError::Mixed { .. }));
    let text = error.to_string();
    assert!(
        text.contains("1 image files and 1 .parquet files") && text.contains("folder:DIR or parquet:DIR"),
        "{text}"
    );
    assert!(open(&["0.tar", "other.parquet"]).to_string().contains("parquet:DIR or tar:DIR"));
    // A folder of img2dataset: the archives are opened, and fail for what they hold here.
    let text = open(&["00000.tar", "00000.parquet", "00000_stats.json"]).to_string();
    assert!(text.contains("00000.tar: "), "{text}");
    // Tables of metadata as `datasets` writes them beside images.
    assert_eq!(of(folder(&["1.png", "metadata.parquet"]).path()).open(Split::Train).unwrap().len(), 1);
}
