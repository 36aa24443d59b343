//! Options that mean the same in every command, declared once, and how they become overrides of a configuration.
//!
//! Numbers are taken as text and typed by the configuration itself, so that every bad value is told in the same way,
//! with the key that it stands for.

use std::path::{Path, PathBuf};

use selfie_eval::{Error, Result};
use selfie_train::{DeviceChoice, Override, RunConfig, RunDir};

use super::screen::Screen;

/// Options of every command that has a configuration.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Shared {
    /// Images: sample, a path (what it holds is recognised), or folder:DIR, list:FILE, cifar10:DIR, imagenet32:DIR,
    /// mnist:DIR, fashion-mnist:DIR, parquet:GLOB, tar:GLOB, hf:OWNER/NAME [default: that of the settings]
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// What to do about an image that cannot be read: skip (replace it, list it in bad-images.txt) or fail
    /// (data.on_bad_image) [default: that of the settings]
    #[arg(long, value_name = "skip|fail")]
    pub on_bad_image: Option<String>,
    /// Where to write; must not hold a run or result yet [default: runs/NAME-DATE-SEED for a run, nothing for an
    /// evaluation]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of everything random (run.seed) [default: that of the settings]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads that compute (run.threads) [default: one a core]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Settings to lay over the preset or the run, in the form of a run's config.toml
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// One setting, over those of the file; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// No settings and no progress
    #[arg(long)]
    pub quiet: bool,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    pub json: bool,
}

/// Length, batch and rate of a training.
#[derive(clap::Args)]
pub struct Lengths {
    /// Updates of the weights [default: that of the settings]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<String>,
    /// Images an update [default: that of the settings]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch_size: Option<String>,
    /// Base learning rate [default: that of the settings]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<String>,
}

impl Shared {
    /// What goes over the settings: `--set` first, then the short forms.
    pub fn overrides(&self) -> Result<Vec<Override>> {
        let mut overrides = Vec::new();
        for assignment in &self.set {
            overrides.push(Override::set(assignment)?);
        }
        let short = [
            ("--data", "data.source", &self.data),
            ("--on-bad-image", "data.on_bad_image", &self.on_bad_image),
            ("--seed", "run.seed", &self.seed),
            ("--threads", "run.threads", &self.threads),
        ];
        overrides.extend(flags(&short));
        Ok(overrides)
    }

    /// Whether something names images other than the sample.
    pub fn names_data(&self) -> bool {
        let key = "data.source";
        let set = self.set.iter().any(|set| set.split('=').next().is_some_and(|given| given.trim() == key));
        match self.data.as_deref() {
            Some(data) => data != "sample",
            None => set || self.config.as_deref().is_some_and(file_names_data),
        }
    }

    /// Where to compute, if that word is known; whether it answers is found out by selecting it.
    pub fn device(&self) -> Result<DeviceChoice> {
        Ok(self.device.parse()?)
    }

    /// Where text goes.
    pub fn screen(&self) -> Screen {
        Screen::new(self.json, self.quiet).describing_data()
    }
}

/// Whether a configuration file has `data.source`; what is wrong with the file is told when it is resolved.
fn file_names_data(path: &Path) -> bool {
    let table: Option<toml::Table> = std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
    table.is_some_and(|table| table.get("data").is_some_and(|data| data.get("source").is_some()))
}

impl Lengths {
    /// As overrides of pretraining's keys.
    pub fn of_pretraining(&self) -> Vec<Override> {
        let keys = [
            ("--steps", "run.steps", &self.steps),
            ("--batch-size", "run.batch_size", &self.batch_size),
            ("--lr", "optim.lr", &self.lr),
        ];
        flags(&keys)
    }

    /// As overrides of fine-tuning's keys.
    pub fn of_finetuning(&self) -> Vec<Override> {
        let keys = [
            ("--steps", "finetune.steps", &self.steps),
            ("--batch-size", "finetune.batch_size", &self.batch_size),
            ("--lr", "finetune.lr", &self.lr),
        ];
        flags(&keys)
    }
}

/// Those that were given, as overrides of (flag, key).
pub fn flags(given: &[(&str, &str, &Option<String>)]) -> Vec<Override> {
    let given = given.iter().filter_map(|(flag, key, value)| Some((flag, key, value.as_ref()?)));
    given.map(|(flag, key, value)| Override::flag(flag, key, value)).collect()
}

/// The run that `--resume [RUN]` continues: RUN, or else `--out`.
pub fn resumed(resume: Option<&Option<PathBuf>>, out: Option<&PathBuf>) -> Result<Option<(RunDir, RunConfig)>> {
    let Some(named) = resume else { return Ok(None) };
    let path = match (named, out) {
        (Some(named), Some(out)) if named != out => {
            let reason = format!("met {} with --resume {}, expected one of them", out.display(), named.display());
            return Err(Error::config("--out", reason));
        }
        (Some(path), _) | (None, Some(path)) => path,
        (None, None) => {
            return Err(Error::config("--resume", "met without a run, expected --resume RUN (or --out RUN --resume)"));
        }
    };
    let run = RunDir::open(path)?;
    let config = run.config()?;
    Ok(Some((run, config)))
}

/// The command line, for `env.json`.
pub fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}
