//! Downsampled ImageNet: `train_data_batch_1.npz` ... and `val_data.npz`, read in place.
//!
//! Each archive holds `data`, one row of bytes an image, (C, H, W) with C = 3, and `labels`, counted from 1
//! (<https://image-net.org/download-images.php>, after arXiv 1707.08819). Sides of 16 and 64 pixels come in the same form.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::blocks::{Blocks, PieceReader};
use super::error::{DataError, DataResult};
use super::image8::Image8;
use super::index_cache;
use super::npz::{Array, Place};
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::source::{Opened, Source, Split, Stored, interleaved};
use super::spans::Spans;
use super::splits::missing;
use super::storage::Fault;

const CHANNELS: usize = 3;
/// ImageNet's classes.
const CLASSES: u32 = 1000;
/// Bytes that are read in one go.
const STRETCH: usize = 4 << 20;

/// The archives of both splits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files {
    train: Vec<PathBuf>,
    test: Option<PathBuf>,
}

impl Files {
    /// Looks in `dir` and in the folders that the official archives unpack to.
    pub(super) fn find(dir: &Path) -> DataResult<Option<Self>> {
        let unpacked = ["8", "16", "32", "64"].into_iter().flat_map(|side| {
            ["train", "val"].map(|split| [format!("Imagenet{side}_{split}_npz"), format!("Imagenet{side}_{split}")])
        });
        let places: Vec<_> =
            std::iter::once(dir.to_path_buf()).chain(unpacked.flatten().map(|name| dir.join(name))).collect();
        let find = |name: &str| places.iter().map(|place| place.join(name)).find(|file| file.is_file());
        let batch = |number: u32| find(&format!("train_data_batch_{number}.npz"));
        let train: Vec<_> = (1..).map_while(batch).collect();
        let missing = train.len() as u32 + 1;
        if let Some(later) = (missing + 1..=10).find_map(batch) {
            let reason = format!("is there, but train_data_batch_{missing}.npz is not, expected all batches");
            return Err(DataError::format(later, reason));
        }
        Ok((!train.is_empty()).then(|| Self { train, test: find("val_data.npz") }))
    }
}

/// One split.
struct Imagenet32 {
    split: &'static str,
    batches: Vec<Place>,
    spans: Spans, // images of each batch
    labels: Vec<u16>,
    side: usize,
    blocks: Blocks,
    block_batch: Vec<u32>, // the batch of each block
    reader: PieceReader,
}

/// Opens one split.
pub(super) fn open(given: &str, files: &Files, split: Split) -> DataResult<Opened> {
    let cache = index_cache::folder();
    let mut classes = 0;
    let of_test = match (&files.test, split) {
        (Some(test), _) => Some(Batch::open(test, cache.as_deref())?),
        (None, Split::Train) => None,
        (None, Split::Test) => {
            return Err(missing(given, split, &[], "the file val_data.npz"));
        }
    };
    let of_train =
        files.train.iter().map(|file| Batch::open(file, cache.as_deref())).collect::<DataResult<Vec<_>>>()?;
    for batch in of_train.iter().chain(&of_test) {
        classes = classes.max(batch.labels.iter().copied().max().map_or(0, |label| label + 1));
    }
    let mut recognized = Recognized::new("downsampled ImageNet's .npz files");
    recognized.splits.push(described("train", SplitRole::Train, &files.train, &of_train));
    if let (Some(file), Some(batch)) = (&files.test, &of_test) {
        let (files, batches) = (std::slice::from_ref(file), std::slice::from_ref(batch));
        recognized.splits.push(described("val", SplitRole::Test, files, batches));
    }
    let source = match (split, of_test, &files.test) {
        (Split::Test, Some(test), Some(file)) => Imagenet32::new("val", vec![test], std::slice::from_ref(file))?,
        _ => Imagenet32::new("train", of_train, &files.train)?,
    };
    let classes = (1..=classes).map(|class| class.to_string()).collect();
    Ok(Opened::new(source, classes, recognized))
}

/// A split in these archives; all its images have labels.
fn described(name: &str, role: SplitRole, files: &[PathBuf], batches: &[Batch]) -> RecognizedSplit {
    let name_of = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let images = batches.iter().map(|batch| batch.labels.len()).sum();
    RecognizedSplit::new(name, role, files.iter().map(name_of).collect()).counted(images, images)
}

/// One archive, checked.
struct Batch {
    data: Place,
    row: usize,       // bytes
    labels: Vec<u16>, // from 0
}

impl Batch {
    fn open(file: &Path, cache: Option<&Path>) -> DataResult<Self> {
        let fail = |reason: String| DataError::format(file, reason);
        let data = Array::open(file, "data", cache)?;
        let (images, row) = match data.header.shape[..] {
            [images, row] if data.header.kind == "|u1" && images > 0 && side_of(row).is_some() => {
                (images, row as usize)
            }
            _ => {
                let reason =
                    format!("the array data holds {}, expected rows of 3 x side x side bytes (|u1)", data.header);
                return Err(fail(reason));
            }
        };
        let labels = Array::open(file, "labels", cache)?;
        let numbers = labels.header.integers(&labels.read().map_err(fail)?);
        let numbers = numbers.filter(|_| labels.header.shape == [images]).ok_or_else(|| {
            fail(format!("the array labels holds {}, expected {images} integers, one an image", labels.header))
        })?;
        let from_zero = |(i, &label): (usize, &i64)| match label {
            1.. if label <= i64::from(CLASSES) => Ok((label - 1) as u16),
            _ => Err(fail(format!("label {label} of image {i}, expected 1 to {CLASSES}: they count from 1"))),
        };
        let labels = numbers.iter().enumerate().map(from_zero).collect::<DataResult<_>>()?;
        Ok(Self { data: data.place, row, labels })
    }
}

/// The side of a square image of three channels whose bytes these are.
fn side_of(bytes: u64) -> Option<usize> {
    let side = (bytes as f64 / CHANNELS as f64).sqrt().round() as u64;
    (side > 0 && side <= 4096 && side * side * CHANNELS as u64 == bytes).then_some(side as usize)
}

impl Imagenet32 {
    fn new(split: &'static str, batches: Vec<Batch>, files: &[PathBuf]) -> DataResult<Self> {
        let row = batches[0].row;
        let (mut spans, mut blocks, mut block_batch) = (Spans::default(), Spans::default(), Vec::new());
        let most = (STRETCH / row).max(1);
        let mut labels = Vec::new();
        for (number, (batch, file)) in batches.iter().zip(files).enumerate() {
            if batch.row != row {
                let reason = format!("rows of {} bytes, expected {row} as in {}", batch.row, files[0].display());
                return Err(DataError::format(file, reason));
            }
            labels.extend_from_slice(&batch.labels);
            let too_many = || DataError::format(file, "more images than 32 bits can number");
            spans.push(batch.labels.len()).ok_or_else(too_many)?;
            for part in batch.labels.chunks(most) {
                blocks.push(part.len()).ok_or_else(too_many)?;
                block_batch.push(number as u32);
            }
        }
        let blocks = Blocks::new(blocks, (most * row) as u64);
        let reader = PieceReader::new(&blocks);
        let side = side_of(row as u64).unwrap_or(1);
        let batches = batches.into_iter().map(|batch| batch.data).collect();
        Ok(Self { split, batches, spans, labels, side, blocks, block_batch, reader })
    }

    /// Bytes of one image.
    fn row(&self) -> usize {
        CHANNELS * self.side * self.side
    }

    /// (C, H, W) of image `i`.
    fn planes(&self, i: usize) -> Result<Cow<'_, [u8]>, Fault> {
        let block = self.blocks.spans.group_of(i as u32);
        let batch = self.block_batch[block] as usize;
        let first = self.spans.range(batch).start;
        let at = |image: u32| (image - first) as usize * self.row();
        match &self.batches[batch] {
            Place::Memory(bytes) => Ok(bytes[at(i as u32)..at(i as u32 + 1)].into()),
            Place::File(file, start) => {
                let offset = |image: u32| start + at(image) as u64;
                let images = self.blocks.spans.range(block);
                let stretch = offset(images.start)..offset(images.end);
                let piece = offset(i as u32)..offset(i as u32 + 1);
                self.reader.read(block, stretch, file, piece).map(Cow::Owned)
            }
        }
    }
}

impl Source for Imagenet32 {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        Some(u32::from(self.labels[i]))
    }

    fn name(&self, i: usize) -> String {
        format!("{}/{i}", self.split)
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        let planes = self.planes(i).map_err(|fault| fault.of_image(self.path(i)))?;
        let pixels = interleaved(&planes, CHANNELS); // (H, W, C)
        Ok(Stored::Pixels(Cow::Owned(Image8::new(self.side, self.side, pixels)?)))
    }

    fn blocks(&self) -> Option<&Blocks> {
        Some(&self.blocks)
    }
}
