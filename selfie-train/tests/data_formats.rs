//! Data sets as other programs write them (`xtask/golden/data_formats.py` tells what is in them): parquet, npz, tar.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use selfie_train::{DataError, Dataset, Split};

fn formats(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn open(scheme: &str, name: &str, split: Split) -> Result<Dataset, DataError> {
    Dataset::open(&format!("{scheme}{}", formats(name).display()), split)
}

/// Image `i` is 5 x 4 pixels of (i, 10 * label, `blue`), its label i modulo 3.
fn check_pngs(data: &Dataset, count: usize, blue: u8) {
    assert_eq!(data.len(), count);
    for i in (0..count).rev() {
        assert_eq!(data.label(i), Some(i as u32 % 3), "{}", data.name(i));
        let image = data.load(i).unwrap();
        assert_eq!((image.width(), image.height()), (5, 4));
        assert_eq!(image.pixel(4, 3), [i as u8, 10 * (i as u8 % 3), blue], "{}", data.name(i));
    }
}

#[test]
fn the_hubs_parquet_files_are_read_over_shards_and_row_groups() {
    for scheme in ["", "parquet:"] {
        let train = open(scheme, "hub", Split::Train).unwrap();
        check_pngs(&train, 16, 7);
        assert_eq!(train.classes(), ["ant", "bee", "cat"]);
        assert_eq!(train.name(10), "train-00001-of-00002.parquet/0");
        let test = open(scheme, "hub", Split::Test).unwrap(); // validation is preferred to test
        check_pngs(&test, 5, 9);
        assert_eq!((test.classes(), test.has_test_split()), (train.classes(), true));
    }
}

#[test]
fn a_pattern_or_a_file_is_a_set_too() {
    let data = open("parquet:", "hub/data/train-*.parquet", Split::Train).unwrap();
    assert_eq!((data.len(), data.has_test_split()), (16, false));
    let data = open("", "hub/data/validation-00000-of-00001.parquet", Split::Train).unwrap();
    check_pngs(&data, 5, 9);
    // Without names the classes are counted.
    let data = open("", "plain.parquet", Split::Train).unwrap();
    check_pngs(&data, 6, 7);
    assert_eq!(data.classes(), ["0", "1", "2"]);
}

#[test]
fn a_label_of_minus_one_is_none() {
    let data = open("", "hub/data/test-00000-of-00001.parquet", Split::Train).unwrap();
    assert_eq!((0..3).map(|i| data.label(i)).collect::<Vec<_>>(), [None; 3]);
}

#[test]
fn cifar10_may_be_the_hubs() {
    let data = open("cifar10:", "hub-cifar10", Split::Train).unwrap();
    check_pngs(&data, 4, 7);
    assert_eq!((data.classes().len(), data.classes()[9].as_str()), (10, "truck"));
    assert_eq!(open("", "hub-cifar10", Split::Train).unwrap().len(), 4);
}

#[test]
fn files_of_different_schemas_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, to: &str| std::fs::copy(formats(name), folder.path().join(to)).unwrap();
    copy("hub/data/train-00000-of-00002.parquet", "a.parquet");
    copy("other-label.parquet", "b.parquet");
    let message = || Dataset::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    let text = message();
    assert!(text.contains("b.parquet: label column fine_label (int64), expected label (int64) as in"), "{text}");
    copy("plain.parquet", "b.parquet");
    let text = message();
    assert!(text.contains("b.parquet: other names of classes (none), expected the same 3"), "{text}");
    copy("out-of-range.parquet", "a.parquet");
    std::fs::remove_file(folder.path().join("b.parquet")).unwrap();
    let text = message();
    assert!(text.contains("a.parquet: row 2: label 2, expected 0 to 1"), "{text}");
    std::fs::write(folder.path().join("a.parquet"), "no parquet at all").unwrap();
    assert!(message().contains("a.parquet: no parquet file"), "{}", message());
}

#[test]
fn downsampled_imagenet_is_read_stored_and_packed_with_labels_from_one() {
    for scheme in ["", "imagenet32:"] {
        let train = open(scheme, "imagenet32", Split::Train).unwrap();
        assert_eq!((train.len(), train.classes()), (9, &["1", "2", "3"].map(String::from)[..]));
        for i in 0..9 {
            assert_eq!(train.label(i), Some(i as u32 % 3));
            let image = train.load(i).unwrap();
            let at = |x: usize, y: usize| [0, 64, 128].map(|c: usize| (i + c + 4 * y + x) as u8);
            assert_eq!((image.width(), image.height()), (4, 4));
            assert!((0..16).all(|p| image.pixel(p % 4, p / 4) == at(p % 4, p / 4)), "image {i}");
        }
        let test = open(scheme, "imagenet32", Split::Test).unwrap();
        assert_eq!((test.len(), test.name(2).as_str()), (3, "val/2"));
    }
}

#[test]
fn a_missing_batch_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |to: &str| std::fs::copy(formats("imagenet32/train_data_batch_1.npz"), folder.path().join(to)).unwrap();
    copy("train_data_batch_1.npz");
    copy("train_data_batch_3.npz");
    let text = Dataset::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(text.contains("train_data_batch_3.npz") && text.contains("train_data_batch_2.npz is not"), "{text}");
}

#[test]
fn webdataset_shards_are_read_in_place() {
    for scheme in ["", "tar:"] {
        let train = open(scheme, "webdataset", Split::Train).unwrap();
        check_pngs(&train, 7, 7);
        assert_eq!(
            (train.classes(), train.name(4)),
            (&["0", "1", "2"].map(String::from)[..], "train-000001.tar/000004.png".into())
        );
        check_pngs(&open(scheme, "webdataset", Split::Test).unwrap(), 2, 9);
    }
    let data = open("", "long-names.tar", Split::Train).unwrap();
    assert_eq!(
        (data.len(), data.label(0), data.name(2).len()),
        (3, None, "long-names.tar/".len() + 120 + "/2.PNG".len())
    );
    assert_eq!(data.load(2).unwrap().pixel(0, 0), [2, 20, 7]);
}

#[test]
fn what_is_not_there_is_told_with_what_was_expected() {
    let message = |given: &str| Dataset::open(given, Split::Train).unwrap_err().to_string();
    let text = message("parquet:/nowhere/*.parquet");
    assert!(text.contains("/nowhere/*.parquet") && text.contains(".parquet files"), "{text}");
    assert!(message("tar:/nowhere").contains(".tar files"));
    assert!(message("list:/nowhere.txt").contains("no such file: /nowhere.txt"));
    assert!(message("hf:cifar10").contains("expected hf:OWNER/NAME"));
    let text = open("", "plain.parquet", Split::Test).unwrap_err().to_string();
    assert!(text.contains("no test split") && text.contains("validation..."), "{text}");
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_and_special_files_beside_shards_are_passed_over() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::copy(formats("plain.parquet"), at("plain.parquet")).unwrap();
    std::fs::create_dir(at("below")).unwrap();
    for (name, target) in [
        ("again", "."),
        ("below/above", ".."),
        ("a.parquet", "b.parquet"),
        ("b.parquet", "a.parquet"),
        ("c.parquet", "gone"),
        ("zero.parquet", "/dev/zero"),
    ] {
        symlink(target, at(name)).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(at("pipe.parquet")).status().unwrap().success());
    for given in [dir.path().display().to_string(), format!("parquet:{}/*.parquet", dir.path().display())] {
        check_pngs(&Dataset::open(&given, Split::Train).unwrap(), 6, 7);
    }
}
