//! The one error of this crate, and which exit status it means.

use std::path::{Path, PathBuf};

/// What can go wrong in an evaluation. Every message names the field, file or tensor, the value met and what was
/// expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be; found before any work begins.
    #[error("{field}: {reason}")]
    Config {
        /// The key (`section.key`) or option.
        field: String,
        /// The value met and what was expected.
        reason: String,
    },
    /// Tensors or slices that do not fit together.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was given.
        what: &'static str,
        /// The shape or length that was expected.
        expected: String,
        /// The one that was met.
        got: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Images of a data set that was checked cannot be read.
    #[error("data: {bad} of {images} images of {data} cannot be read; they are listed above")]
    BadImages {
        /// The `--data` string.
        data: String,
        /// Images that cannot be read.
        bad: usize,
        /// Images that were checked.
        images: usize,
    },
    /// The work was asked to stop, and did after saving what is done.
    #[error("stopped after {done} of {of} images, all of them kept; the same command goes on")]
    Stopped {
        /// Images gone through.
        done: usize,
        /// Images that there are.
        of: usize,
    },
    /// Data, weights, model or training.
    #[error(transparent)]
    Train(#[from] selfie_train::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A configuration error of one field.
    pub fn config(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { field: field.into(), reason: reason.into() }
    }

    /// An input or output error with its path; for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        |source| Self::Io { path, source }
    }

    /// The exit status of a program that ends with this error: 2 bad configuration or usage, 130 stopped by Ctrl-C, 1
    /// all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } => 2,
            Self::Stopped { .. } => 130,
            Self::Train(error) => error.exit_code(),
            Self::Shape { .. } | Self::Io { .. } | Self::BadImages { .. } => 1,
        }
    }
}

/// Errors of the crates below, seen as selfie-train sees them.
macro_rules! through_train {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Train(error.into())
            }
        }
    )*};
}
through_train!(selfie_train::DataError, selfie_encoder::Error, selfie_patch::Error, candle_core::Error);
