//! Data sets that `candle-datasets` 0.11.1 reads: CIFAR-10's binary files by that crate and by us, and MNIST's files through it.
//!
//! Run: `cargo test --workspace --features selfie-eval/candle-datasets --test datasets`. CIFAR10_DIR may name the folder of the real
//! CIFAR-10; without it, files of noise are made. The real Fashion-MNIST is used if Debian's package `dataset-fashion-mnist` is
//! installed.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use flate2::Compression;
use flate2::write::GzEncoder;
use selfie_train::{Dataset, Split};

/// Records a CIFAR file; candle-datasets reads no other number.
const RECORDS: usize = 10_000;
const RECORD: usize = 3073;

/// Where Debian's package keeps its files.
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn make_cifar(folder: &Path) {
    let names = (1..=5).map(|batch| format!("data_batch_{batch}.bin")).chain(["test_batch.bin".to_owned()]);
    for name in names {
        let mut bytes = noise(RECORDS * RECORD);
        bytes.iter_mut().step_by(RECORD).for_each(|label| *label %= 10);
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Every image of a split against rows of (C, H, W) floats and labels.
fn compare(ours: &Dataset, images: &Tensor, labels: &Tensor) {
    let bytes = (images * 255.0).unwrap().round().unwrap().to_dtype(DType::U8).unwrap();
    let bytes = bytes.permute((0, 2, 3, 1)).unwrap().flatten_from(1).unwrap().to_vec2::<u8>().unwrap(); // (H, W, C)
    let labels: Vec<u32> = labels.to_dtype(DType::U32).unwrap().to_vec1().unwrap();
    assert_eq!(ours.len(), bytes.len());
    for (i, (theirs, label)) in bytes.iter().zip(labels).enumerate() {
        assert_eq!(ours.label(i), Some(label), "image {i}");
        assert_eq!(ours.load(i).unwrap().pixels(), theirs, "image {i}");
    }
}

#[test]
fn cifar10_has_the_same_images_and_labels() {
    let made = tempfile::tempdir().unwrap();
    let folder = match std::env::var_os("CIFAR10_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            make_cifar(made.path());
            made.path().to_path_buf()
        }
    };
    let theirs = candle_datasets::vision::cifar::load_dir(&folder).unwrap();
    let open = |split| Dataset::open(&format!("cifar10:{}", folder.display()), split).unwrap();
    compare(&open(Split::Train), &theirs.train_images, &theirs.train_labels);
    compare(&open(Split::Test), &theirs.test_images, &theirs.test_labels);
}

/// The four files of a tiny MNIST: name, bytes, and the bytes after the header.
fn idx_files() -> Vec<(&'static str, Vec<u8>)> {
    let images = |count: u32| [2051, count, 5, 4].map(u32::to_be_bytes).concat();
    let labels = |count: u32| [2049, count].map(u32::to_be_bytes).concat();
    let digits = |count: u8| (0..count).map(|i| i % 10).collect::<Vec<u8>>();
    vec![
        ("train-images-idx3-ubyte", [images(12), noise(240)].concat()),
        ("train-labels-idx1-ubyte", [labels(12), digits(12)].concat()),
        ("t10k-images-idx3-ubyte", [images(3), noise(60)].concat()),
        ("t10k-labels-idx1-ubyte", [labels(3), digits(3)].concat()),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn mnist_is_read_plain_packed_and_from_torchvisions_folder() {
    for (below, suffix, packed) in [("", "", false), ("", ".gz", true), ("MNIST/raw", "", false)] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(below)).unwrap();
        for (name, bytes) in idx_files() {
            let bytes = if packed { gzip(&bytes) } else { bytes };
            std::fs::write(folder.path().join(below).join(format!("{name}{suffix}")), bytes).unwrap();
        }
        for (split, count, name) in [(Split::Train, 12, "train/2"), (Split::Test, 3, "test/2")] {
            let data = Dataset::open(&format!("mnist:{}", folder.path().display()), split).unwrap().with_channels(1);
            assert_eq!((data.len(), data.label(2), data.name(2)), (count, Some(2), name.to_owned()));
            let image = data.load(2).unwrap();
            assert_eq!((image.height(), image.width(), image.pixels()), (5, 4, &noise(60)[40..]));
            assert_eq!(data.classes()[9], "9");
            assert_eq!(data.clone().with_channels(3).load(2).unwrap().pixels()[..3], [image.pixels()[0]; 3]);
        }
    }
}

#[test]
fn damaged_files_are_errors_with_their_names() {
    let change = |file: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let folder = tempfile::tempdir().unwrap();
        for (i, (name, mut bytes)) in idx_files().into_iter().enumerate() {
            if i == file {
                change(&mut bytes);
            }
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        Dataset::open(&format!("fashion-mnist:{}", folder.path().display()), Split::Train).unwrap_err().to_string()
    };
    let text = change(0, &|bytes| bytes.truncate(100));
    assert!(text.contains("train-images-idx3-ubyte: 100 bytes, expected 256 by its header"), "{text}");
    let text = change(0, &|bytes| bytes[4..16].fill(0xff));
    assert!(text.contains("sizes [4294967295, 4294967295, 4294967295], expected"), "{text}");
    let text = change(2, &|bytes| bytes[8..12].fill(0));
    assert!(text.contains("t10k-images-idx3-ubyte: sizes [3, 0, 4], expected 1 to"), "{text}");
    let text = change(3, &|bytes| bytes[3] = 3);
    assert!(text.contains("t10k-labels-idx1-ubyte: begins with 2051, expected the number 2049"), "{text}");
    let text = change(1, &|bytes| bytes[9] = 10);
    assert!(text.contains("train-labels-idx1-ubyte: label 10 of image 1, expected 0 to 9"), "{text}");
    let text = change(1, &|bytes| {
        bytes[7] = 11;
        bytes.pop();
    });
    assert!(text.contains("train-labels-idx1-ubyte: 11 labels, expected 12"), "{text}");
    let text = change(0, &|bytes| {
        *bytes = gzip(bytes);
        bytes.truncate(bytes.len() - 9);
    });
    assert!(text.contains("train-images-idx3-ubyte: damaged or cut off"), "{text}");
    let text = change(0, &|bytes| *bytes = gzip(&[&bytes[..], b"more"].concat()));
    assert!(text.contains("train-images-idx3-ubyte: 257 bytes, expected 256"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(idx_files()[0].0), &idx_files()[0].1).unwrap();
    let text = Dataset::open(&format!("mnist:{}", folder.path().display()), Split::Train).unwrap_err().to_string();
    assert!(text.contains("train-labels-idx1-ubyte: no such file"), "{text}");
}

/// Counts and labels as <https://github.com/zalandoresearch/fashion-mnist> lists them.
#[test]
fn fashion_mnist_has_as_many_images_of_each_class() {
    if !Path::new(DEBIAN).is_dir() {
        eprintln!("skipped: no {DEBIAN}; Debian's package dataset-fashion-mnist brings it");
        return;
    }
    for (split, each) in [(Split::Train, 6_000), (Split::Test, 1_000)] {
        let data = Dataset::open(&format!("fashion-mnist:{DEBIAN}"), split).unwrap().with_channels(1);
        let mut counts = [0; 10];
        (0..data.len()).for_each(|i| counts[data.label(i).unwrap() as usize] += 1);
        assert_eq!(counts, [each; 10]);
        let image = data.load(0).unwrap();
        assert_eq!((image.height(), image.width(), image.channels()), (28, 28, 1));
        assert_eq!(data.classes()[data.label(0).unwrap() as usize], "Ankle boot");
    }
}
