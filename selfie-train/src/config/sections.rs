//! The sections that belong to this crate: `[optim]`, `[schedule]`, `[run]`. Defaults are the paper's
//! CIFAR-10 run (arXiv 1906.02940, section 4.1); it does not print the rate.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which optimiser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimName {
    /// Stochastic gradient descent with momentum; the paper's, with Nesterov's form.
    #[default]
    Sgd,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl fmt::Display for OptimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
        })
    }
}

/// `[optim]`: the optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// Which optimiser.
    pub name: OptimName,
    /// The base learning rate, reached at the end of the warm-up.
    pub lr: f64,
    /// SGD's momentum.
    pub momentum: f64,
    /// Whether SGD's momentum is Nesterov's.
    pub nesterov: bool,
    /// Weight decay, on kernels and matrices only.
    pub weight_decay: f64,
    /// The largest norm of the gradient over all parameters; 0 = no clipping.
    pub clip_norm: f64,
    /// Adam's decay of the first moment.
    pub beta1: f64,
    /// Adam's decay of the second moment.
    pub beta2: f64,
    /// Adam's term in the denominator.
    pub eps: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            name: OptimName::Sgd,
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-4,
            clip_norm: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

impl OptimConfig {
    pub(super) fn validate(&self) -> Result<()> {
        positive("optim.lr", self.lr)?;
        fraction("optim.momentum", self.momentum)?;
        not_negative("optim.weight_decay", self.weight_decay)?;
        not_negative("optim.clip_norm", self.clip_norm)?;
        fraction("optim.beta1", self.beta1)?;
        fraction("optim.beta2", self.beta2)?;
        positive("optim.eps", self.eps)?;
        if self.nesterov && self.momentum == 0.0 && self.name == OptimName::Sgd {
            return Err(Error::config("optim.momentum", "met 0 with optim.nesterov = true, expected more than 0"));
        }
        Ok(())
    }
}

/// How the learning rate goes down after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Half a cosine, to zero; the paper's.
    #[default]
    Cosine,
    /// A straight line, to zero.
    Linear,
    /// Not at all.
    Constant,
}

/// `[schedule]`: the learning rate over the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// How the rate goes down.
    pub name: ScheduleName,
    /// Steps of linear warm-up; 0 = min(100, steps / 10).
    pub warmup_steps: u64,
}

impl ScheduleConfig {
    pub(super) fn validate(&self, steps: u64) -> Result<()> {
        if self.warmup_steps > steps {
            let reason = format!("met {}, expected at most run.steps = {steps}", self.warmup_steps);
            return Err(Error::config("schedule.warmup_steps", reason));
        }
        Ok(())
    }
}

/// The numbers that products are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in f32.
    #[default]
    F32,
    /// Factors rounded to bf16; weights, norms, loss and optimiser in f32. For GPUs: on the CPU it is emulated, and slower.
    Bf16,
}

/// What a loss or gradient that is not finite does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNonfinite {
    /// The run ends before the update, with an error that says where it began; the last checkpoint stays.
    #[default]
    Stop,
    /// The update is left out and counted, and the running statistics go back to what they were.
    Skip,
}

/// `[run]`: length, batch, cadence and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// Updates of the weights.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// Images that go through the model at once, at most; the gradients of a batch's equal parts are summed. 0 = the
    /// whole batch. Batch norm's statistics are those of a part.
    pub micro_batch_size: usize,
    /// The numbers that products are made of.
    pub precision: Precision,
    /// Whether batch norm's statistics are those of all ranks' parts together; by default each rank has its own.
    pub sync_norm: bool,
    /// Steps between two lines of metrics.
    pub log_every: u64,
    /// Steps between two checkpoints; 0 = only at the end.
    pub checkpoint_every: u64,
    /// Steps between two evaluations on held-out images; 0 = only at the end.
    pub eval_every: u64,
    /// Masks an image gets in an evaluation.
    pub eval_masks: usize,
    /// Checkpoints that are kept, the newest; 0 = all.
    pub keep_last: usize,
    /// Checkpoints at a multiple of so many steps are kept for good, beside the newest; 0 = none.
    pub keep_every: u64,
    /// Training images that the kNN probe compares held-out ones with at each evaluation, where there are labels; 0 = no probe.
    pub knn_images: usize,
    /// Decay of the moving average of the weights, which evaluations and `--from` then take; 0 = none.
    pub ema_decay: f64,
    /// What a loss or gradient that is not finite does: stop the run, or skip the update.
    pub on_nonfinite: OnNonfinite,
    /// Updates of a run that may be skipped; one more stops it.
    pub max_skipped: u64,
    /// The seed of everything random.
    pub seed: u64,
    /// Threads that compute; 0 = one a core. It takes effect before the program starts.
    pub threads: usize,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            steps: 120_000,
            batch_size: 512,
            micro_batch_size: 0,
            precision: Precision::F32,
            sync_norm: false,
            log_every: 50,
            checkpoint_every: 1000,
            eval_every: 5000,
            eval_masks: 4,
            keep_last: 2,
            keep_every: 0,
            knn_images: 512,
            ema_decay: 0.0,
            on_nonfinite: OnNonfinite::Stop,
            max_skipped: 10,
            seed: 0,
            threads: 0,
        }
    }
}

impl RunSettings {
    pub(super) fn validate(&self) -> Result<()> {
        count("run.steps", self.steps, 1, MOST_STEPS)?;
        count("run.log_every", self.log_every, 1, MOST_STEPS)?;
        count("run.checkpoint_every", self.checkpoint_every, 0, MOST_STEPS)?;
        count("run.eval_every", self.eval_every, 0, MOST_STEPS)?;
        count("run.keep_every", self.keep_every, 0, MOST_STEPS)?;
        count("run.max_skipped", self.max_skipped, 0, MOST_STEPS)?;
        count("run.eval_masks", self.eval_masks as u64, 1, 10_000)?;
        count("run.knn_images", self.knn_images as u64, 0, 1_000_000)?;
        count("run.threads", self.threads as u64, 0, 4096)?;
        fraction("run.ema_decay", self.ema_decay)?;
        count("run.micro_batch_size", self.micro_batch_size as u64, 0, MOST_IMAGES)?;
        count("run.batch_size", self.batch_size as u64, 1, MOST_IMAGES)
    }

    /// Images that go through the model at once: the batch in as few parts as `micro_batch_size` allows, of equal size
    /// (the last may have a few less).
    ///
    /// ```
    /// use selfie_train::RunSettings;
    /// let run = RunSettings { batch_size: 100, micro_batch_size: 64, ..Default::default() };
    /// assert_eq!(run.micro_batch(), 50);
    /// ```
    #[must_use]
    pub fn micro_batch(&self) -> usize {
        self.micro_batch_of(self.batch_size)
    }

    /// Images at once in an evaluation, which has no batch of an update to divide: `micro_batch_size`, or else `batch_size`.
    ///
    /// ```
    /// use selfie_train::RunSettings;
    /// let run = RunSettings { batch_size: 8, micro_batch_size: 64, ..Default::default() };
    /// assert_eq!((run.micro_batch(), run.eval_batch()), (8, 64));
    /// ```
    #[must_use]
    pub fn eval_batch(&self) -> usize {
        match self.micro_batch_size {
            0 => self.batch_size.max(1),
            most => most,
        }
    }

    /// The same of one rank's `images` of a batch.
    pub(crate) fn micro_batch_of(&self, images: usize) -> usize {
        match self.micro_batch_size {
            0 => images.max(1),
            most => images.div_ceil(images.div_ceil(most).max(1)).max(1),
        }
    }
}

/// Upper bounds far beyond any use, so that no product of settings overflows and no typing error fills the memory.
pub(super) const MOST_STEPS: u64 = 1_000_000_000_000;
pub(super) const MOST_IMAGES: u64 = 1_000_000;

/// A whole number from `least` to `most`.
pub(super) fn count(field: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, format!("got {value}, expected {least} to {most}")))
}

pub(super) fn positive(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected a number above 0")))
}

pub(super) fn not_negative(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected 0 or more")))
}

pub(super) fn fraction(field: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected 0 or more and less than 1")))
}
