//! What can go wrong, each time with the name of the thing, the value met and what was expected.

use candle_core::Tensor;

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration, or of a constructor's argument, is out of range.
    #[error("{field}: {reason}")]
    Config {
        /// The name of the field or argument.
        field: &'static str,
        /// The value met and what was expected.
        reason: String,
    },
    /// An argument has another shape or element type than it must.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The name of the argument.
        what: &'static str,
        /// What it must look like, in the letters of the crate's page.
        expected: String,
        /// What it looks like.
        got: String,
    },
    /// Candle failed, for example for want of memory.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// The error of a configuration's field.
    pub(crate) fn config(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Error::Config { field, reason }
    }

    /// The error of a tensor that is not what `expected` says.
    pub(crate) fn shape(what: &'static str, expected: impl Into<String>, got: &Tensor) -> Self {
        let got = format!("{:?} of {}", got.dims(), got.dtype().as_str());
        let expected = expected.into();
        Error::Shape { what, expected, got }
    }
}
