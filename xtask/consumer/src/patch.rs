//! selfie-patch alone: an image in patches, some of them hidden, and together again.

use std::error::Error;

use candle_core::{Device, Tensor};
use selfie_patch::{MaskSampler, MaskScope, PatchGrid, gather};

use crate::ensure;

/// A picture of 24 x 32 pixels in patches of 8.
pub fn mask_an_image() -> Result<String, Box<dyn Error>> {
    let grid = PatchGrid::new(24, 32, 8)?;
    let image = Tensor::arange(0u32, 24 * 32, &Device::Cpu)?.reshape((1, 1, 24, 32))?; // (B, C, H, W)
    let patches = grid.split(&image)?; // (B, N, C, P, P)
    let mask = MaskSampler::new(grid.num_patches(), 5, MaskScope::PerImage)?.sample(0..1, 42, &Device::Cpu)?;
    let hidden = gather(&patches.flatten_from(2)?, &mask.targets)?; // (B, M, C P P)
    ensure(hidden.dims() == [1, 5, 64], "five patches of 64 pixels")?;
    let pixels = |image: &Tensor| image.flatten_all()?.to_vec1::<u32>();
    ensure(pixels(&grid.join(&patches)?)? == pixels(&image)?, "the image as it was")?;
    Ok(format!("5 of {} patches hidden, joined again to the same image", grid.num_patches()))
}
