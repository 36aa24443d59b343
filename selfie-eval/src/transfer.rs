//! Weights of the patch network P into a network: checked against the settings, then carried over by name.
//!
//! The paper's transfer (arXiv 1906.02940, "Finetuning Details"): P becomes the first three stages of the ResNet;
//! what comes after it starts fresh. P is first rebuilt from the settings and filled completely, so that weights of
//! another width are told before anything else happens, and then its tensors are copied.

use candle_core::{Device, Tensor};
use selfie_encoder::{EncoderConfig, Trunk};
use selfie_train::{Error as TrainError, ParamStore, Pretrained};

use crate::error::Result;

/// Where a fine-tuned network's tensors stand in its store, so that its run can be the origin of a patch network again.
pub(crate) const PREFIX: &str = "encoder";

/// A name in the store of a fine-tuned network without [`PREFIX`]: torchvision's name.
pub(crate) fn bare(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)?.strip_prefix('.')
}

/// What a network took over from P.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Transfer {
    /// Names of the tensors taken, in the network's order.
    pub taken: Vec<String>,
    /// Names of the network's tensors that start fresh.
    pub fresh: Vec<String>,
}

/// Returns the trunk of `config`, with a fourth stage if the weights of `from` contain one.
#[must_use]
pub fn held_trunk(config: &EncoderConfig, from: Option<&Pretrained>) -> EncoderConfig {
    let has = |name: String| from.is_some_and(|from| from.encoder.get(&name).is_some());
    let is_there =
        |b: &usize| has(format!("layer4.{b}.conv1.weight")) || has(format!("stages.3.blocks.{b}.conv1.weight"));
    let stage4 = (0..).take_while(is_there).count();
    let mut config = config.clone();
    if stage4 > 0 && config.depths.len() == 3 {
        config.depths.push(stage4);
    }
    config
}

/// The patch network with the weights of `from`, or with first values drawn from `seed`.
///
/// The final norm of v2 blocks belongs to the last stage: where `from` goes on behind `config`'s, it has none for it, and
/// it stays fresh, as it will in the network that the trunk is carried over to.
///
/// # Errors
/// [`TrainError::Weights`] names the first tensor that is missing or has another shape, met and expected.
pub fn load_trunk(
    config: &EncoderConfig,
    from: Option<&Pretrained>,
    seed: u64,
    device: &Device,
) -> Result<(ParamStore, Trunk)> {
    let store = ParamStore::new(seed, device);
    let trunk = Trunk::new(config, store.builder())?;
    if let Some(from) = from {
        let mut report = store.load_matching(&from.encoder)?;
        if held_trunk(config, Some(from)).depths.len() > config.depths.len() {
            report.reshaped.retain(|(name, ..)| !name.starts_with("norm."));
        }
        if !report.missing.is_empty() || !report.reshaped.is_empty() {
            let reason = report.misfit().unwrap_or_default();
            return Err(TrainError::Weights { path: from.file.clone(), reason }.into());
        }
    }
    Ok((store, trunk))
}

impl Transfer {
    /// Returns whether stage 4 was taken over.
    #[must_use]
    pub fn has_stage4(&self) -> bool {
        self.taken.iter().any(|name| name.starts_with("layer4.") || name.starts_with("stages.3."))
    }

    /// Copies into each tensor of `network` the one that `source` has for its name, where it has one of the same shape.
    ///
    /// # Errors
    /// Where the device fails.
    pub(crate) fn carry_over(network: &ParamStore, source: impl Fn(&str) -> Option<Tensor>) -> Result<Self> {
        let mut transfer = Self::default();
        let parameters = network.parameters();
        for (name, target) in network.tensors() {
            let inner = bare(&name).unwrap_or(&name).to_owned();
            match source(&name).filter(|source| source.dims() == target.dims()) {
                None => transfer.fresh.push(inner),
                Some(source) => {
                    match parameters.iter().find(|parameter| parameter.name == name) {
                        Some(parameter) => parameter.var.set(&source)?,
                        None => target.slice_set(&source, 0, 0)?,
                    }
                    transfer.taken.push(inner);
                }
            }
        }
        Ok(transfer)
    }
}
