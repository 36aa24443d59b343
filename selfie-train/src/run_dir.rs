//! The directory of a run: settings, environment, metrics, checkpoints, the trained trunk.
//!
//! `config.toml` · `env.json` · `metrics.jsonl` · `checkpoints/step-NNNNNNNN.safetensors` with `latest` · `tensorboard/` ·
//! `encoder.safetensors` · `run.lock`, held by the process that trains.
//! A directory that holds a run is never written over: a new run is refused there, and only a resumed one continues in it.

mod claim;
mod lengthened;
mod lock;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::replace_with;
pub use claim::Claim;
pub use lengthened::{Lengthened, check_length};
pub use lock::RunLock;

/// A directory that holds a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory of a new run, with its environment and settings.
    ///
    /// # Errors
    /// [`Error::RunDir`] where `path` holds a run already or is no directory; [`Error::Io`] where it cannot be written.
    pub fn create(path: &Path, config: &RunConfig, environment: &Value) -> Result<Self> {
        let (run, _lock) = Self::prepare(path, environment)?;
        run.write_config(config)?;
        Ok(run)
    }

    /// Makes the directory of a new run without its settings, locked for this process; it holds a run once these are written.
    ///
    /// Of several processes with the same `path` one gets the lock, and the others are refused. What a process left that was
    /// killed before its run began is cleared away.
    pub(crate) fn prepare(path: &Path, environment: &Value) -> Result<(Self, RunLock)> {
        Self::check_free(path)?;
        let run = Self { path: path.to_path_buf() };
        let lock = run.lock()?;
        Self::check_free(path)?; // another process may have begun a run, and ended, in between
        let checkpoints = run.checkpoints_path();
        fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))?;
        for name in leftovers(&checkpoints) {
            let file = checkpoints.join(name);
            fs::remove_file(&file).map_err(Error::io(&file))?;
        }
        run.write_environment(environment)?;
        Ok((run, lock))
    }

    fn write_environment(&self, environment: &Value) -> Result<()> {
        replace_with(&self.path.join("env.json"), format!("{environment:#}\n").as_bytes())
    }

    /// Writes the settings.
    ///
    /// # Errors
    /// [`Error::Io`] where the directory cannot be written.
    pub fn write_config(&self, config: &RunConfig) -> Result<()> {
        replace_with(&self.config_path(), config.to_toml()?.as_bytes())
    }

    /// The run in `path`.
    ///
    /// # Errors
    /// [`Error::RunDir`] where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf() };
        if run.config_path().is_file() {
            return Ok(run);
        }
        let reason =
            if path.exists() { "holds no run, expected a directory with config.toml" } else { "no such run directory" };
        Err(Error::RunDir { path: run.path, reason: reason.to_owned() })
    }

    /// Whether `path` may become the directory of a new run.
    ///
    /// # Errors
    /// [`Error::RunDir`] where it holds a run already, or is no directory.
    pub fn check_free(path: &Path) -> Result<()> {
        let refuse = |reason: &str| Err(Error::RunDir { path: path.to_path_buf(), reason: reason.to_owned() });
        if path.join("config.toml").exists() {
            return refuse("already holds a run, expected a new directory, or --resume to continue it");
        }
        let checkpoints = path.join("checkpoints");
        let files = fs::read_dir(&checkpoints).into_iter().flatten().count();
        if files > leftovers(&checkpoints).len() {
            return refuse("holds checkpoints of a run without its config.toml, expected a new directory");
        }
        if path.exists() && !path.is_dir() {
            return refuse("is a file, expected a directory");
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings of the run.
    ///
    /// # Errors
    /// [`Error::Config`] where they cannot be read.
    pub fn config(&self) -> Result<RunConfig> {
        let path = self.config_path();
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        RunConfig::from_toml(&text, &path.display().to_string())
    }

    /// `config.toml`.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.jsonl`.
    #[must_use]
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `tensorboard/`: event files.
    #[must_use]
    pub fn tensorboard_path(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// `encoder.safetensors`: the trunk, written at the end of pretraining.
    #[must_use]
    pub fn encoder_path(&self) -> PathBuf {
        self.path.join("encoder.safetensors")
    }

    /// `bad-images.txt`: the images that could not be read, with the reasons; not there where all could.
    #[must_use]
    pub fn bad_images_path(&self) -> PathBuf {
        self.path.join("bad-images.txt")
    }

    /// `labels.txt`: the images whose labels a fine-tuning may use, with their classes.
    #[must_use]
    pub fn labels_path(&self) -> PathBuf {
        self.path.join("labels.txt")
    }

    fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The checkpoint after `step` steps; it need not exist.
    #[must_use]
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints_path().join(format!("step-{step:08}.safetensors"))
    }

    /// All checkpoints with their steps, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.checkpoints_path();
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".safetensors"));
            if let Some(step) = step.and_then(|step| step.parse().ok()) {
                found.push((step, path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The checkpoint that `latest` names; the newest one where the run was killed before it could say so.
    ///
    /// # Errors
    /// [`Error::RunDir`] where the run has none yet.
    pub fn latest_checkpoint(&self) -> Result<PathBuf> {
        let all = self.checkpoints()?;
        if let Ok(name) = fs::read(self.checkpoints_path().join("latest")) {
            let named = String::from_utf8(name).ok().map(|name| self.checkpoints_path().join(name.trim()));
            if let Some((_, path)) = all.iter().find(|(_, path)| Some(path) == named.as_ref()) {
                return Ok(path.clone());
            }
            tracing::warn!("{}: latest names no checkpoint that is there; the newest is taken", self.path.display());
        }
        let newest = all.into_iter().next_back().map(|(_, path)| path);
        let reason = "has no checkpoint yet, expected checkpoints/latest".to_owned();
        newest.ok_or_else(|| Error::RunDir { path: self.path.clone(), reason })
    }

    /// The step of the latest checkpoint; none where there is none yet.
    #[must_use]
    pub fn latest_step(&self) -> Option<u64> {
        let latest = self.latest_checkpoint().ok()?;
        self.checkpoints().ok()?.into_iter().find(|(_, path)| *path == latest).map(|(step, _)| step)
    }

    /// Reads the checkpoint of `step`, or the latest.
    ///
    /// # Errors
    /// [`Error::RunDir`] where there is none, with the steps that are kept; [`Error::Checkpoint`] where it is damaged, with the
    /// step of the newest good one before it.
    pub fn read_checkpoint(&self, step: Option<u64>) -> Result<Checkpoint> {
        let Some(step) = step else {
            let latest = self.latest_checkpoint()?;
            return Checkpoint::read(&latest).map_err(|error| self.with_offer(error, &latest));
        };
        let path = self.checkpoint(step);
        if path.is_file() {
            return Checkpoint::read(&path);
        }
        let kept: Vec<_> = self.checkpoints()?.iter().map(|(step, _)| step.to_string()).collect();
        let reason = format!("has no checkpoint of step {step}, expected one of {}", kept.join(", "));
        Err(Error::RunDir { path: self.path.clone(), reason })
    }

    /// What is wrong with the checkpoint `bad`, and which one to go on with instead.
    fn with_offer(&self, error: Error, bad: &Path) -> Error {
        let Error::Checkpoint { path, reason } = error else { return error };
        let others = self.checkpoints().unwrap_or_default();
        let good = others.iter().rev().find(|(_, other)| other != bad && Checkpoint::read(other).is_ok());
        let offer = match good {
            Some((step, _)) => format!("the checkpoint of step {step} is good: --checkpoint {step} takes it"),
            None => "no other checkpoint of this run is good".to_owned(),
        };
        Error::Checkpoint { path, reason: format!("{reason}; {offer}") }
    }

    /// Moves `latest` to the checkpoint of `step` (after that file is safe), and drops what `keep` does not keep.
    pub(crate) fn point_latest(&self, step: u64, keep: Keep) -> Result<()> {
        let (latest, name) = (self.checkpoints_path().join("latest"), format!("step-{step:08}.safetensors\n"));
        if latest.is_dir() {
            fs::remove_dir(&latest).map_err(|error| {
                let reason = format!("is a folder, expected a file ({error}); remove it, then resume");
                Error::RunDir { path: latest.clone(), reason }
            })?;
        }
        replace_with(&latest, name.as_bytes())?;
        for (_, path) in keep.surplus(step, self.checkpoints()?) {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }
}

/// Files in the folder of checkpoints that a run leaves if it is killed before it has begun: its state at step 0, whole or torn.
fn leftovers(checkpoints: &Path) -> Vec<&'static str> {
    const NAMES: [&str; 4] = ["step-00000000.safetensors", "step-00000000.safetensors.tmp", "latest", "latest.tmp"];
    let first = |name: &str| match fs::read_to_string(checkpoints.join(name)) {
        Ok(step) => !name.starts_with("latest") || step.trim().is_empty() || step.trim() == NAMES[0],
        Err(_) => checkpoints.join(name).is_file(), // a checkpoint is no text
    };
    NAMES.into_iter().filter(|name| first(name)).collect()
}

/// Which checkpoints stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// The newest so many; 0 = all.
    pub(crate) last: usize,
    /// Those at a multiple of so many steps, for good; 0 = none.
    pub(crate) every: u64,
}

impl Keep {
    /// Those of `all` (oldest first) that go once `latest` is safe. What lies behind it belongs to a future that was given up.
    fn surplus(self, latest: u64, all: Vec<(u64, PathBuf)>) -> Vec<(u64, PathBuf)> {
        let (mut known, mut surplus): (Vec<_>, Vec<_>) = all.into_iter().partition(|(step, _)| *step <= latest);
        known.retain(|(step, _)| self.every == 0 || !step.is_multiple_of(self.every) || *step == latest);
        let too_many = if self.last == 0 { 0 } else { known.len().saturating_sub(self.last) };
        surplus.extend(known.drain(..too_many));
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(last: usize, every: u64, latest: u64, steps: &[u64]) -> Vec<u64> {
        let all = steps.iter().map(|&step| (step, PathBuf::new())).collect();
        let mut gone: Vec<_> = Keep { last, every }.surplus(latest, all).iter().map(|(step, _)| *step).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn the_last_ones_and_each_so_many_steps_stay() {
        assert_eq!(dropped(2, 0, 50, &[10, 20, 30, 40, 50]), [10, 20, 30]);
        assert_eq!(dropped(2, 20, 50, &[10, 20, 30, 40, 50]), [10]); // 20 and 40 for good, 30 and 50 as the last two
        assert_eq!(dropped(0, 0, 50, &[10, 20, 30, 40, 50]), [0u64; 0]);
        assert_eq!(dropped(1, 10, 50, &[10, 20, 50]), [0u64; 0]);
    }

    #[test]
    fn a_future_that_was_given_up_goes() {
        assert_eq!(dropped(0, 0, 30, &[10, 20, 30, 40, 50]), [40, 50]);
    }
}
