//! One batch through the model and back, in micro-batches whose gradients add up to that of the batch.

use candle_core::Tensor;

use super::Trainer;
use crate::data::Batch;
use crate::error::Result;
use crate::gradients::Gradients;
use crate::store::Parameter;
use crate::task::{Phase, Task};

/// What a batch came to.
pub(super) struct Pass {
    /// Of the mean loss.
    pub(super) gradients: Gradients,
    /// Mean loss: ().
    pub(super) loss: Tensor,
    /// Mean accuracy: ().
    pub(super) accuracy: Tensor,
    /// Features of the last part: (n, D).
    pub(super) features: Option<Tensor>,
    /// This rank's own part of the loss: ().
    pub(super) own_loss: Tensor,
    /// Images, those of all ranks.
    pub(super) images: usize,
    /// This rank's share of them.
    pub(super) share: f64,
}

impl<T: Task> Trainer<'_, T> {
    /// This rank's share in the gradient of the mean loss over one batch, of which `batch` is its part.
    pub(super) fn pass(&self, batch: &Batch, step: u64, parameters: &[Parameter]) -> Result<Pass> {
        let (size, micro) = (batch.len(), self.plan.run.micro_batch_of(batch.len()));
        let whole = if self.ranks.is_alone() { size } else { self.plan.run.batch_size };
        let mut gradients = Gradients::default();
        let (mut loss, mut accuracy, mut features) = (None, None, None);
        for start in (0..size).step_by(micro) {
            let piece = batch.narrow(start, micro.min(size - start))?;
            let output = self.task.loss(&piece, Phase::Train { step })?;
            let share = piece.len() as f64 / whole as f64;
            let of_part = if share == 1.0 { output.loss } else { (output.loss * share)? };
            gradients.add(Gradients::backward(&of_part, parameters)?)?;
            add(&mut loss, of_part.detach())?;
            add(&mut accuracy, (output.accuracy * share)?.detach())?;
            features = output.features;
        }
        let nothing = || Tensor::new(f32::NAN, batch.images.device());
        let loss = loss.map_or_else(nothing, Ok)?;
        Ok(Pass {
            gradients,
            own_loss: loss.clone(),
            loss,
            accuracy: accuracy.map_or_else(nothing, Ok)?,
            features,
            images: whole,
            share: size as f64 / whole as f64,
        })
    }
}

/// sum ← sum + part, on the device.
pub(super) fn add(sum: &mut Option<Tensor>, part: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => part,
        Some(sum) => (sum + part)?,
    });
    Ok(())
}
