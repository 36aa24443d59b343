//! Networks that tell classes apart: the ResNet that the paper fine-tunes, and its ablation, attention pooling over patches.
//!
//! In the ablation of arXiv 1906.02940 (what to transfer: P alone, or P and A) the patch network and the attention pooling are used as in pretraining, but every
//! patch is visible, and a linear classifier reads u.

use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use selfie_encoder::ResNet;

use crate::config::RunConfig;
use crate::error::Result;
use crate::model::{Mode, SelfieModel};

/// A network from images to logits.
pub enum Classifier {
    /// The trunk with its fourth stage on whole images.
    ResNet(Box<ResNet>),
    /// The patch network and the attention pooling.
    PatchPool(Box<PatchPool>),
}

/// P on every patch, A over all of them, a linear classifier on u.
pub struct PatchPool {
    model: SelfieModel,
    weight: Tensor, // (classes, D)
    bias: Tensor,   // (classes)
}

impl Classifier {
    /// (B, C, H, W) -> (B, classes).
    ///
    /// # Errors
    /// Where images do not fit the network.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::ResNet(network) => Ok(network.forward(images, mode.trunk())?),
            Self::PatchPool(network) => network.forward(images, mode),
        }
    }

    /// The largest absolute value of each layer of the trunk ([`selfie_encoder::Trunk::activations`]).
    pub(super) fn activations(&self, images: &Tensor, mode: Mode) -> Result<Vec<(String, f32)>> {
        Ok(match self {
            Self::ResNet(network) => network.trunk().activations(images, mode.trunk())?,
            Self::PatchPool(network) => {
                let model = &network.model;
                model.encoder().activations(&model.patches(images)?, mode.trunk())?
            }
        })
    }
}

impl PatchPool {
    /// Takes its variables from `vb`: `encoder.…` and `attnpool.…`, as in pretraining, and `fc`. The first
    /// `finetune.freeze_stages` stages are not trained.
    ///
    /// # Errors
    /// As [`SelfieModel::new`].
    pub fn new(config: &RunConfig, num_classes: usize, vb: VarBuilder) -> Result<Self> {
        let model = SelfieModel::new(config, vb.clone())?.with_frozen_stages(config.finetune.freeze_stages)?;
        let d = model.encoder().embed_dim();
        let bound = 1.0 / (d as f64).sqrt(); // as PyTorch's nn.Linear
        let (uniform, vb) = (Init::Uniform { lo: -bound, up: bound }, vb.pp("fc"));
        let weight = vb.get_with_hints((num_classes, d), "weight", uniform)?;
        Ok(Self { model, weight, bias: vb.get_with_hints(num_classes, "bias", uniform)? })
    }

    /// (B, C, H, W) -> (B, classes).
    ///
    /// # Errors
    /// Where images do not fit the grid.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let h = self.model.embed(images, mode)?; // (B, N, D)
        let (b, n, _) = h.dims3()?;
        let cells = Tensor::arange(0, n as u32, h.device())?.unsqueeze(0)?.repeat((b, 1))?; // (B, N): all are visible
        let unasked = Tensor::zeros((b, 1), DType::U32, h.device())?; // no cell is predicted, but one must be named
        let u = self.model.attnpool().forward(&h, &cells, &unasked, mode.pooling())?.u; // (B, D)
        Ok(u.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?) // (B, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradients::Gradients;
    use crate::store::ParamStore;
    use candle_core::Device;

    /// Logits of two images, and the store of the network.
    fn logits(freeze_stages: usize) -> (Tensor, ParamStore) {
        let mut config = RunConfig::preset("quick").unwrap();
        (config.encoder.width, config.encoder.depths) = (8, vec![1, 1, 1]);
        config.finetune.freeze_stages = freeze_stages;
        let store = ParamStore::new(3, &Device::Cpu);
        let network = PatchPool::new(&config, 5, store.builder()).unwrap();
        let values: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| (i as f32 * 0.7).sin()).collect();
        let images = Tensor::from_vec(values, (2, 3, 32, 32), &Device::Cpu).unwrap();
        let logits = Classifier::PatchPool(Box::new(network))
            .forward(&images, Mode::Train { dropout: 1, first_image: 0 })
            .unwrap();
        (logits, store)
    }

    #[test]
    fn attention_pooling_over_all_patches_trains_every_parameter() {
        let (logits, store) = logits(0);
        assert_eq!(logits.dims(), [2, 5]);
        let parameters = store.parameters();
        let gradients = Gradients::backward(&logits.sqr().unwrap().sum_all().unwrap(), &parameters).unwrap();
        for (at, parameter) in parameters.iter().enumerate() {
            assert!(gradients.get(at).is_some(), "{} gets no gradient", parameter.name);
        }
        assert!(parameters.iter().any(|parameter| parameter.name == "attnpool.u0"));
    }

    #[test]
    fn frozen_stages_get_no_gradient() {
        let (logits, store) = logits(1);
        let parameters = store.parameters();
        let gradients = Gradients::backward(&logits.sqr().unwrap().sum_all().unwrap(), &parameters).unwrap();
        let frozen = |name: &str| ["conv1", "bn1", "layer1"].iter().any(|p| name.starts_with(&format!("encoder.{p}")));
        for (at, parameter) in parameters.iter().enumerate() {
            assert_eq!(gradients.get(at).is_none(), frozen(&parameter.name), "{}", parameter.name);
        }
    }
}
