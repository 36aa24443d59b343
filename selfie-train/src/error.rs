//! The one error of this crate, and which exit status it means.

use std::path::{Path, PathBuf};

use crate::data::DataError;

/// What can go wrong in a run. Every message names the field, file or tensor, the value met and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be; found before any work begins.
    #[error("{field}: {reason}")]
    Config {
        /// The key (`section.key`) or option, with the file it came from where there is one.
        field: String,
        /// The value met and what was expected.
        reason: String,
    },
    /// Images could not be found or read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The patch grid or its masks.
    #[error(transparent)]
    Patch(#[from] selfie_patch::Error),
    /// The patch network or the ResNet.
    #[error(transparent)]
    Encoder(#[from] selfie_encoder::Error),
    /// The attention pooling.
    #[error(transparent)]
    AttnPool(#[from] selfie_attnpool::Error),
    /// The loss.
    #[error(transparent)]
    Loss(#[from] selfie_loss::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint that is damaged, foreign, or of another model.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that do not fit the model.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// The tensor, its shape and the shape that was expected.
        reason: String,
    },
    /// A run directory that is none, or that holds a run already.
    #[error("{}: {reason}", path.display())]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// What was met and what was expected.
        reason: String,
    },
    /// A tensor operation failed.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
    /// A checkpoint could not be written; the one before it is intact.
    #[error("the state of step {step} cannot be saved: {source}; {}", last_good(*last))]
    NotSaved {
        /// Steps done.
        step: u64,
        /// The step of the last checkpoint that was written.
        last: Option<u64>,
        /// What failed.
        source: Box<Error>,
    },
    /// A loss or a gradient is no number. The weights are as they were before, but on a GPU, which is not looked at in every step:
    /// there the last checkpoint is the last that is known to be good.
    #[error("step {step}: {what}; {}", last_good(*last))]
    NotFinite {
        /// The step whose update was not made, counted from 1.
        step: u64,
        /// What is not finite, on which images, and where the largest activations are.
        what: String,
        /// The step of the last checkpoint.
        last: Option<u64>,
    },
    /// No image of an evaluation could be read.
    #[error("{given}: none of {tried} images could be read, expected at least one")]
    NoImages {
        /// The `data.source` that they are of.
        given: String,
        /// Images that were tried.
        tried: usize,
    },
    /// The processes that share a training do not agree.
    #[error("ranks: {reason}")]
    Ranks {
        /// What they have, and what was expected.
        reason: String,
    },
    /// The run was asked to stop, and did after saving its state.
    #[error("stopped after step {step}{}", saved(checkpoint.as_deref()))]
    Interrupted {
        /// Steps done.
        step: u64,
        /// The checkpoint that `--resume` continues from; none where the run keeps no directory.
        checkpoint: Option<PathBuf>,
    },
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

    /// Whether the user's settings or options are at fault, rather than the run.
    #[must_use]
    pub fn is_config(&self) -> bool {
        match self {
            Self::Config { .. } | Self::RunDir { .. } | Self::Weights { .. } => true,
            Self::Data(error) => is_data_config(error),
            Self::Patch(error) => matches!(error, selfie_patch::Error::Config { .. }),
            Self::Encoder(error) => matches!(error, selfie_encoder::Error::Config { .. }),
            Self::AttnPool(error) => matches!(error, selfie_attnpool::Error::Config { .. }),
            Self::Loss(error) => matches!(error, selfie_loss::Error::Config { .. }),
            _ => false,
        }
    }

    /// The exit status of a program that ends with this error: 2 bad configuration or usage, 130 stopped by Ctrl-C, 1 all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. } => 130,
            error if error.is_config() => 2,
            _ => 1,
        }
    }
}

/// Whether the data that were asked for are not there, rather than damaged.
fn is_data_config(error: &DataError) -> bool {
    use DataError as D;
    matches!(
        error,
        D::NoSuchFolder { .. }
            | D::NoSuchFile { .. }
            | D::NoFiles { .. }
            | D::HubRefused { .. }
            | D::NotAFolder { .. }
            | D::NoImages { .. }
            | D::UnknownScheme { .. }
            | D::NoSplit { .. }
            | D::Mixed { .. }
            | D::List { .. }
            | D::NoLabels { .. }
            | D::Config { .. }
    )
}

/// "the last good checkpoint is of step 100".
fn last_good(last: Option<u64>) -> String {
    match last {
        Some(step) => format!("the last good checkpoint is of step {step}"),
        None => "there is no checkpoint yet".to_owned(),
    }
}

/// ", state saved in PATH", or nothing.
fn saved(checkpoint: Option<&Path>) -> String {
    checkpoint.map_or_else(String::new, |path| format!(", state saved in {}", path.display()))
}
