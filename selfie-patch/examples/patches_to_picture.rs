//! Cuts a photograph into the grid of ImageNet 224x224, greys the masked cells, and writes the
//! picture.
//!
//! `cargo run -p selfie-patch --example patches_to_picture -- [PHOTO] [PICTURE.png] [SEED]`

use std::error::Error;

use candle_core::{Device, Tensor};
use image::imageops::FilterType;
use selfie_patch::{MaskSampler, PatchConfig, PatchGrid};

const GREY: u8 = 128;
/// Width of the black line around every patch, in pixels.
const GAP: usize = 1;
/// Where no photograph is named: one of those in the folder of the sources.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../selfie-train/sample/val/butterfly/image_0057.jpg");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().unwrap_or_else(|| SAMPLE.to_string());
    let picture = arguments.next().unwrap_or_else(|| "masked.png".to_string());
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;

    let config = PatchConfig::imagenet224();
    let grid = config.grid()?;
    let patches = grid.split(&read(&photo, config.image_size)?)?; // (1, N, C, P, P)

    let sampler = MaskSampler::new(grid.num_patches(), config.num_targets, config.mask)?;
    let mask = sampler.sample(0..1, seed, &Device::Cpu)?;
    let masked = mask
        .as_grid(grid.num_patches())? // (1, N)
        .reshape((1, (), 1, 1, 1))? // (1, N, 1, 1, 1)
        .broadcast_as(patches.dims())?; // (1, N, C, P, P)
    let grey = Tensor::full(GREY, patches.dims(), &Device::Cpu)?;
    let visible = masked.where_cond(&grey, &patches)?; // (1, N, C, P, P)

    // Every patch gets a black line around it, so the picture is joined by a grid of slightly
    // larger patches.
    let framed = visible.pad_with_zeros(3, GAP, GAP)?.pad_with_zeros(4, GAP, GAP)?; // (1, N, C, P + 2, P + 2)
    let side = grid.patch_size() + 2 * GAP;
    let framed_grid = PatchGrid::new(grid.rows() * side, grid.cols() * side, side)?;
    write(&framed_grid.join(&framed)?, &picture)?;

    println!("masked cells {:?} of {}", mask.targets.get(0)?.to_vec1::<u32>()?, grid.num_patches());
    println!("wrote {picture}");
    Ok(())
}

/// The photograph's middle square, resized to `side` pixels: (1, 3, side, side) of `u8`.
fn read(path: &str, side: usize) -> Result<Tensor, Box<dyn Error>> {
    let photo = image::open(path).map_err(|error| format!("{path}: {error}"))?;
    let photo = photo.resize_to_fill(side as u32, side as u32, FilterType::Triangle).into_rgb8();
    let pixels = Tensor::from_vec(photo.into_raw(), (side, side, 3), &Device::Cpu)?; // (H, W, C)
    Ok(pixels.permute((2, 0, 1))?.unsqueeze(0)?) // (1, C, H, W)
}

/// Writes the image (1, 3, H, W) of `u8`.
fn write(image: &Tensor, path: &str) -> Result<(), Box<dyn Error>> {
    let (_, _, height, width) = image.dims4()?;
    let pixels = image.get(0)?.permute((1, 2, 0))?.flatten_all()?.to_vec1::<u8>()?; // (H W C)
    image::save_buffer(path, &pixels, width as u32, height as u32, image::ExtendedColorType::Rgb8)
        .map_err(|error| format!("{path}: {error}"))?;
    Ok(())
}
