//! The network that is fine-tuned: built from the settings, with what the origin has to give.

use candle_core::Device;
use selfie_encoder::{EncoderConfig, ResNet};
use selfie_train::{Classifier, Error as TrainError, Head, ParamStore, PatchPool, Precision, Pretrained, RunConfig};

use crate::error::{Error, Result};
use crate::transfer::{PREFIX, Transfer, bare, held_trunk, load_trunk};

/// Returns the trunk that is fine-tuned: three stages for attention pooling, otherwise four, with as many blocks in the fourth
/// as the weights have, unless it starts fresh.
pub(super) fn trunk(config: &RunConfig, weights: Option<&Pretrained>) -> EncoderConfig {
    let mut encoder = config.encoder.clone();
    if config.finetune.fresh_stage4 {
        encoder.depths.truncate(3);
    }
    match config.finetune.head {
        Head::Attnpool | Head::AttnpoolFresh => encoder,
        Head::Resnet if config.finetune.fresh_stage4 => encoder.with_stage4(),
        Head::Resnet => held_trunk(&encoder, weights).with_stage4(),
    }
}

/// Returns the stages of `trunk` that the weights fill: the fourth only if they contain it and it does not start fresh.
fn filled(config: &RunConfig, trunk: &EncoderConfig, weights: &Pretrained) -> EncoderConfig {
    let mut three = trunk.clone();
    three.depths.truncate(3);
    if config.finetune.fresh_stage4 { three } else { held_trunk(&three, Some(weights)) }
}

/// Builds the network of `config` for so many classes; returns it, its tensors, and which of them came from `weights`.
pub(super) fn build(
    config: &RunConfig,
    weights: Option<&Pretrained>,
    classes: usize,
    device: &Device,
) -> Result<(Classifier, ParamStore, Transfer)> {
    let encoder = trunk(config, weights);
    let source = match weights {
        Some(weights) => filled(config, &encoder, weights),
        None => config.encoder.clone(),
    };
    let (source, _) = load_trunk(&source, weights, config.run.seed, device)?;
    let store = ParamStore::new(config.run.seed, device);
    let tune = &config.finetune;
    let network = match tune.head {
        Head::Resnet => {
            let network = ResNet::new(&encoder, classes, store.builder().pp(PREFIX))?;
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
    let value = |name: &str| bare(name).map_or_else(|| pooling(name), |inner| source.get(inner));
    let transfer = Transfer::carry_over(&store, value)?;
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
