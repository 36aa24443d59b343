//! What a fine-tuning has to tell: the figure, with everything that it depends on.

use std::path::PathBuf;

use selfie_train::{FinetuneConfig, Head, TrainReport};
use serde::{Deserialize, Serialize};

use super::{Finetune, Trial};
use crate::accuracy::Accuracy;

/// What was done, in the words that stand beside every figure of it.
fn protocol(config: &FinetuneConfig) -> String {
    let network = match config.head {
        Head::Resnet => "the whole ResNet on whole images",
        Head::Attnpool => "three stages and the attention pooling, over all patches",
        Head::AttnpoolFresh => "three stages and fresh attention pooling, over all patches",
    };
    let layers = match config.freeze_stages {
        0 => "all layers".to_owned(),
        frozen => format!("stem and stages 1 to {frozen} frozen"),
    };
    let stage4 = if config.fresh_stage4 { ", stage 4 from random values" } else { "" };
    let rate = if config.tune { "rate chosen on a tenth of the labelled images" } else { "rate given" };
    format!("fine-tuning of {network}, {layers}{stage4}, {rate}, last weights")
}

/// The result of a fine-tuning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinetuneReport {
    /// What was done.
    pub protocol: String,
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracy is of.
    pub split: String,
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
    /// What it was chosen from; empty where it was given.
    pub trials: Vec<Trial>,
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
            protocol: protocol(&self.config.finetune),
            data: self.config.data.source.clone(),
            split: "test".to_owned(),
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
            trials: self.trials.clone(),
            width: self.config.encoder.width,
            image_size: self.config.patch.image_size,
            train_loss: trained.loss,
            train_accuracy: trained.accuracy,
            images_per_second: trained.images_per_second,
            run_dir,
        }
    }
}
