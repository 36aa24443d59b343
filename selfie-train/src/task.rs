//! What the one training loop trains: something that gives the loss of a batch.

mod classifier;
mod classify;
mod masked;

use candle_core::{DType, Device, Tensor};

pub use classifier::{Classifier, PatchPool};
pub use classify::Classification;
pub use masked::MaskedPatches;

use crate::data::{Batch, Image8};
use crate::error::Result;
use crate::probe::EvalSet;

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

    /// Whether all images of an evaluation are asked the same with one seed, so that their answers depend on each other.
    fn asks_all_the_same(&self) -> bool {
        false
    }

    /// Features of whole images in eval mode, for a look at what resembles what: (B, D); none where the task has none.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn features(&self, _batch: &Batch) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The largest absolute value that each layer puts out, in the order of the forward pass: asked when a loss is not finite.
    ///
    /// # Errors
    /// As [`Task::loss`].
    fn activations(&self, _batch: &Batch, _phase: Phase) -> Result<Vec<(String, f32)>> {
        Ok(Vec::new())
    }

    /// A picture of what is asked of the first images of `set`, and of the answers; none where there is nothing to see.
    ///
    /// # Errors
    /// Where an image cannot be read.
    fn picture(&self, _set: &EvalSet, _device: &Device) -> Result<Option<Image8>> {
        Ok(None)
    }
}

/// Why a loss is asked for, and all that its randomness may depend on beside the places of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// For an update of the weights.
    Train {
        /// Updates before this one.
        step: u64,
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
    /// Features whose spread is watched, without gradient: (n, D); none where the task has none.
    pub features: Option<Tensor>,
}

/// The largest absolute value in `tensor`; NaN where there is one.
pub(crate) fn largest(tensor: &Tensor) -> Result<f32> {
    let values = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().fold(0.0, |most, &value| if value.is_nan() || value.abs() > most { value.abs() } else { most }))
}
