//! Shape of a ResNet-50-like network, by the names and shapes of its tensors alone.
//!
//! torchvision and timm write no settings into their files. The names do not show where the stride of a stage is: v1.5 is
//! assumed, which both libraries build.

use selfie_encoder::{Block, EncoderConfig, Stem};

/// Stages of a patch network.
pub(super) const PATCH_STAGES: usize = 3;
/// Stages of a whole ResNet.
const STAGES: usize = 4;

/// Returns the shape of the network, with all stages that are there; `dims` returns the shape of the tensor of that name.
///
/// # Errors
/// Returns a tensor and the reason in words if this is not a ResNet of plain bottlenecks.
pub(super) fn of_shapes<'a>(dims: impl Fn(&str) -> Option<&'a [usize]>) -> Result<EncoderConfig, (String, String)> {
    let block = if dims("conv1.weight").is_some() { Block::V1_5 } else { Block::V2 };
    let conv = if block == Block::V2 { "stem.conv.weight" } else { "conv1.weight" };
    let wrong = |name: &str, reason: String| Err((name.to_owned(), reason));
    let Some(&[width, in_channels, kernel, _]) = dims(conv) else {
        return wrong(conv, "is not the weight of a convolution".to_owned());
    };
    let stem = match kernel {
        3 => Stem::Small,
        7 => Stem::ImageNet,
        _ => return wrong(conv, format!("has a kernel of {kernel}, expected 3 (small stem) or 7 (ImageNet)")),
    };
    let block_at = |stage: usize, place: usize| match block {
        Block::V1_5 => format!("layer{}.{place}", stage + 1),
        Block::V2 => format!("stages.{stage}.blocks.{place}"),
    };
    let depth =
        |stage: usize| (0..).take_while(|&b| dims(&format!("{}.conv1.weight", block_at(stage, b))).is_some()).count();
    let depths: Vec<_> = (0..STAGES).map(depth).take_while(|&depth| depth > 0).collect();
    let (second, third) = (format!("{}.conv2.weight", block_at(0, 0)), format!("{}.conv3.weight", block_at(0, 0)));
    if dims(&third).is_none() {
        return wrong(
            &third,
            "is missing: the blocks have two convolutions (ResNet-18 and -34), expected three".to_owned(),
        );
    }
    if dims(&second) != Some(&[width, width, 3, 3]) {
        let reason = format!(
            "has shape {:?}, expected {:?}: a wide or grouped ResNet is not supported",
            dims(&second).unwrap_or_default(),
            [width, width, 3, 3]
        );
        return wrong(&second, reason);
    }
    let config = EncoderConfig { width, depths, block, stem, in_channels, zero_init_last: false };
    match config.validate() {
        Ok(()) => Ok(config),
        Err(error) => wrong(conv, format!("belongs to a network that is not supported: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ModelCount;
    use selfie_encoder::ResNet;

    #[test]
    fn names_and_shapes_give_the_network() {
        let v2 = EncoderConfig {
            width: 4,
            depths: vec![1, 2, 1, 2],
            block: Block::V2,
            in_channels: 2,
            ..EncoderConfig::cifar10()
        };
        let photographs = EncoderConfig { width: 2, depths: vec![2, 1, 3, 1], ..EncoderConfig::imagenet224() };
        for config in [v2, photographs] {
            let count = ModelCount::default();
            ResNet::new(&config, 5, count.builder()).unwrap();
            let shapes = count.shapes();
            let dims = |name: &str| shapes.iter().find(|(found, _)| found == name).map(|(_, shape)| shape.as_slice());
            assert_eq!(of_shapes(dims), Ok(config));
        }
    }
}
