//! What can go wrong in this crate: every message names the tensor or field, the value met and what was expected.

use candle_core::DType;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has other dimensions than the layer was built for.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The tensor, by the name of the argument.
        what: &'static str,
        /// The shape in letters and numbers, such as `(B, 12, D = 1024)`.
        expected: String,
        /// The dimensions met.
        got: Vec<usize>,
    },
    /// A tensor has another element type than the layer works with.
    #[error("{what}: expected elements of type {expected:?}, got {got:?}")]
    DType {
        /// The tensor, by the name of the argument.
        what: &'static str,
        /// The type of the parameters, or u32 for indices.
        expected: DType,
        /// The type met.
        got: DType,
    },
    /// An index points outside the grid of cells.
    #[error("{what}: cell {index} is outside the grid, which has cells 0 to {}", cells.saturating_sub(1))]
    Index {
        /// The tensor, by the name of the argument.
        what: &'static str,
        /// The first offending entry.
        index: u32,
        /// How many cells the grid has (N).
        cells: usize,
    },
    /// A configuration that cannot be built.
    #[error("attnpool.{field}: {reason}")]
    Config {
        /// The key, as it stands in the configuration.
        field: &'static str,
        /// The value met and what was expected.
        reason: String,
    },
    /// An error from Candle: memory, device, or a variable that the builder does not have.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;
