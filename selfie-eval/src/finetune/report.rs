//! What a fine-tuning has to tell: the figure, with everything that it depends on.

use std::path::PathBuf;

use selfie_train::TrainReport;
use serde::Serialize;

use super::Finetune;
use crate::accuracy::Accuracy;

/// What was done, in the words that stand beside every figure of it.
const PROTOCOL: &str = "fine-tuning of the whole ResNet on whole images, all layers, last weights";

/// The result of a fine-tuning.
#[derive(Debug, Clone, Serialize)]
pub struct FinetuneReport {
    /// What was done.
    pub protocol: &'static str,
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracy is of.
    pub split: &'static str,
    /// Accuracy on it.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// The accuracy of guessing.
    pub chance: f64,
    /// The origin of the weights, as given.
    pub from: String,
    /// Its weights file.
    pub checkpoint: Option<String>,
    /// Share or number of the training labels used.
    pub labels: String,
    /// Images they belong to.
    pub train_images: usize,
    /// The seed of labels, first values, order and augmentation.
    pub seed: u64,
    /// Updates of the weights.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// The base learning rate.
    pub lr: f64,
    /// Width of the stem.
    pub width: usize,
    /// Side of the images.
    pub image_size: usize,
    /// Mean training loss over the last steps.
    pub train_loss: f64,
    /// Mean training accuracy over the last steps.
    pub train_accuracy: f64,
    /// Mean speed of training.
    pub images_per_second: f64,
    /// The run directory.
    pub run_dir: Option<PathBuf>,
}

impl Finetune {
    /// Training and test in one report.
    #[must_use]
    pub fn report(&self, trained: &TrainReport, accuracy: Accuracy, run_dir: Option<PathBuf>) -> FinetuneReport {
        FinetuneReport {
            protocol: PROTOCOL,
            data: self.config.data.source.clone(),
            split: "test",
            accuracy,
            chance: trained.chance,
            from: self.origin.given().to_owned(),
            checkpoint: self.origin.checkpoint().map(str::to_owned),
            labels: self.data.budget.clone(),
            train_images: self.data.train.len(),
            seed: self.config.run.seed,
            steps: trained.steps,
            batch_size: self.plan.run.batch_size,
            lr: self.plan.optim.lr,
            width: self.config.encoder.width,
            image_size: self.config.patch.image_size,
            train_loss: trained.loss,
            train_accuracy: trained.accuracy,
            images_per_second: trained.images_per_second,
            run_dir,
        }
    }
}
