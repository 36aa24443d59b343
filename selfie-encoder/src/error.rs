//! What can go wrong in this crate.

/// Errors of configuration and shape, and those that Candle reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the configuration has a value that cannot be used.
    #[error("encoder.{field}: {reason}")]
    Config {
        /// The field of [`crate::EncoderConfig`].
        field: &'static str,
        /// The value met and what was expected.
        reason: String,
    },
    /// A tensor has another shape than the function takes.
    #[error("{what}: expected {expected}, got {got:?}")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// The shape that was expected.
        expected: String,
        /// The shape that was met.
        got: Vec<usize>,
    },
    /// A tensor has another element type than the function takes.
    #[error("{what}: expected elements of type {expected}, got {got}")]
    DType {
        /// The tensor.
        what: &'static str,
        /// The type that was expected.
        expected: String,
        /// The type of the tensor.
        got: &'static str,
    },
    /// An error of Candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;
