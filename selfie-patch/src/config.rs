//! The configuration of grid and mask, with the paper's presets.
//!
//! Source: Selfie (arXiv 1906.02940), "Patch sampling method": 8x8 patches for 32x32 images, 32x32
//! patches for 224x224 images. The paper does not print the number of masked patches: 4 of 16 are
//! read off its figure, and 12 of 49 are the same quarter, rounded down.

use serde::{Deserialize, Serialize};

use crate::{PatchGrid, Result, mask};

/// How an image is cut, and how many of its cells are masked.
///
/// ```
/// use selfie_patch::PatchConfig;
///
/// let config = PatchConfig { num_targets: 16, ..PatchConfig::cifar10() };
/// let message = config.validate().unwrap_err().to_string();
/// assert_eq!(message, "num_targets: 16 of 16 patches leaves no context, expected 1 to 15");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchConfig {
    /// Side of the square image, in pixels (H = W). A multiple of `patch_size`.
    pub image_size: usize,
    /// P, side of the square patch, in pixels.
    pub patch_size: usize,
    /// M, masked patches of an image: at least 1, and fewer than there are patches.
    pub num_targets: usize,
    /// Whether the images of a batch share their mask.
    pub mask: MaskScope,
}

/// Which images share a mask.
///
/// ```
/// use candle_core::Device;
/// use selfie_patch::{MaskSampler, MaskScope};
///
/// let mask = MaskSampler::new(16, 4, MaskScope::PerBatch)?.sample(0..2, 7, &Device::Cpu)?;
/// assert_eq!(mask.targets.get(0)?.to_vec1::<u32>()?, mask.targets.get(1)?.to_vec1::<u32>()?);
/// # Ok::<(), selfie_patch::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskScope {
    /// Every image has its own mask, a function of the seed and the image's number.
    #[default]
    PerImage,
    /// All images have the same mask, a function of the seed alone: give another seed to every
    /// batch.
    PerBatch,
}

impl PatchConfig {
    /// CIFAR-10: 32x32 images in 8x8 patches, 4 of 16 masked.
    pub fn cifar10() -> Self {
        PatchConfig { image_size: 32, patch_size: 8, num_targets: 4, mask: MaskScope::PerImage }
    }

    /// ImageNet at 32x32: the geometry of CIFAR-10.
    pub fn imagenet32() -> Self {
        Self::cifar10()
    }

    /// ImageNet at 224x224: 32x32 patches, 12 of 49 masked.
    pub fn imagenet224() -> Self {
        PatchConfig { image_size: 224, patch_size: 32, num_targets: 12, mask: MaskScope::PerImage }
    }

    /// The grid that the images are cut into.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where `patch_size` does not divide `image_size`.
    pub fn grid(&self) -> Result<PatchGrid> {
        PatchGrid::square(self.image_size, self.patch_size)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) that names the first field out of range, its value
    /// and what was expected.
    pub fn validate(&self) -> Result<()> {
        mask::check_num_targets(self.num_targets, self.grid()?.num_patches())
    }
}

impl Default for PatchConfig {
    /// [`PatchConfig::cifar10`].
    fn default() -> Self {
        Self::cifar10()
    }
}
