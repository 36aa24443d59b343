//! What the one training loop trains: something that gives the loss of a batch.

mod classify;
mod masked;

use candle_core::Tensor;

pub use classify::Classification;
pub use masked::MaskedPatches;

use crate::data::Batch;
use crate::error::Result;

/// A loss over batches, and what guessing would score. Resume, accumulation, clipping and evaluation know no more than this.
pub trait Task {
    /// Loss and answers for a batch.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn loss(&self, batch: &Batch, phase: Phase) -> Result<TaskOutput>;

    /// Loss and answers for a batch in an evaluation, once for each seed.
    ///
    /// # Errors
    /// As [`Task::loss`].
    fn evaluate(&self, batch: &Batch, seeds: &[u64]) -> Result<Vec<TaskOutput>> {
        seeds.iter().map(|&seed| self.loss(batch, Phase::Eval { seed })).collect()
    }

    /// The accuracy of guessing.
    fn chance(&self) -> f64;
}

/// Why a loss is asked for, and all that its randomness may depend on beside the places of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// For an update of the weights.
    Train {
        /// Updates before this one.
        step: u64,
        /// Which micro-batch of the batch.
        part: u64,
    },
    /// For an evaluation: running statistics, no dropout.
    Eval {
        /// The seed of what is asked (masks).
        seed: u64,
    },
}

/// What a task says of a batch of B images with T answers each.
#[derive(Debug, Clone)]
pub struct TaskOutput {
    /// Mean over all answers: ().
    pub loss: Tensor,
    /// Share of right answers: (), without gradient.
    pub accuracy: Tensor,
    /// 1 where an answer is right: (B, T) u8.
    pub correct: Tensor,
}
