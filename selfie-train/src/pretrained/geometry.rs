//! The shape of a ResNet-50-like network, told by the names and shapes of its tensors alone.
//!
//! For weights of torchvision and timm, which say nothing of themselves. The names cannot tell where the stride of a stage
//! is: v1.5 is meant, which is what both build.

use selfie_encoder::{Block, EncoderConfig, Stem};

use crate::store::Weights;

/// Stages of a patch network; what comes behind them is no part of its settings.
const STAGES: usize = 3;

/// The first three stages of the network; none where it is no ResNet of plain bottlenecks.
pub(super) fn of_tensors(weights: &Weights) -> Option<EncoderConfig> {
    let dims = |name: &str| weights.get(name).map(|tensor| tensor.dims().to_vec());
    let (block, stem) = match (dims("conv1.weight"), dims("stem.conv.weight")) {
        (Some(stem), None) => (Block::V1_5, stem),
        (None, Some(stem)) => (Block::V2, stem),
        _ => return None,
    };
    let &[width, in_channels, kernel, _] = stem.as_slice() else { return None };
    let stem = match kernel {
        3 => Stem::Small,
        7 => Stem::ImageNet,
        _ => return None,
    };
    let prefix = |stage: usize, place: usize| match block {
        Block::V1_5 => format!("layer{}.{place}", stage + 1),
        Block::V2 => format!("stages.{stage}.blocks.{place}"),
    };
    let depth =
        |stage: usize| (0..).take_while(|&b| dims(&format!("{}.conv1.weight", prefix(stage, b))).is_some()).count();
    let depths: Vec<_> = (0..STAGES).map(depth).take_while(|&depth| depth > 0).collect();
    let first = prefix(0, 0);
    let is_bottleneck = dims(&format!("{first}.conv2.weight")) == Some(vec![width, width, 3, 3])
        && dims(&format!("{first}.conv3.weight")) == Some(vec![4 * width, width, 1, 1]);
    let config = EncoderConfig { width, depths, block, stem, in_channels, zero_init_last: false };
    (is_bottleneck && config.validate().is_ok()).then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ParamStore, write_tensors};
    use candle_core::Device;
    use selfie_encoder::ResNet;

    /// The weights of a whole network of `config`, as a file of somebody else.
    fn told(config: &EncoderConfig) -> Option<EncoderConfig> {
        let store = ParamStore::new(0, &Device::Cpu);
        ResNet::new(&config.with_stage4(), 5, store.builder()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        write_tensors(file.path(), &store.tensors().into_iter().collect(), serde_json::json!({})).unwrap();
        of_tensors(&Weights::open(file.path()).unwrap())
    }

    #[test]
    fn names_and_shapes_tell_the_network() {
        let v2 = EncoderConfig {
            width: 4,
            depths: vec![1, 2, 1],
            block: Block::V2,
            in_channels: 2,
            ..EncoderConfig::cifar10()
        };
        let photographs = EncoderConfig { width: 2, depths: vec![2, 1, 3], ..EncoderConfig::imagenet224() };
        for config in [v2, photographs] {
            assert_eq!(told(&config), Some(config));
        }
    }
}
