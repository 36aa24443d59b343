//! A frozen network and the labelled images that its features are judged by: what linear and kNN evaluation share.

use candle_core::Device;
use selfie_encoder::Trunk;
use selfie_train::RunConfig;
use serde::Serialize;

use crate::error::Result;
use crate::features::{FeatureKind, Features, View, extract};
use crate::labelled::Labelled;
use crate::origin::Origin;
use crate::transfer::{held_trunk, load_trunk};

/// A frozen trunk, labelled images, and how they are seen.
pub struct Frozen {
    config: RunConfig,
    data: Labelled,
    origin: Origin,
    trunk: Trunk,
    view: View,
    device: Device,
}

/// What every figure of a frozen network depends on.
#[derive(Debug, Clone, Serialize)]
pub struct FrozenContext {
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracies are of.
    pub split: &'static str,
    /// The accuracy of guessing.
    pub chance: f64,
    /// The origin of the weights, as given.
    pub from: String,
    /// Its weights file.
    pub checkpoint: Option<String>,
    /// Share or number of the training labels used.
    pub labels: String,
    /// Images they belong to that could be read.
    pub train_images: usize,
    /// The seed of the choice of labels, and of a hold-out.
    pub seed: u64,
    /// Width of the stem.
    pub width: usize,
    /// Stages that the features come after: three, or all four of a fine-tuned network.
    pub stages: usize,
    /// Side of the images.
    pub image_size: usize,
}

/// Features of one kind: of the training images whose labels may be used, and of the test split.
pub struct BothSplits {
    /// The labelled training images.
    pub train: Features,
    /// The test split.
    pub test: Features,
}

impl Frozen {
    /// Opens the data of `config` and loads the trunk: the patch network, or all four stages of a fine-tuned network.
    ///
    /// # Errors
    /// Where settings, data or weights do not fit; all of it before any work.
    pub fn prepare(mut config: RunConfig, origin: &Origin, device: &Device) -> Result<Self> {
        config.validate()?;
        let data = Labelled::open(&config.data, &config.finetune.labels, config.run.seed)?;
        let encoder = held_trunk(&config.encoder, origin.weights());
        let (_, trunk) = load_trunk(&encoder, origin.weights(), config.run.seed, device)?;
        let view = View::of(&mut config, &data.all)?;
        Ok(Self { config, data, origin: origin.clone(), trunk, view, device: device.clone() })
    }

    /// The settings, with mean and standard deviation filled in.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Returns whether mean and standard deviation were measured on the images, because neither the weights nor the settings
    /// give them.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.view.measured
    }

    /// The images.
    #[must_use]
    pub fn data(&self) -> &Labelled {
        &self.data
    }

    /// Features of both splits, kind by kind; `progress` is told the number of images done, of
    /// `data().train.len() + data().test.len()`.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn features(&self, kinds: &[FeatureKind], progress: &mut dyn FnMut(usize)) -> Result<Vec<BothSplits>> {
        let grid = self.config.patch.grid()?;
        let mut of = |images, done: usize| {
            extract(&self.trunk, &grid, kinds, images, &self.view, &self.device, &mut |n| progress(done + n))
        };
        let train = of(&self.data.train, 0)?;
        let test = of(&self.data.test, self.data.train.len())?;
        Ok(train.into_iter().zip(test).map(|(train, test)| BothSplits { train, test }).collect())
    }

    /// What the figures of `features` depend on.
    #[must_use]
    pub fn context(&self, features: &[BothSplits]) -> FrozenContext {
        FrozenContext {
            data: self.config.data.source.clone(),
            split: "test",
            chance: 1.0 / self.data.classes().len() as f64,
            from: self.origin.given().to_owned(),
            checkpoint: self.origin.checkpoint().map(str::to_owned),
            labels: self.data.budget.clone(),
            train_images: features.first().map_or(self.data.train.len(), |both| both.train.rows.len()),
            seed: self.config.run.seed,
            width: self.config.encoder.width,
            stages: self.trunk.config().depths.len(),
            image_size: self.config.patch.image_size,
        }
    }
}
