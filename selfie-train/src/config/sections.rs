//! The sections that belong to this crate: `[optim]`, `[schedule]`, `[run]`, `[finetune]`. Defaults are the paper's CIFAR-10 run.

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

/// `[run]`: length, batch, cadence and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// Updates of the weights.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// Images that go through the model at once; gradients are summed up to the batch. 0 = the whole batch.
    pub micro_batch_size: usize,
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
            log_every: 50,
            checkpoint_every: 1000,
            eval_every: 5000,
            eval_masks: 4,
            keep_last: 2,
            seed: 0,
            threads: 0,
        }
    }
}

impl RunSettings {
    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("run.steps", self.steps)?;
        at_least_one("run.log_every", self.log_every)?;
        at_least_one("run.eval_masks", self.eval_masks as u64)?;
        batch("run", self.batch_size, self.micro_batch_size)
    }

    /// Images that go through the model at once.
    #[must_use]
    pub fn micro_batch(&self) -> usize {
        if self.micro_batch_size == 0 { self.batch_size } else { self.micro_batch_size }
    }
}

/// `[finetune]`: what fine-tuning changes; optimiser, decay of the rate and seed are those of `[optim]`, `[schedule]` and `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// How many labels: `"5%"` of each class, or `"400/class"`.
    pub labels: String,
    /// Updates of the weights.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// Images that go through the network at once; 0 = the whole batch.
    pub micro_batch_size: usize,
    /// The base learning rate.
    pub lr: f64,
    /// Weight decay, on kernels and matrices only.
    pub weight_decay: f64,
    /// Probability that is taken from the true class and spread over all.
    pub label_smoothing: f64,
    /// Steps of linear warm-up; 0 = min(100, steps / 10).
    pub warmup_steps: u64,
    /// Steps between two lines of metrics.
    pub log_every: u64,
    /// Steps between two evaluations; 0 = only at the end.
    pub eval_every: u64,
    /// Whether training images are cropped and flipped at random.
    pub augment: bool,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            labels: "100%".to_owned(),
            steps: 4000,
            batch_size: 128,
            micro_batch_size: 0,
            lr: 0.05,
            weight_decay: 1e-4,
            label_smoothing: 0.0,
            warmup_steps: 0,
            log_every: 50,
            eval_every: 0,
            augment: true,
        }
    }
}

impl FinetuneConfig {
    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("finetune.steps", self.steps)?;
        at_least_one("finetune.log_every", self.log_every)?;
        batch("finetune", self.batch_size, self.micro_batch_size)?;
        positive("finetune.lr", self.lr)?;
        not_negative("finetune.weight_decay", self.weight_decay)?;
        fraction("finetune.label_smoothing", self.label_smoothing)?;
        if self.warmup_steps > self.steps {
            let reason = format!("met {}, expected at most finetune.steps = {}", self.warmup_steps, self.steps);
            return Err(Error::config("finetune.warmup_steps", reason));
        }
        Ok(())
    }
}

fn batch(section: &str, batch_size: usize, micro_batch_size: usize) -> Result<()> {
    at_least_one(&format!("{section}.batch_size"), batch_size as u64)?;
    if micro_batch_size != 0 && (micro_batch_size > batch_size || batch_size % micro_batch_size != 0) {
        let reason = format!("met {micro_batch_size}, expected 0 (the whole batch) or a divisor of {section}.batch_size = {batch_size}");
        return Err(Error::config(format!("{section}.micro_batch_size"), reason));
    }
    Ok(())
}

fn at_least_one(field: &str, value: u64) -> Result<()> {
    if value == 0 { Err(Error::config(field, "met 0, expected at least 1")) } else { Ok(()) }
}

fn positive(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected a number above 0")))
}

fn not_negative(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected 0 or more")))
}

fn fraction(field: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, format!("met {value}, expected 0 or more and less than 1")))
}
