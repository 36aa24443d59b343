//! The complete state of a run in one file: weights, running statistics, optimiser, step, place in the data, settings.
//!
//! One safetensors file: `model.NAME`, `optim.MOMENT.NAME`, `ema.NAME` where the run keeps an average, and a [`Record`] as sorted JSON. Masks, dropout and augmentation are functions of (seed, step) and of the
//! place in the data, so the step and the place are all the state that random numbers have. No clock, no thread count
//! and no path of the machine enters it: the same run is the same bytes.

mod snapshot;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::recipe_changes;
use crate::data::Dataset;
use crate::ema::Ema;
use crate::error::{Error, Result};
use crate::optim::Optimizer;
use crate::store::{ParamStore, Weights};
pub(crate) use snapshot::Snapshot;

/// What the file says it is.
const FORMAT: &str = "selfie checkpoint";
/// The only version there is so far.
const VERSION: u64 = 1;

/// What of a run's state is no tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Steps done.
    pub step: u64,
    /// Updates of the weights done; Adam's correction counts them.
    pub updates: u64,
    /// Updates left out because a loss or a gradient was not finite.
    pub skipped: u64,
    /// Images drawn from the training data so far; the next batch begins here.
    pub position: u64,
    /// Training images; another number means other data.
    pub train_images: u64,
    /// Checksum of the names of the training images, in their order; none in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_names: Option<String>,
    /// The best evaluation on held-out images so far.
    pub best: Option<Best>,
    /// The settings that shape the result, as nested objects ([`crate::RunConfig::recipe`]).
    pub config: Value,
}

/// The images that a run trains on, as far as a resumed run must find the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingImages {
    /// Their number.
    pub count: usize,
    /// Checksum of their names, in their order.
    pub names: String,
}

impl TrainingImages {
    /// Those of `images`.
    #[must_use]
    pub fn of(images: &Dataset) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        for i in 0..images.len() {
            hasher.update(images.name(i).as_bytes());
            hasher.update(&[0]);
        }
        Self { count: images.len(), names: format!("{:08x}", hasher.finalize()) }
    }
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done when it was measured.
    pub step: u64,
    /// Its accuracy.
    pub accuracy: f64,
}

/// A checkpoint read from disk.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    record: Record,
    weights: Weights,
    optimizer: Weights,
    average: Weights,
}

impl Checkpoint {
    /// Writes the state to `path`; whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write(
        path: &Path,
        store: &ParamStore,
        optimizer: &Optimizer,
        ema: Option<&Ema>,
        record: &Record,
    ) -> Result<()> {
        Snapshot::take(store, optimizer, ema, record)?.write(path)
    }

    /// Reads and checks a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the file is missing, damaged, no checkpoint, or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let all = Weights::open(path).map_err(as_checkpoint)?;
        let Some(metadata) = all.metadata().filter(|metadata| metadata["format"] == FORMAT) else {
            return Err(wrong(path, "no checkpoint of a run (weights alone go to --init-from or --from)"));
        };
        if metadata["version"] != VERSION {
            return Err(wrong(path, format!("checkpoint version {}, expected {VERSION}", metadata["version"])));
        }
        let record = record(metadata).map_err(|error| wrong(path, format!("its record: {error}")))?;
        let [weights, optimizer, average] = ["model", "optim", "ema"].map(|part| all.below(part));
        Ok(Self { path: path.to_path_buf(), record, weights, optimizer, average })
    }

    /// Copies weights, statistics, moments and averages into a model, its optimiser and its average.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the first tensor that is missing or has another shape.
    pub fn restore(&self, store: &ParamStore, optimizer: &mut Optimizer, ema: Option<&mut Ema>) -> Result<()> {
        store.load(&self.weights).map_err(as_checkpoint)?;
        optimizer.load_state(&self.optimizer, self.record.updates).map_err(as_checkpoint)?;
        ema.map_or(Ok(()), |ema| ema.load(&self.average)).map_err(as_checkpoint)
    }

    /// Checks that a run with `recipe` on `images` is the one that this is a state of: it goes on with the settings and the data
    /// that it began with, or not at all.
    ///
    /// # Errors
    /// [`Error::Config`] names the settings that differ, with both values, or says that the images are not the same.
    pub fn check_same_run(&self, recipe: &Value, images: &TrainingImages) -> Result<()> {
        let changes = recipe_changes(&self.record.config, recipe);
        if !changes.is_empty() {
            let kept = "a resumed run keeps its settings, but for its length and cadence";
            return Err(Error::config("--resume", format!("{}; {kept}", changes.join(", "))));
        }
        let began_with = self.record.train_images;
        if began_with != images.count as u64 {
            let reason =
                format!("got {} images to train on, expected the {began_with} that the run began with", images.count);
            return Err(Error::config("data.source", reason));
        }
        if self.record.image_names.as_ref().is_some_and(|names| *names != images.names) {
            let reason = format!(
                "got {began_with} images with other names, expected those that the run began with (a new run with the weights of \
                 this one takes other images)"
            );
            return Err(Error::config("data.source", reason));
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What of the state is no tensor.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Weights and running statistics under the model's own names, as they are trained.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Their moving average, where the run keeps one.
    #[must_use]
    pub fn average(&self) -> Option<&Weights> {
        Some(&self.average).filter(|average| average.iter().next().is_some())
    }

    /// The same as they are used: their moving average where the run keeps one.
    #[must_use]
    pub fn used_weights(&self) -> &Weights {
        self.average().unwrap_or(&self.weights)
    }
}

/// Whether a weights file is a checkpoint of a run.
pub(crate) fn is_checkpoint(weights: &Weights) -> bool {
    weights.metadata().is_some_and(|metadata| metadata["format"] == FORMAT)
}

/// The record among the metadata, without what belongs to the file.
fn record(metadata: &Value) -> serde_json::Result<Record> {
    let mut fields = metadata.clone();
    if let Some(fields) = fields.as_object_mut() {
        ["format", "version", "crc32", "crc32_of"].iter().for_each(|field| drop(fields.remove(*field)));
    }
    serde_json::from_value(fields)
}

fn wrong(path: &Path, reason: impl ToString) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), reason: reason.to_string() }
}

/// What is wrong with the weights in a checkpoint is wrong with the checkpoint.
fn as_checkpoint(error: Error) -> Error {
    match error {
        Error::Weights { path, reason } => Error::Checkpoint { path, reason },
        error => error,
    }
}
