//! CIFAR-10 from files in the official binary format, written here.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use selfie_train::{DataError, Dataset, Split};

/// A record: the label, then three planes of 32 x 32. Red is the record's number, green the column, blue the row.
fn record(label: u8, number: u8) -> Vec<u8> {
    let red = [number; 1024];
    let green = (0..1024).map(|i| (i % 32) as u8);
    let blue = (0..1024).map(|i| (i / 32) as u8);
    std::iter::once(label).chain(red).chain(green).chain(blue).collect()
}

/// Five train batches of two images and a test batch of three.
fn write(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for batch in 0..5 {
        let bytes = [record(batch, 2 * batch), record(9 - batch, 2 * batch + 1)].concat();
        std::fs::write(dir.join(format!("data_batch_{}.bin", batch + 1)), bytes).unwrap();
    }
    let bytes = [record(0, 100), record(5, 101), record(9, 102)].concat();
    std::fs::write(dir.join("test_batch.bin"), bytes).unwrap();
}

fn open(given: impl std::fmt::Display, split: Split) -> Result<Dataset, DataError> {
    Dataset::open(&given.to_string(), split)
}

#[test]
fn records_come_back_interleaved_in_file_order() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let data = open(format!("cifar10:{}", dir.path().display()), Split::Train).unwrap();
    let labels: Vec<_> = (0..10).map(|i| data.label(i).unwrap()).collect();
    assert_eq!((data.len(), labels), (10, vec![0, 9, 1, 8, 2, 7, 3, 6, 4, 5]));
    for i in 0..10 {
        let image = data.load(i).unwrap();
        assert_eq!((image.width(), image.height()), (32, 32));
        assert_eq!(image.pixel(7, 19), [i as u8, 7, 19]);
    }
    assert_eq!((data.classes()[0].as_str(), data.classes()[9].as_str()), ("airplane", "truck"));
    assert!(data.has_test_split());
}

#[test]
fn a_bare_folder_and_the_folder_above_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("cifar-10-batches-bin");
    write(&inner);
    for given in [dir.path(), &inner] {
        assert_eq!(open(given.display(), Split::Train).unwrap().len(), 10);
        let test = open(format!("cifar10:{}", given.display()), Split::Test).unwrap();
        assert_eq!((test.len(), test.load(2).unwrap().pixel(0, 0)[0]), (3, 102));
    }
}

#[test]
fn names_tell_the_splits_apart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let name = |split| open(dir.path().display(), split).unwrap().name(2);
    assert_eq!((name(Split::Train).as_str(), name(Split::Test).as_str()), ("train/2", "test/2"));
}

#[test]
fn damaged_files_are_named_with_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let message = || open(format!("cifar10:{}", dir.path().display()), Split::Train).unwrap_err().to_string();
    assert!(message().contains("data_batch_1.bin"), "{}", message());

    write(dir.path());
    let file = dir.path().join("data_batch_3.bin");
    std::fs::write(&file, [record(1, 0), record(10, 1)].concat()).unwrap();
    let text = message();
    assert!(text.contains("data_batch_3.bin") && text.contains("record 1 has label 10"), "{text}");
    std::fs::write(&file, &record(1, 0)[1..]).unwrap();
    let text = message();
    assert!(text.contains("3072 bytes") && text.contains("multiple of 3073"), "{text}");
    std::fs::write(&file, record(1, 0)).unwrap();
    let text = message();
    assert!(text.contains("3073 bytes") && text.contains("6146"), "{text}");
    std::fs::remove_file(&file).unwrap();
    let text = message();
    assert!(text.contains("data_batch_3.bin"), "{text}");
}

#[test]
fn a_missing_test_batch_is_no_test_split() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    std::fs::remove_file(dir.path().join("test_batch.bin")).unwrap();
    assert!(!open(dir.path().display(), Split::Train).unwrap().has_test_split());
    let error = open(dir.path().display(), Split::Test).unwrap_err().to_string();
    assert!(error.contains("test_batch.bin"), "{error}");
}
