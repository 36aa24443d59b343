//! The network that is fine-tuned: built from the settings, with what the origin has to give.

use candle_core::Device;
use selfie_encoder::ResNet;
use selfie_train::{Classifier, Error as TrainError, Head, ParamStore, PatchPool, Precision, Pretrained, RunConfig};

use crate::error::{Error, Result};
use crate::transfer::{PREFIX, Transfer, bare, load_trunk};

/// The network of `config` for so many classes, its tensors, and which of them came from `weights`.
pub(super) fn build(
    config: &RunConfig,
    weights: Option<&Pretrained>,
    classes: usize,
    device: &Device,
) -> Result<(Classifier, ParamStore, Transfer)> {
    let (trunk, _) = load_trunk(&config.encoder, weights, config.run.seed, device)?;
    let store = ParamStore::new(config.run.seed, device);
    let tune = &config.finetune;
    let network = match tune.head {
        Head::Resnet => {
            let network = ResNet::new(&config.encoder.with_stage4(), classes, store.builder().pp(PREFIX))?;
            let bf16 = config.run.precision == Precision::Bf16;
            let network = if bf16 { network.with_bf16_products() } else { network };
            Classifier::ResNet(Box::new(network.with_frozen_stages(tune.freeze_stages)?))
        }
        Head::Attnpool | Head::AttnpoolFresh => {
            Classifier::PatchPool(Box::new(PatchPool::new(config, classes, store.builder())?))
        }
    };
    let Some(weights) = weights else { return Ok((network, store, Transfer::default())) };
    let pooling = |name: &str| match tune.head {
        Head::Attnpool => weights.attnpool.get(name.strip_prefix("attnpool.")?).cloned(),
        _ => None,
    };
    let source = |name: &str| bare(name).map_or_else(|| pooling(name), |inner| trunk.get(inner));
    let transfer = Transfer::carry_over(&store, source)?;
    if tune.head == Head::Attnpool
        && let Some(name) = transfer.fresh.iter().find(|name| name.starts_with("attnpool."))
    {
        if weights.attnpool.iter().next().is_none() {
            let reason = format!(
                "met attnpool, but {} has no attention pooling, expected a pretraining run, or attnpool-fresh",
                weights.file.display()
            );
            return Err(Error::config("finetune.head", reason));
        }
        let reason = format!("{name} is missing or has another shape, expected the pooling of the settings");
        return Err(TrainError::Weights { path: weights.file.clone(), reason }.into());
    }
    Ok((network, store, transfer))
}
