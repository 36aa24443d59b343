//! The section `[finetune]`: what training a whole ResNet on labels needs beside the encoder's shape.
//!
//! The paper tunes these numbers for each share of labels and prints none of them; the defaults are common ones.

use serde::{Deserialize, Serialize};

use super::sections::{MOST_IMAGES, MOST_STEPS, count, fraction, not_negative, positive};
use crate::data::{Augment, Colours};
use crate::error::{Error, Result};

/// What stands behind the first three stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Stage 4, fresh, on whole images: the paper's fine-tuning.
    #[default]
    Resnet,
    /// Attention pooling over the embeddings of the image's patches, from the pretraining run: the paper's ablation.
    Attnpool,
    /// The same, fresh.
    AttnpoolFresh,
}

/// `[finetune]`: fine-tuning on labels, by SGD with Nesterov momentum 0.9 and a cosine; the seed is that of `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// How many labels: `"5%"` of each class, or `"400/class"`.
    pub labels: String,
    /// Updates of the weights.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// Images that go through the network at once, at most; 0 = the whole batch.
    pub micro_batch_size: usize,
    /// The base learning rate; where it is tuned, the one that was chosen.
    pub lr: f64,
    /// Whether the rate is chosen among `tune_lrs` on a tenth of the labelled images, before all of them are trained on.
    pub tune: bool,
    /// The rates to choose from.
    pub tune_lrs: Vec<f64>,
    /// What stands behind the first three stages, and is trained with them.
    pub head: Head,
    /// Stages, counted from the first, that are not trained, and the stem with them; 0 = all layers are trained.
    pub freeze_stages: usize,
    /// Whether stage 4 starts from random values even if the pretrained weights contain one.
    pub fresh_stage4: bool,
    /// Weight decay, on kernels and matrices only.
    pub weight_decay: f64,
    /// Probability that is taken from the true class and spread over all.
    pub label_smoothing: f64,
    /// Steps of linear warm-up; 0 = min(100, steps / 10).
    pub warmup_steps: u64,
    /// Steps between two lines of metrics.
    pub log_every: u64,
    /// Random changes of a training image, by the numbers of `[data]`; in colour as below. What makes the pretext task easier to learn is not
    /// what a classifier gains from, so pretraining has its own (`data.augment`).
    pub augment: Augment,
    /// Colour jitter: strengths of brightness, contrast, saturation and hue; all 0 is off.
    pub jitter: [f64; 4],
    /// Share of the training images that are jittered.
    pub jitter_share: f64,
    /// Share of the training images that lose their colour.
    pub grayscale: f64,
    /// Share of the training images that are blurred.
    pub blur: f64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        let colours = Colours::default();
        Self {
            labels: "100%".to_owned(),
            steps: 4000,
            batch_size: 128,
            micro_batch_size: 0,
            lr: 0.05,
            tune: false,
            tune_lrs: vec![0.01, 0.03, 0.1],
            head: Head::Resnet,
            freeze_stages: 0,
            fresh_stage4: false,
            weight_decay: 1e-4,
            label_smoothing: 0.0,
            warmup_steps: 0,
            log_every: 50,
            augment: Augment::default(),
            jitter: colours.jitter,
            jitter_share: colours.jitter_share,
            grayscale: colours.grayscale,
            blur: colours.blur,
        }
    }
}

impl FinetuneConfig {
    /// The changes of colour and sharpness in fine-tuning, the same from any start.
    #[must_use]
    pub fn colours(&self) -> Colours {
        let &Self { jitter, jitter_share, grayscale, blur, .. } = self;
        Colours { jitter, jitter_share, grayscale, blur }
    }

    pub(super) fn validate(&self) -> Result<()> {
        count("finetune.steps", self.steps, 1, MOST_STEPS)?;
        count("finetune.log_every", self.log_every, 1, MOST_STEPS)?;
        count("finetune.micro_batch_size", self.micro_batch_size as u64, 0, MOST_IMAGES)?;
        count("finetune.batch_size", self.batch_size as u64, 1, MOST_IMAGES)?;
        positive("finetune.lr", self.lr)?;
        if self.tune_lrs.is_empty() {
            return Err(Error::config("finetune.tune_lrs", "met [], expected at least one rate"));
        }
        self.tune_lrs.iter().try_for_each(|&lr| positive("finetune.tune_lrs", lr))?;
        not_negative("finetune.weight_decay", self.weight_decay)?;
        fraction("finetune.label_smoothing", self.label_smoothing)?;
        self.colours().validate(&Colours::FINETUNE_KEYS)?;
        if self.warmup_steps > self.steps {
            let reason = format!("met {}, expected at most finetune.steps = {}", self.warmup_steps, self.steps);
            return Err(Error::config("finetune.warmup_steps", reason));
        }
        Ok(())
    }
}
