//! What can go wrong between a `--data` string and a batch; every message names the file, key or value met and
//! what was expected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::SCHEMES;

/// An error of the data part: finding, reading, decoding, choosing or batching images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder of a `--data` string does not exist.
    #[error("data: no such folder: {}", path.display())]
    NoSuchFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// The file of a `--data` string does not exist.
    #[error("data: no such file: {}", path.display())]
    NoSuchFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The path of a `--data` string is a file.
    #[error("data: {} is a file, expected a folder (or a .parquet, .tar, .txt or .tsv file)", path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder holds no file with the suffix of an image.
    #[error("data: no images below {}: looked for files ending in {suffixes} (any case)", path.display())]
    NoImages {
        /// The folder that was searched.
        path: PathBuf,
        /// The suffixes that were looked for.
        suffixes: String,
    },
    /// A pattern or folder has no file of the wanted kind.
    #[error(
        "data: no file for {given}, expected .{suffix} files: a folder of them, or a pattern such as DIR/*.{suffix}"
    )]
    NoFiles {
        /// What was given.
        given: String,
        /// The suffix that was looked for.
        suffix: &'static str,
    },
    /// The data hold images in several forms.
    #[error("data: {given} holds {found}, expected one of them: name it as {forms}")]
    Mixed {
        /// The `--data` string.
        given: String,
        /// The forms that were found.
        found: String,
        /// The `--data` strings that choose one.
        forms: String,
    },
    /// The hub does not give the data set to us, or has none of that name.
    #[error("data: {name}: {reason}")]
    HubRefused {
        /// The name that was asked for.
        name: String,
        /// What it answered, and what it expects.
        reason: String,
    },
    /// A data set of the hub could not be listed or downloaded.
    #[error("data: {name}: {reason}")]
    Hub {
        /// The name that was asked for.
        name: String,
        /// The file and what went wrong.
        reason: String,
    },
    /// More images than allowed could not be read.
    #[error(
        "data: {bad} of {seen} images could not be read, more than data.max_bad_images = {limit} allows; the last one: {last}{}",
        list.as_ref().map_or(String::new(), |list| format!("; all of them: {}", list.display()))
    )]
    TooManyBad {
        /// Images that could not be read.
        bad: usize,
        /// Images that were tried, or that there are.
        seen: usize,
        /// The share that is allowed.
        limit: f64,
        /// The reason of the last one.
        last: String,
        /// The file that lists all of them.
        list: Option<PathBuf>,
    },
    /// A `--data` string begins with a scheme that is not known.
    #[error("data: unknown scheme {scheme:?} in {given:?}, expected one of: {SCHEMES}")]
    UnknownScheme {
        /// The word before the colon.
        scheme: String,
        /// The whole string.
        given: String,
    },
    /// The data have no split of this name.
    #[error("data: {given} has no {split} split, expected {expected}")]
    NoSplit {
        /// The `--data` string.
        given: String,
        /// The split that was asked for.
        split: &'static str,
        /// What would have made that split.
        expected: String,
    },
    /// A list of images has a line that is not one, or names files that do not exist.
    #[error("data: {}: {reason}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The line, what it holds and what was expected.
        reason: String,
    },
    /// A file could not be decoded as an image.
    #[error("data: cannot read the image {}: {reason}", path.display())]
    Image {
        /// The image's file (or its name inside an archive).
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// A file is not of the format that its place calls for.
    #[error("data: {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was met and what was expected.
        reason: String,
    },
    /// The operating system refused an operation on a file.
    #[error("data: {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The operating system failed to read an image, for a reason that is not the image's, and did so again after several pauses.
    #[error("data: cannot read {}: {source}, also after several pauses", path.display())]
    Storage {
        /// The image's file (or its name inside an archive).
        path: PathBuf,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// Labels are needed and there are none.
    #[error("data: {given} has no labels, expected one folder per class below the split, or a label for each image")]
    NoLabels {
        /// The `--data` string.
        given: String,
    },
    /// A setting or an argument is out of its range.
    #[error("{field}: {reason}")]
    Config {
        /// The setting, as it is written in a configuration or on a command line.
        field: &'static str,
        /// The value met and what was expected.
        reason: String,
    },
    /// A thread of the loader could not be started.
    #[error("data.workers: cannot start a loader thread: {0}")]
    Thread(std::io::Error),
    /// A batch could not be put on the device.
    #[error("data: cannot make a batch: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// Result of the data part.
pub type DataResult<T> = std::result::Result<T, DataError>;

impl DataError {
    /// What is wrong with an image, without its path; the whole message of any other error.
    pub fn reason(&self) -> String {
        match self {
            Self::Image { reason, .. } => reason.clone(),
            error => error.to_string(),
        }
    }

    /// An error of the operating system on `path`.
    pub(super) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An image that cannot be decoded.
    pub(super) fn image(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::Image { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    /// A file of the wrong format.
    pub(super) fn format(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Format { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// Data in several forms.
    pub(super) fn mixed(given: &str, found: String, forms: &str) -> Self {
        Self::Mixed { given: given.to_owned(), found, forms: forms.to_owned() }
    }

    /// A setting out of its range.
    pub(super) fn config(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Config { field, reason: reason.into() }
    }
}
