//! The whole ResNet that is fine-tuned: the trunk with its fourth stage, and a linear classifier.

use crate::{Block, EncoderConfig, Error, Mode, Result, Trunk};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// Images (B, C, H, W) to logits (B, classes).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use selfie_encoder::{EncoderConfig, Mode, ResNet};
///
/// let variables = VarMap::new();
/// let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let config = EncoderConfig { width: 8, ..EncoderConfig::cifar10() };
/// let resnet = ResNet::new(&config.with_stage4(), 10, vb)?;
/// let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(resnet.forward(&images, Mode::Eval)?.dims(), [2, 10]);
/// # Ok::<(), selfie_encoder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResNet {
    trunk: Trunk,
    weight: Tensor, // (classes, D)
    bias: Tensor,   // (classes)
}

impl ResNet {
    /// Takes its variables from `vb`: the trunk's, then `fc` (timm's `head.fc`, a 1x1 convolution, for v2).
    ///
    /// # Errors
    /// As [`Trunk::new`]; also for fewer than one class.
    pub fn new(config: &EncoderConfig, num_classes: usize, vb: VarBuilder) -> Result<Self> {
        if num_classes == 0 {
            return Err(Error::Config { field: "num_classes", reason: "0 given, expected at least 1".into() });
        }
        let trunk = Trunk::new(config, vb.clone())?;
        let d = trunk.embed_dim();
        let bound = 1.0 / (d as f64).sqrt(); // PyTorch's nn.Linear
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let (weight, bias) = match config.block {
            Block::V1_5 => {
                let vb = vb.pp("fc");
                (
                    vb.get_with_hints((num_classes, d), "weight", uniform)?,
                    vb.get_with_hints(num_classes, "bias", uniform)?,
                )
            }
            Block::V2 => {
                let vb = vb.pp("head").pp("fc");
                let weight = vb.get_with_hints((num_classes, d, 1, 1), "weight", uniform)?;
                (weight.reshape((num_classes, d))?, vb.get_with_hints(num_classes, "bias", uniform)?)
            }
        };
        Ok(Self { trunk, weight, bias })
    }

    /// The same network whose stem and first `stages` stages are not trained ([`Trunk::with_frozen_stages`]).
    ///
    /// # Errors
    /// [`Error::Config`] for more stages than there are.
    pub fn with_frozen_stages(self, stages: usize) -> Result<Self> {
        Ok(Self { trunk: self.trunk.with_frozen_stages(stages)?, ..self })
    }

    /// The same network with the trunk's products in bf16 ([`Trunk::with_bf16_products`]); the classifier's stays in f32.
    pub fn with_bf16_products(self) -> Self {
        Self { trunk: self.trunk.with_bf16_products(), ..self }
    }

    /// The trunk.
    pub fn trunk(&self) -> &Trunk {
        &self.trunk
    }

    /// (B, C, H, W) -> (B, D): the features before the classifier.
    ///
    /// # Errors
    /// As [`Trunk::forward`].
    pub fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.trunk.forward(x, mode)
    }

    /// (B, C, H, W) -> (B, classes).
    ///
    /// # Errors
    /// As [`Trunk::forward`].
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let features = self.features(x, mode)?; // (B, D)
        Ok(features.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?) // (B, classes)
    }
}
