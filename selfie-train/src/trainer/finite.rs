//! What happens when a loss or a gradient is not finite: no update is made of it, and the run says where it began, or counts it and goes on.

use candle_core::Tensor;

use super::pass::Pass;
use super::window::Window;
use super::{TrainState, Trainer};
use crate::config::{OnNonfinite, Plan};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::task::{Phase, Task};

/// Images that an error lists by number, at most.
const SHOWN: usize = 16;

impl Pass {
    /// Whether an update may be made of it, as far as its step is watched; a loss that was not finite in a step of this `window` which
    /// was not is found here too.
    pub(super) fn is_finite(&self, grad_norm: Option<f64>, window: &Window) -> Result<bool> {
        let Some(grad_norm) = grad_norm else { return Ok(true) };
        let losses_are = window.loss()?.is_none_or(f64::is_finite);
        Ok(losses_are && grad_norm.is_finite() && self.loss.to_scalar::<f32>()?.is_finite())
    }
}

impl<T: Task> Trainer<'_, T> {
    /// Whether loss and gradient of step `step`, counted from 1, are looked at before its update: every step on the CPU. On a GPU a
    /// look waits for everything that it has still to do, so it is taken where a line of metrics or a checkpoint is due, and
    /// where each update depends on it (clipping, skipping). In between the weights may be ruined; the checkpoint before is good.
    pub(super) fn is_watched(&self, step: u64) -> bool {
        self.store.device().is_cpu() || is_watched_from_afar(self.plan, step)
    }

    /// Copies of the running statistics, which the forward pass changes before it is known whether the batch counts; none where
    /// a bad batch ends the run.
    pub(super) fn statistics(&self) -> Result<Vec<Tensor>> {
        match self.plan.run.on_nonfinite {
            OnNonfinite::Stop => Ok(Vec::new()),
            OnNonfinite::Skip => Ok(copies(self.store.buffers())?),
        }
    }

    /// Leaves the update out, where that is wanted, and returns what to say of it.
    pub(super) fn skip(
        &self,
        state: &mut TrainState,
        pass: &Pass,
        grad_norm: f64,
        batch: &Batch,
        statistics: Vec<Tensor>,
        last: Option<u64>,
    ) -> Result<String> {
        let step = state.step + 1;
        let loss = pass.loss.to_scalar::<f32>()?;
        let flaw = if loss.is_finite() { format!("gradient norm {grad_norm}") } else { format!("loss {loss}") };
        // What several ranks share may be another one's fault.
        let own = self.ranks.is_alone() || !pass.own_loss.to_scalar::<f32>()?.is_finite();
        let images =
            if own { format!("images {}", numbers(&batch.indices)) } else { "images of other ranks".to_owned() };
        let what = format!("{flaw} is not finite, on {images}");
        let most = self.plan.run.max_skipped;
        match self.plan.run.on_nonfinite {
            OnNonfinite::Skip if state.skipped < most => {
                for ((_, buffer), before) in self.store.buffers().iter().zip(&statistics) {
                    buffer.slice_set(before, 0, 0)?;
                }
                state.skipped += 1;
                Ok(format!("step {step}: {what}; update skipped ({} of at most {most})", state.skipped))
            }
            OnNonfinite::Skip => {
                let what = format!("{what}, and run.max_skipped = {most} updates have been skipped");
                Err(Error::NotFinite { step, what, last })
            }
            OnNonfinite::Stop => {
                let origin = if own { self.origin(batch, state.step)? } else { String::new() };
                Err(Error::NotFinite { step, what: format!("{what}{origin}"), last })
            }
        }
    }

    /// "; the largest activations are those of LAYER (value)": the first layer that is not finite, or else the largest.
    fn origin(&self, batch: &Batch, step: u64) -> Result<String> {
        let (size, micro) = (batch.len(), self.plan.run.micro_batch_of(batch.len()));
        let mut largest: Option<(String, f32)> = None;
        for start in (0..size).step_by(micro) {
            let piece = batch.narrow(start, micro.min(size - start))?;
            for (layer, value) in self.task.activations(&piece, Phase::Train { step })? {
                if !value.is_finite() {
                    return Ok(format!("; the first layer that is not finite is {layer} ({value})"));
                }
                if largest.as_ref().is_none_or(|(_, most)| value > *most) {
                    largest = Some((layer, value));
                }
            }
        }
        Ok(largest.map_or_else(String::new, |(layer, value)| {
            format!("; the largest activations are those of {layer} ({value:.3e})")
        }))
    }
}

/// [`Trainer::is_watched`] on a GPU.
fn is_watched_from_afar(plan: &Plan, step: u64) -> bool {
    let run = &plan.run;
    let due = |every: u64| every > 0 && step.is_multiple_of(every);
    let every_step = run.on_nonfinite == OnNonfinite::Skip || plan.optim.clip_norm > 0.0;
    every_step || due(run.log_every) || due(run.checkpoint_every) || step == run.steps
}

fn copies(buffers: Vec<(String, Tensor)>) -> candle_core::Result<Vec<Tensor>> {
    buffers.iter().map(|(_, buffer)| buffer.copy()).collect()
}

/// "3, 14, 15 and 509 more".
fn numbers(indices: &[usize]) -> String {
    let shown: Vec<_> = indices.iter().take(SHOWN).map(ToString::to_string).collect();
    let rest = indices.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;

    #[test]
    fn a_gpu_is_asked_only_where_a_number_is_needed() {
        let mut config = RunConfig::default();
        (config.run.steps, config.run.log_every, config.run.checkpoint_every) = (25, 10, 8);
        let watched = |config: &RunConfig| -> Vec<u64> {
            let plan = config.pretrain_plan();
            (1..=25).filter(|&step| is_watched_from_afar(&plan, step)).collect()
        };
        assert_eq!(watched(&config), [8, 10, 16, 20, 24, 25]);
        config.run.on_nonfinite = OnNonfinite::Skip;
        assert_eq!(watched(&config).len(), 25);
        (config.run.on_nonfinite, config.optim.clip_norm) = (OnNonfinite::Stop, 1.0);
        assert_eq!(watched(&config).len(), 25);
    }

    #[test]
    fn long_lists_of_images_are_cut() {
        assert_eq!(numbers(&[3, 14]), "3, 14");
        assert!(numbers(&(0..20).collect::<Vec<_>>()).ends_with("14, 15 and 4 more"));
    }
}
