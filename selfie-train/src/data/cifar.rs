//! CIFAR-10 in its official binary form, kept in memory as the bytes of the files.
//!
//! A file is a row of records, a record one byte of label and 3,072 bytes of image, (C, H, W) = (3, 32, 32)
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>). Images are interleaved when they are loaded.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::error::{DataError, DataResult};
use super::image8::Image8;
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::source::{Opened, Source, Split, Stored, interleaved};
use super::splits::missing;

const CHANNELS: usize = 3;
const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + CHANNELS * PLANE;

const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST_FILE: &str = "test_batch.bin";

/// The ten classes, in the order of their labels.
pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// One split of CIFAR-10.
pub(super) struct Cifar {
    records: Vec<u8>,
    split: &'static str,
}

impl Cifar {
    /// The folder of the binaries: `dir`, or `cifar-10-batches-bin` in it.
    pub(super) fn find(dir: &Path) -> Option<PathBuf> {
        let candidates = [dir.to_path_buf(), dir.join("cifar-10-batches-bin")];
        candidates.into_iter().find(|d| d.join(TRAIN_FILES[0]).is_file())
    }

    /// Whether the test batch is there.
    fn has_test(dir: &Path) -> bool {
        dir.join(TEST_FILE).is_file()
    }

    /// Reads and checks the files of one split.
    fn read_split(dir: &Path, split: Split) -> DataResult<Self> {
        let (split, files): (_, &[&str]) = match split {
            Split::Train => ("train", &TRAIN_FILES),
            Split::Test => ("test", &[TEST_FILE]),
        };
        let mut records = Vec::new();
        let mut first = None;
        for file in files {
            let path = dir.join(file);
            let bytes = std::fs::read(&path).map_err(DataError::io(&path))?;
            let expected = *first.get_or_insert(bytes.len());
            check(&path, &bytes, expected)?;
            records.extend_from_slice(&bytes);
        }
        Ok(Self { records, split })
    }

    fn record(&self, i: usize) -> &[u8] {
        &self.records[i * RECORD..(i + 1) * RECORD]
    }
}

/// Opens one split of the binaries in or below `dir`.
pub(super) fn open(given: &str, dir: &Path, split: Split) -> DataResult<Opened> {
    let found = Cifar::find(dir).unwrap_or_else(|| dir.to_path_buf());
    let mut recognized = Recognized::new("CIFAR-10's binary files");
    let files = TRAIN_FILES.map(String::from).to_vec();
    recognized.splits.push(RecognizedSplit::new("train", SplitRole::Train, files));
    if Cifar::has_test(&found) {
        recognized.splits.push(RecognizedSplit::new("test", SplitRole::Test, vec![TEST_FILE.to_owned()]));
    } else if split == Split::Test {
        return Err(missing(given, split, &[], "the file test_batch.bin"));
    }
    for part in &mut recognized.splits {
        let sizes = part.places.iter().filter_map(|file| std::fs::metadata(found.join(file)).ok());
        let images = sizes.map(|meta| meta.len()).sum::<u64>() / RECORD as u64;
        (part.images, part.labeled) = (Some(images), Some(images));
    }
    let classes = CLASSES.map(String::from).to_vec();
    Ok(Opened::new(Cifar::read_split(&found, split)?, classes, recognized))
}

/// All batches of a split are equally long, in whole records; labels count from 0 to 9.
fn check(path: &Path, bytes: &[u8], expected: usize) -> DataResult<()> {
    let size = bytes.len();
    if size == 0 || !size.is_multiple_of(RECORD) {
        let reason = format!("{size} bytes, expected a multiple of {RECORD} (official: 30730000)");
        return Err(DataError::format(path, reason));
    }
    if size != expected {
        let reason = format!("{size} bytes, expected {expected} as in {}", TRAIN_FILES[0]);
        return Err(DataError::format(path, reason));
    }
    let mut labels = bytes.iter().step_by(RECORD);
    match labels.position(|&label| usize::from(label) >= CLASSES.len()) {
        None => Ok(()),
        Some(record) => {
            let label = bytes[record * RECORD];
            let reason = format!("record {record} has label {label}, expected 0 to 9");
            Err(DataError::format(path, reason))
        }
    }
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.records.len() / RECORD
    }

    fn label(&self, i: usize) -> Option<u32> {
        Some(u32::from(self.record(i)[0]))
    }

    fn name(&self, i: usize) -> String {
        format!("{}/{i}", self.split)
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        let planes = &self.record(i)[1..]; // (C, H, W)
        let pixels = interleaved(planes, CHANNELS); // (H, W, C)
        Ok(Stored::Pixels(Cow::Owned(Image8::new(SIDE, SIDE, pixels)?)))
    }
}
