//! MNIST and Fashion-MNIST, read by the crate `candle-datasets` from the files as they are published.
//!
//! That crate reads four plain files with fixed names and trusts their headers. So the headers and sizes are checked first, and
//! files that are compressed or have one of the other common names are unpacked into a temporary folder. Images are gray, one
//! byte a pixel, and stay in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use candle_core::{IndexOp, Tensor};
use candle_datasets::vision;
use flate2::read::MultiGzDecoder;

use super::error::{DataError, DataResult};
use super::image8::Image8;
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::source::{Opened, Source, Split, Stored};

/// Names of the files as `candle-datasets` expects them: images and labels to train on, then those to test on.
const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Folders below the given one where the files may be: torchvision keeps them in the last three.
const FOLDERS: [&str; 4] = ["", "raw", "MNIST/raw", "FashionMNIST/raw"];

/// First numbers of files of images and of labels.
const MAGIC: [u32; 2] = [2051, 2049];

/// Bytes of pixels that are read, at most: in memory they take four times as much for a moment.
const MOST_BYTES: u64 = 512 << 20;

/// Images that are converted from floats at a time.
const BATCH: usize = 1000;

/// The data sets in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdxSet {
    Mnist,
    FashionMnist,
}

impl IdxSet {
    /// The data set with this scheme.
    pub(super) fn of(scheme: &str) -> Self {
        if scheme == "mnist" { Self::Mnist } else { Self::FashionMnist }
    }

    fn classes(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
        }
    }
}

/// One split.
struct Idx {
    pixels: Vec<u8>, // (N, H, W)
    labels: Vec<u8>,
    sides: (usize, usize), // height and width
    split: &'static str,
}

/// Opens one split of the files in or below `dir`.
pub(super) fn open(set: IdxSet, dir: &Path, split: Split) -> DataResult<Opened> {
    let files = find(dir)?;
    let headers = files.each_ref().map(|file| Header::read(file));
    let [train_images, train_labels, test_images, test_labels] = headers;
    let headers = [train_images?, train_labels?, test_images?, test_labels?];
    for (images, labels) in [(0, 1), (2, 3)] {
        if headers[images].count != headers[labels].count {
            let reason = format!(
                "{} labels, expected {} as there are images in {}",
                headers[labels].count,
                headers[images].count,
                files[images].display()
            );
            return Err(DataError::format(&files[labels], reason));
        }
    }
    let set_of = load(&files, &headers)?;
    let (place, images, labels, name) = match split {
        Split::Train => (0, set_of.train_images, set_of.train_labels, "train"),
        Split::Test => (2, set_of.test_images, set_of.test_labels, "test"),
    };
    let labels: Vec<u8> = labels.to_vec1()?;
    if let Some(i) = labels.iter().position(|&label| label > 9) {
        let reason = format!("label {} of image {i}, expected 0 to 9", labels[i]);
        return Err(DataError::format(&files[place + 1], reason));
    }
    let sides = headers[place].sides;
    let source = Idx { pixels: to_bytes(&images)?, labels, sides, split: name };
    let classes = set.classes().map(String::from).to_vec();
    let mut recognized = Recognized::new("gray images in idx files");
    for (name, role, at) in [("train", SplitRole::Train, 0), ("test", SplitRole::Test, 2)] {
        let places = files[at..at + 2].iter().map(|file| file.strip_prefix(dir).unwrap_or(file).display().to_string());
        let count = headers[at].count as usize;
        recognized.splits.push(RecognizedSplit::new(name, role, places.collect()).counted(count, count));
    }
    Ok(Opened::new(source, classes, recognized))
}

/// The four files, in the first folder that has one of them.
fn find(dir: &Path) -> DataResult<[PathBuf; 4]> {
    let forms = |folder: &Path, name: &str| {
        let names = [name.to_owned(), name.replace("-idx", ".idx")];
        let all = names.into_iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
        all.map(|name| folder.join(name)).find(|file| file.is_file())
    };
    let folders = || FOLDERS.iter().map(|below| dir.join(below));
    let folder = folders().find(|folder| FILES.iter().any(|name| forms(folder, name).is_some()));
    let folder = folder.ok_or_else(|| {
        let reason = format!(
            "no {} here or in {}, plain or with .gz, expected four idx files",
            FILES[0],
            FOLDERS[1..].join(", ")
        );
        DataError::format(dir, reason)
    })?;
    let file = |name: &str| {
        forms(&folder, name).ok_or_else(|| DataError::format(folder.join(name), "no such file, plain or with .gz"))
    };
    Ok([file(FILES[0])?, file(FILES[1])?, file(FILES[2])?, file(FILES[3])?])
}

/// The beginning of an idx file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    count: u32,
    sides: (usize, usize), // (1, 1) of labels
    /// Bytes of the file, unpacked.
    bytes: u64,
    is_packed: bool,
}

impl Header {
    fn read(path: &Path) -> DataResult<Self> {
        let is_packed = is_gzip(path)?;
        let of_labels = path.file_name().is_some_and(|name| name.to_string_lossy().contains("labels"));
        let magic = MAGIC[usize::from(of_labels)];
        let length = if of_labels { 8 } else { 16 };
        let mut head = Vec::new();
        unpacked(path, is_packed)?.take(length).read_to_end(&mut head).map_err(|error| damaged(path, &error))?;
        let (words, _) = head.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        if words.first() != Some(&magic) || head.len() as u64 != length {
            let reason =
                format!("begins with {:?}, expected the number {magic} of an idx file", words.first().unwrap_or(&0));
            return Err(DataError::format(path, reason));
        }
        let size = words[1..].iter().try_fold(1u64, |size, &word| size.checked_mul(u64::from(word)));
        let size = size.filter(|size| (1..=MOST_BYTES).contains(size)).ok_or_else(|| {
            let reason = format!("sizes {:?}, expected 1 to {MOST_BYTES} bytes in all", &words[1..]);
            DataError::format(path, reason)
        })?;
        let side = |i: usize| words.get(i).map_or(1, |&side| side as usize);
        let header = Self { count: words[1], sides: (side(2), side(3)), bytes: length + size, is_packed };
        let there = std::fs::metadata(path).map_err(DataError::io(path))?.len();
        if !is_packed && there != header.bytes {
            return Err(wrong_length(path, there, header.bytes));
        }
        Ok(header)
    }
}

fn wrong_length(path: &Path, found: u64, expected: u64) -> DataError {
    DataError::format(path, format!("{found} bytes, expected {expected} by its header: cut off?"))
}

fn damaged(path: &Path, error: &std::io::Error) -> DataError {
    DataError::format(path, format!("damaged or cut off: {error}"))
}

fn is_gzip(path: &Path) -> DataResult<bool> {
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(2).read_to_end(&mut start)).map_err(DataError::io(path))?;
    Ok(start == b"\x1f\x8b")
}

fn unpacked(path: &Path, is_packed: bool) -> DataResult<Box<dyn Read>> {
    let file = File::open(path).map_err(DataError::io(path))?;
    Ok(if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Reads the files, those that `candle-datasets` cannot read by way of a temporary folder.
fn load(files: &[PathBuf; 4], headers: &[Header; 4]) -> DataResult<vision::Dataset> {
    let is_plain = |(file, header, name): (&PathBuf, &Header, &str)| !header.is_packed && file.ends_with(name);
    let all = || files.iter().zip(headers).zip(FILES).map(|((file, header), name)| (file, header, name));
    if all().all(is_plain) {
        return read(files[0].parent().unwrap_or(Path::new(".")));
    }
    let folder = tempfile::tempdir().map_err(DataError::io(std::env::temp_dir()))?;
    for (file, header, name) in all() {
        let target = folder.path().join(name);
        let mut out = File::create(&target).map_err(DataError::io(&target))?;
        let (mut input, mut left) = (unpacked(file, header.is_packed)?.take(header.bytes + 1), header.bytes + 1);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = input.read(&mut buffer).map_err(|error| damaged(file, &error))?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read as u64);
            out.write_all(&buffer[..read]).map_err(DataError::io(&target))?;
        }
        if left != 1 {
            let found = header.bytes + 1 - left;
            return Err(wrong_length(file, found, header.bytes));
        }
    }
    read(folder.path())
}

fn read(folder: &Path) -> DataResult<vision::Dataset> {
    Ok(vision::mnist::load_dir(folder)?)
}

/// Rows of floats from 0 to 1 as the bytes that they were made of.
fn to_bytes(images: &Tensor) -> DataResult<Vec<u8>> {
    let (count, area) = images.dims2()?; // (N, H W)
    let mut bytes = Vec::with_capacity(count * area);
    for start in (0..count).step_by(BATCH) {
        let part: Vec<f32> = images.i(start..(start + BATCH).min(count))?.flatten_all()?.to_vec1()?;
        bytes.extend(part.iter().map(|value| (value * 255.0).round() as u8));
    }
    Ok(bytes)
}

impl Source for Idx {
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
        let (height, width) = self.sides;
        let pixels = &self.pixels[i * height * width..(i + 1) * height * width];
        Ok(Stored::Pixels(Cow::Owned(Image8::new(width, height, pixels.to_vec())?)))
    }
}
