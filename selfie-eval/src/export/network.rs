//! What there is to export: a patch network or a whole ResNet, rebuilt from its settings and filled completely.

use candle_core::{Device, Tensor};
use selfie_encoder::{Block, EncoderConfig, ResNet, Trunk};
use selfie_train::{Error as TrainError, ParamStore, Pretrained};

use crate::error::{Error, Result};
use crate::transfer::held_trunk;

/// The depths of a ResNet-50's four stages.
const RESNET50: [usize; 4] = [3, 4, 6, 3];

/// A network with its tensors under the names of torchvision (v1.5) or timm's resnetv2 (v2).
pub(crate) struct Network {
    /// Its shape, with the fourth stage where it has one.
    pub(crate) config: EncoderConfig,
    /// Classes of the classifier; none where there is no classifier.
    pub(crate) classes: Option<usize>,
    /// All tensors, in the network's order.
    pub(crate) tensors: Vec<(String, Tensor)>,
}

impl Network {
    /// All of the network that the weights hold.
    ///
    /// # Errors
    /// [`Error::Config`] where nothing tells the shape; [`TrainError::Weights`] names the first tensor that is missing
    /// or has another shape.
    pub(crate) fn of(weights: &Pretrained) -> Result<Self> {
        let Some(trunk) = &weights.encoder_config else {
            let reason = format!(
                "{} tells no geometry, expected a run, or a file with torchvision's or timm's names",
                weights.file.display()
            );
            return Err(Error::config("--from", reason));
        };
        let config = held_trunk(trunk, Some(weights));
        let classifier = match config.block {
            Block::V1_5 => "fc.weight",
            Block::V2 => "head.fc.weight",
        };
        let classes = weights.encoder.get(classifier).and_then(|weight| weight.dims().first().copied());
        let store = ParamStore::new(0, &Device::Cpu);
        match classes {
            Some(classes) => drop(ResNet::new(&config, classes, store.builder())?),
            None => drop(Trunk::new(&config, store.builder())?),
        }
        let report = store.load_matching(&weights.encoder)?;
        if !report.missing.is_empty() || !report.reshaped.is_empty() {
            let reason = report.misfit().unwrap_or_default();
            return Err(TrainError::Weights { path: weights.file.clone(), reason }.into());
        }
        Ok(Self { config, classes, tensors: store.tensors() })
    }

    /// Whether this is what `resnet50` and `resnetv2_50` build, whole or cut off behind its third stage.
    pub(crate) fn is_resnet50(&self) -> bool {
        let depths = &self.config.depths;
        self.config.width == 64 && depths.len() >= 3 && RESNET50.starts_with(depths)
    }

    /// Whether it ends behind its third stage.
    pub(crate) fn is_cut(&self) -> bool {
        self.config.depths.len() < RESNET50.len()
    }
}
