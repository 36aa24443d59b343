//! CIFAR-10's binary files, read by candle-datasets and by us: the same pixels and labels.
//!
//! Set CIFAR10_DIR to the folder of the real files (`cifar-10-batches-bin`); without it, files of noise are made.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use selfie_train::{Dataset, Split};

/// Records a file; candle-datasets reads no other number.
const RECORDS: usize = 10_000;
const RECORD: usize = 3073;

fn make_files(folder: &Path) {
    let mut state = 1u32;
    let names = (1..=5).map(|batch| format!("data_batch_{batch}.bin")).chain(["test_batch.bin".to_owned()]);
    for name in names {
        let mut bytes = vec![0; RECORDS * RECORD];
        for (i, byte) in bytes.iter_mut().enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
            if i % RECORD == 0 {
                *byte %= 10;
            }
        }
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
fn candle_datasets_reads_the_same_images_and_labels() {
    let made = tempfile::tempdir().unwrap();
    let folder = match std::env::var_os("CIFAR10_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            make_files(made.path());
            made.path().to_path_buf()
        }
    };
    let theirs = candle_datasets::vision::cifar::load_dir(&folder).unwrap();
    let open = |split| Dataset::open(&format!("cifar10:{}", folder.display()), split).unwrap();
    compare(&open(Split::Train), &theirs.train_images, &theirs.train_labels);
    compare(&open(Split::Test), &theirs.test_images, &theirs.test_labels);
}
