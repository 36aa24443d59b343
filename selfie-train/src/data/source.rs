//! The place that images come from, behind one trait.
//!
//! A source numbers, names and reads images; it neither decodes files nor knows of order, batches or bad images. That some are
//! read best in stretches it says by [`Source::blocks`], and the order follows. A new kind of data is a type that implements
//! [`Source`] and an arm in [`super::open`].

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::blocks::Blocks;
use super::error::DataResult;
use super::image8::Image8;
use super::recognized::Recognized;

/// Suffixes of image files, lower case; any case is accepted.
pub(super) const SUFFIXES: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Stands for no label where labels are kept in a row.
pub(super) const NO_LABEL: u32 = u32::MAX;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images to train on; all of them where the data have no splits.
    Train,
    /// The images to test on: the first one found of `val`, `validation`, `valid`, `dev`, `test`, `testing`, `eval` and
    /// `evaluation`, the test batch of CIFAR-10.
    Test,
}

/// Images behind one interface: numbered, named, maybe labelled, and read one at a time from any thread.
pub(super) trait Source: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Class of image `i`, if it has one.
    fn label(&self, i: usize) -> Option<u32>;
    /// A name that stays with image `i` whatever the order: its path relative to the data, or split and record.
    fn name(&self, i: usize) -> String;
    /// Where image `i` is, for messages: its file, or its name inside an archive.
    fn path(&self, i: usize) -> PathBuf {
        self.name(i).into()
    }
    /// Reads image `i`; an encoded one is decoded by whoever asked. An error is that of the image ([`super::DataError::Image`]).
    fn read(&self, i: usize) -> DataResult<Stored<'_>>;
    /// Consecutive images that are read best together; `None` where any order is as good.
    fn blocks(&self) -> Option<&Blocks> {
        None
    }
}

/// An image as its source holds it, borrowed where it lies in memory.
pub(super) enum Stored<'a> {
    /// The bytes of an image file.
    File(Cow<'a, [u8]>),
    /// The pixels.
    Pixels(Cow<'a, Image8>),
}

/// One split of a source, opened.
pub(super) struct Opened {
    pub(super) source: Box<dyn Source>,
    /// Names of the classes, the same in both splits; empty where there are no labels.
    pub(super) classes: Vec<String>,
    pub(super) recognized: Recognized,
}

impl Opened {
    /// A source with its classes, which become part of its description.
    pub(super) fn new(source: impl Source + 'static, classes: Vec<String>, mut recognized: Recognized) -> Self {
        recognized.name_classes(&classes);
        Self { source: Box::new(source), classes, recognized }
    }
}

/// A label that is kept in a row.
pub(super) fn some_label(label: u32) -> Option<u32> {
    (label != NO_LABEL).then_some(label)
}

/// Whether a file or folder is passed over for its name: it begins with a dot, or is what macOS adds to archives.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// Whether a file is called like an image.
pub(super) fn has_image_suffix(path: &Path) -> bool {
    let suffix = path.extension().unwrap_or_default();
    SUFFIXES.iter().any(|s| suffix.eq_ignore_ascii_case(s))
}

/// Planes (C, H, W) as pixels (H, W, C).
pub(super) fn interleaved(planes: &[u8], channels: usize) -> Vec<u8> {
    let mut pixels = vec![0; planes.len()];
    for (c, plane) in planes.chunks_exact(planes.len() / channels).enumerate() {
        for (to, from) in pixels[c..].iter_mut().step_by(channels).zip(plane) {
            *to = *from;
        }
    }
    pixels
}
