//! What a run directory says of its run at a glance, and all runs below a folder.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use selfie_train::{RunDir, read_metrics};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Folders below the one that was named that are looked into.
const DEPTH: usize = 4;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// A process is training in it.
    Running,
    /// It has made all its steps. A process may still be testing the last weights.
    Done,
    /// It ended, or was ended, before; `--resume` continues it.
    Stopped,
}

/// A run in one line.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its directory.
    pub path: PathBuf,
    /// `pretrain` or `finetune`.
    pub kind: &'static str,
    /// Where it stands.
    pub state: RunState,
    /// Steps done, by its last line of metrics or its latest checkpoint.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Mean training loss, last.
    pub loss: Option<f64>,
    /// Mean training accuracy, last.
    pub accuracy: Option<f64>,
    /// Accuracy on held-out images, last.
    pub held_out_accuracy: Option<f64>,
    /// Its standard error.
    pub held_out_standard_error: Option<f64>,
    /// Number of held-out images behind it.
    pub held_out_images: Option<u64>,
    /// The accuracy of guessing.
    pub chance: Option<f64>,
    /// Speed, last.
    pub images_per_second: Option<f64>,
    /// Seconds since it last wrote metrics or a checkpoint.
    pub idle_seconds: Option<u64>,
    /// When that was; seconds are too coarse to put runs into order.
    #[serde(skip)]
    changed: Option<SystemTime>,
}

impl RunSummary {
    /// The run in `path`.
    ///
    /// # Errors
    /// Where there is no run, or its settings cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let run = RunDir::open(path)?;
        let config = run.config()?;
        let kind = kind(&run);
        let steps = if kind == "finetune" { config.finetune.steps } else { config.run.steps };
        let lines = if run.metrics_path().exists() { read_metrics(&run.metrics_path())? } else { Vec::new() };
        let last = |key: &str| lines.iter().rev().find_map(|line| line[key].as_f64());
        // A run may stop between two lines of metrics: the checkpoint that it saved then counts further.
        let logged = lines.iter().rev().find_map(|line| line["step"].as_u64());
        let step = logged.max(run.latest_step()).unwrap_or(0);
        let state = match run.is_locked() {
            _ if step >= steps => RunState::Done,
            true => RunState::Running,
            false => RunState::Stopped,
        };
        let written = |file: PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).ok();
        let checkpoint = run.latest_checkpoint().ok().and_then(written);
        let changed = written(run.metrics_path()).max(checkpoint).or_else(|| written(run.config_path()));
        let idle = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        Ok(Self {
            path: path.to_path_buf(),
            kind,
            state,
            step,
            steps,
            loss: last("loss"),
            accuracy: last("accuracy"),
            held_out_accuracy: last("held_out_accuracy"),
            held_out_standard_error: last("held_out_standard_error"),
            held_out_images: last("held_out_images").map(|images| images as u64),
            chance: last("chance"),
            images_per_second: last("images_per_second"),
            idle_seconds: idle.map(|idle| idle.as_secs()),
            changed,
        })
    }

    /// All runs in `folder` and below it, those that wrote last first.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read; a run that cannot be read is an error of its own in the list.
    pub fn below(folder: &Path) -> Result<Vec<Result<Self>>> {
        let mut paths = Vec::new();
        find(folder, DEPTH, &mut paths)?;
        let mut runs: Vec<_> = paths.iter().map(|path| Self::read(path)).collect();
        runs.sort_by_key(|run| Reverse(run.as_ref().ok().and_then(|run| run.changed)));
        Ok(runs)
    }
}

/// What trained in the directory, by the note of fine-tuning in `env.json`.
pub(crate) fn kind(run: &RunDir) -> &'static str {
    let text = std::fs::read_to_string(run.path().join("env.json")).unwrap_or_default();
    let environment: Value = serde_json::from_str(&text).unwrap_or_default();
    if environment["finetune"].is_object() { "finetune" } else { "pretrain" }
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    // Other programs have a config.toml too (Cargo, in a checkout); only a run has both.
    if ["config.toml", "env.json"].iter().all(|file| folder.join(file).is_file()) {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|path| find(path, depth - 1, found))
}

#[cfg(test)]
mod tests {
    use selfie_train::RunConfig;

    use super::*;

    #[test]
    fn a_stopped_run_stands_at_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let config = RunConfig::preset("quick").unwrap();
        let run = RunDir::create(&folder.path().join("run"), &config, &Value::Null).unwrap();
        let summary = || RunSummary::read(run.path()).unwrap();
        assert_eq!((summary().step, summary().state), (0, RunState::Stopped));
        std::fs::write(run.metrics_path(), "{\"step\": 10, \"loss\": 1.5}\n").unwrap();
        assert_eq!(summary().step, 10);
        let checkpoint = run.path().join("checkpoints/step-00000020.safetensors");
        std::fs::write(&checkpoint, "").unwrap();
        let now = SystemTime::now() - std::time::Duration::from_secs(100);
        std::fs::File::options().write(true).open(run.metrics_path()).unwrap().set_modified(now).unwrap();
        assert_eq!((summary().step, summary().loss), (20, Some(1.5)));
        assert!(summary().idle_seconds.unwrap() < 50); // the checkpoint is new
    }

    #[test]
    fn a_config_toml_alone_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name);
        for name in [".cargo", "deep/run"] {
            std::fs::create_dir_all(of(name)).unwrap();
            std::fs::write(of(name).join("config.toml"), "").unwrap();
        }
        std::fs::write(of("deep/run").join("env.json"), "{}").unwrap();
        let mut found = Vec::new();
        find(folder.path(), DEPTH, &mut found).unwrap();
        assert_eq!(found, [of("deep/run")]);
    }
}
