//! What the ranks make of one batch together: each has its part of the gradient, and all get the sum.

use std::sync::atomic::Ordering;

use candle_core::{DType, Tensor};

use selfie_encoder::Reduction;

use super::Trainer;
use super::pass::Pass;
use crate::error::Result;
use crate::task::Task;

impl<T: Task> Trainer<'_, T> {
    /// Sums the ranks' parts of gradient, loss and accuracy, and averages their running statistics by images, in one flat tensor; one
    /// process has them all. Returns whether to stop after this step: whether one of them was asked to travels along, so that all do,
    /// after a step that is watched.
    pub(super) fn exchange(&self, pass: &mut Pass, step: u64) -> Result<bool> {
        let asked_to_stop = self.stop.load(Ordering::Relaxed);
        if self.ranks.is_alone() {
            return Ok(asked_to_stop);
        }
        let buffers = self.store.buffers();
        let mut parts = Vec::new();
        for gradient in pass.gradients.known() {
            parts.push(gradient.flatten_all()?.to_dtype(DType::F32)?);
        }
        for (_, buffer) in &buffers {
            parts.push((buffer.flatten_all()? * pass.share)?);
        }
        let stop = Tensor::new(if asked_to_stop { 1f32 } else { 0.0 }, self.store.device())?;
        parts.push(Tensor::stack(&[&pass.loss, &pass.accuracy, &stop], 0)?);

        let sum = self.ranks.sum(&Tensor::cat(&parts, 0)?)?;

        let mut next = 0;
        let mut take = |like: &Tensor| {
            let values = sum.narrow(0, next, like.elem_count())?.reshape(like.shape())?.to_dtype(like.dtype())?;
            next += like.elem_count();
            Ok::<_, candle_core::Error>(values)
        };
        for gradient in pass.gradients.known_mut() {
            *gradient = take(gradient)?;
        }
        for (_, buffer) in &buffers {
            buffer.slice_set(&take(buffer)?, 0, 0)?;
        }
        (pass.loss, pass.accuracy) = (take(&pass.loss)?, take(&pass.accuracy)?);
        Ok(self.is_watched(step) && take(&stop)?.to_scalar::<f32>()? > 0.0)
    }
}
