//! The configuration of a run: one section a crate or subject, nested from their own structs, complete in every `config.toml`.
//!
//! A preset is a complete configuration; a file, `--set section.key=value` and the short flags are laid over it in this
//! order (`resolve.rs`). "0" stands for automatic, all or off, so that every key always has a value that can be seen.
//! Everything that can be checked before any work is checked by [`RunConfig::validate`].

mod finetune;
mod presets;
mod recipe;
mod resolve;
mod sections;

use selfie_attnpool::AttnPoolConfig;
use selfie_encoder::EncoderConfig;
use selfie_loss::LossConfig;
use selfie_patch::PatchConfig;
use serde::{Deserialize, Serialize};

pub use finetune::{FinetuneConfig, Head};
pub use recipe::recipe_changes;
pub use resolve::Override;
pub use sections::{OnNonfinite, OptimConfig, OptimName, Precision, RunSettings, ScheduleConfig, ScheduleName};

use crate::data::DataConfig;
use crate::error::{Error, Result};

/// A complete run: what `config.toml` of its directory holds.
///
/// ```
/// use selfie_train::{Override, RunConfig};
/// let overrides = [Override::set("optim.lr=0.3")?, Override::flag("--steps", "run.steps", 500)];
/// let config = RunConfig::resolve("cifar10", None, &overrides)?;
/// assert_eq!((config.optim.lr, config.run.steps), (0.3, 500));
/// let error = RunConfig::resolve("cifar10", None, &[Override::set("optim.rl=0.3")?]).unwrap_err();
/// assert!(error.to_string().contains("optim.lr")); // the nearest key is named
/// # Ok::<(), selfie_train::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Where images come from and how they are prepared.
    pub data: DataConfig,
    /// The grid and its masks.
    pub patch: PatchConfig,
    /// The patch network P.
    pub encoder: EncoderConfig,
    /// The attention pooling A.
    pub attnpool: AttnPoolConfig,
    /// The loss.
    pub loss: LossConfig,
    /// The optimiser.
    pub optim: OptimConfig,
    /// The learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// Length, batch, cadence and seed of the run.
    pub run: RunSettings,
    /// What fine-tuning changes.
    pub finetune: FinetuneConfig,
}

/// What the training loop reads of a configuration; pretraining and fine-tuning each make theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Length, batch, cadence and seed.
    pub run: RunSettings,
    /// The optimiser and its base rate.
    pub optim: OptimConfig,
    /// The learning rate over the steps.
    pub schedule: ScheduleConfig,
}

impl RunConfig {
    /// The configuration as TOML, every key of every section.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that TOML cannot hold (a seed above 2^63 - 1).
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::config("configuration", error.to_string()))
    }

    /// Checks everything that can be checked before any work.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that cannot be, the value met and what was expected.
    pub fn validate(&self) -> Result<()> {
        self.data.validate()?;
        self.patch.validate().map_err(|error| within("patch", error.into()))?;
        self.encoder.validate().map_err(|error| within("encoder", error.into()))?;
        let embed_dim = self.encoder.embed_dim();
        self.attnpool.validate(embed_dim).map_err(|error| within("attnpool", error.into()))?;
        self.loss.validate().map_err(|error| within("loss", error.into()))?;
        self.optim.validate()?;
        self.run.validate()?;
        self.schedule.validate(self.run.steps)?;
        self.finetune.validate()?;
        let (frozen, stages) = (self.finetune.freeze_stages, self.encoder.depths.len());
        if frozen > stages {
            let reason = format!("met {frozen}, expected at most {stages}: the stages of encoder.depths");
            return Err(Error::config("finetune.freeze_stages", reason));
        }
        let (channels, means) = (self.encoder.in_channels, self.data.mean.len());
        if means != 0 && means != channels {
            let reason =
                format!("met {means} numbers, expected encoder.in_channels = {channels}, or none to measure them");
            return Err(Error::config("data.mean", reason));
        }
        if self.loss.num_distractors >= self.patch.num_targets {
            let (met, most) = (self.loss.num_distractors, self.patch.num_targets - 1);
            let reason = format!("met {met}, expected 0 (all) to {most}: an image has {} targets", most + 1);
            return Err(Error::config("loss.num_distractors", reason));
        }
        Ok(())
    }

    /// What the loop reads for pretraining.
    #[must_use]
    pub fn pretrain_plan(&self) -> Plan {
        Plan { run: self.run.clone(), optim: self.optim.clone(), schedule: self.schedule.clone() }
    }

    /// What the loop reads for fine-tuning: SGD with Nesterov momentum and a cosine whatever pretraining used, as in the
    /// paper, with the numbers of `[finetune]` and the seed and threads of `[run]`.
    #[must_use]
    pub fn finetune_plan(&self) -> Plan {
        let tune = &self.finetune;
        let run = RunSettings {
            steps: tune.steps,
            batch_size: tune.batch_size,
            micro_batch_size: tune.micro_batch_size,
            log_every: tune.log_every,
            eval_every: 0,
            checkpoint_every: 0,
            eval_masks: 1,
            ema_decay: 0.0,
            ..self.run.clone()
        };
        let optim = OptimConfig { lr: tune.lr, weight_decay: tune.weight_decay, ..OptimConfig::default() };
        let schedule = ScheduleConfig { name: ScheduleName::Cosine, warmup_steps: tune.warmup_steps };
        Plan { run, optim, schedule }
    }
}

/// The same error with its section in front of the field, as the configuration writes it.
fn within(section: &str, error: Error) -> Error {
    let (field, reason) = match &error {
        Error::Patch(selfie_patch::Error::Config { field, reason }) => (field, reason),
        Error::Encoder(selfie_encoder::Error::Config { field, reason }) => (field, reason),
        Error::AttnPool(selfie_attnpool::Error::Config { field, reason }) => (field, reason),
        Error::Loss(selfie_loss::Error::Config { field, reason }) => (field, reason),
        _ => return error,
    };
    Error::config(format!("{section}.{field}"), reason.clone())
}
