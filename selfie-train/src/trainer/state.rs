//! What changes while the loop runs, and what it has to tell at the end.

use std::path::PathBuf;

use serde::Serialize;

use crate::checkpoint::{Best, Checkpoint};
use crate::config::Plan;
use crate::ema::Ema;
use crate::error::Result;
use crate::optim::Optimizer;
use crate::probe::Evaluation;
use crate::store::ParamStore;

/// The state of a run between two steps.
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// The optimiser with its moments.
    pub optimizer: Optimizer,
    /// The moving average of the weights, where the run keeps one.
    pub ema: Option<Ema>,
    /// Updates left out because a loss or a gradient was not finite.
    pub skipped: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
}

/// What a finished loop has to tell.
#[derive(Debug, Clone, Serialize)]
pub struct TrainReport {
    /// Steps done, with those of earlier sessions.
    pub steps: u64,
    /// Mean loss since the last line of metrics before the end.
    pub loss: f64,
    /// Mean accuracy over the same steps.
    pub accuracy: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Mean speed of this session, evaluations and checkpoints aside.
    pub images_per_second: f64,
    /// Share of that time that went into communication between ranks, waiting for the slowest included; none where there is one.
    pub communication: Option<f64>,
    /// The evaluation after the last step.
    pub held_out: Option<Evaluation>,
    /// The best evaluation of the run.
    pub best: Option<Best>,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl TrainState {
    /// The state before the first step.
    ///
    /// # Errors
    /// Where memory for the optimiser cannot be had.
    pub fn fresh(plan: &Plan, store: &ParamStore) -> Result<Self> {
        let (optimizer, ema) = (Optimizer::new(&plan.optim, store)?, Ema::new(plan.run.ema_decay, store)?);
        Ok(Self { step: 0, optimizer, ema, skipped: 0, best: None })
    }

    /// The state of a checkpoint; the weights go into `store`.
    ///
    /// # Errors
    /// [`crate::Error::Checkpoint`] where it does not fit the model or the optimiser.
    pub fn restore(checkpoint: &Checkpoint, plan: &Plan, store: &ParamStore) -> Result<Self> {
        let mut state = Self::fresh(plan, store)?;
        checkpoint.restore(store, &mut state.optimizer, state.ema.as_mut())?;
        let record = checkpoint.record();
        (state.step, state.skipped, state.best) = (record.step, record.skipped, record.best);
        Ok(state)
    }

    /// Images drawn before the next step; a loader starts here.
    #[must_use]
    pub fn position(&self, plan: &Plan) -> u64 {
        self.step * plan.run.batch_size as u64
    }
}
