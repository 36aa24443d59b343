//! The shape of a network: what distinguishes a ResNet-50 trunk for 8x8 patches from one for photographs.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most channels of an image.
const MAX_CHANNELS: usize = 4096;

/// Most bottlenecks of a stage, seven times those of a ResNet-152.
const MAX_BLOCKS: usize = 256;

/// Order of convolution, norm and activation in a bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Block {
    /// Post-activation with the stride on the 3x3 convolution: torchvision's ResNet-50.
    #[serde(rename = "v1.5")]
    V1_5,
    /// Pre-activation (He et al. 2016, "Identity mappings"), with a final norm: timm's `resnetv2_50`.
    #[serde(rename = "v2")]
    V2,
}

/// The layers before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stem {
    /// 3x3 convolution with stride 1, no pooling: for images of about 32 pixels and patches of 8.
    #[serde(rename = "small")]
    Small,
    /// 7x7 convolution with stride 2 and 3x3/2 max-pool: for photographs, and patches of 32.
    #[serde(rename = "imagenet")]
    ImageNet,
}

/// Configuration of a trunk. The default is the paper's patch network for CIFAR-10.
///
/// ```
/// use selfie_encoder::EncoderConfig;
/// assert_eq!(EncoderConfig::default().embed_dim(), 1024);
/// assert_eq!(EncoderConfig { width: 16, ..EncoderConfig::imagenet224() }.embed_dim(), 256);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// Channels of the stem and of the first stage's 3x3 convolutions (64 in a ResNet-50).
    pub width: usize,
    /// Bottlenecks in each stage; the patch network has three stages, the whole ResNet four.
    pub depths: Vec<usize>,
    /// Kind of bottleneck.
    pub block: Block,
    /// Kind of stem.
    pub stem: Stem,
    /// Channels of the image (3 for RGB).
    pub in_channels: usize,
    /// Starts the last norm of each bottleneck at zero, so that every block begins as the identity.
    pub zero_init_last: bool,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::cifar10()
    }
}

impl EncoderConfig {
    /// The paper's patch network for 8x8 patches: stages 1-3 of ResNet-50, small stem, D = 1024.
    pub fn cifar10() -> Self {
        Self {
            width: 64,
            depths: vec![3, 4, 6],
            block: Block::V1_5,
            stem: Stem::Small,
            in_channels: 3,
            zero_init_last: false,
        }
    }

    /// As [`Self::cifar10`]: ImageNet at 32x32 has the same patches.
    pub fn imagenet32() -> Self {
        Self::cifar10()
    }

    /// The paper's patch network for 32x32 patches of 224x224 images: the pooled stem.
    pub fn imagenet224() -> Self {
        Self { stem: Stem::ImageNet, ..Self::cifar10() }
    }

    /// The same network with ResNet-50's fourth stage (three bottlenecks), for fine-tuning.
    pub fn with_stage4(&self) -> Self {
        let mut depths = self.depths.clone();
        if depths.len() == 3 {
            depths.push(3);
        }
        Self { depths, ..self.clone() }
    }

    /// Width of the embedding, D = 4 · width · 2^(stages-1): 16 · width with three stages.
    pub fn embed_dim(&self) -> usize {
        self.stage_channels(self.depths.len().saturating_sub(1))
    }

    /// Channels that leave a stage, counted from 0.
    pub(crate) fn stage_channels(&self, stage: usize) -> usize {
        4 * (self.width << stage)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, the value and what was expected.
    pub fn validate(&self) -> Result<()> {
        let fail = |field, reason| Err(Error::Config { field, reason });
        if self.width == 0 || self.width > 1024 {
            return fail("width", format!("{} given, expected 1 to 1024", self.width));
        }
        if self.in_channels == 0 || self.in_channels > MAX_CHANNELS {
            return fail("in_channels", format!("{} given, expected 1 to {MAX_CHANNELS}", self.in_channels));
        }
        let blocks = 1..=MAX_BLOCKS;
        if self.depths.is_empty() || self.depths.len() > 4 || !self.depths.iter().all(|depth| blocks.contains(depth)) {
            let reason = format!("{:?} given, expected one to four stages of 1 to {MAX_BLOCKS} blocks", self.depths);
            return fail("depths", reason);
        }
        Ok(())
    }
}
