//! From a file's bytes to an 8-bit image. The content decides the format, not the name.
//!
//! JPEG goes to `zune-jpeg`, with `jpeg-decoder` for the kinds that it cannot do (`decode/jpeg.rs`); PNG, WebP, BMP and the first
//! frame of a GIF go to `image` (`decode/raster.rs`); the first page of a TIFF goes to `tiff` (`decode/tiff.rs`). What a file declares is looked at before anything is allocated for
//! it. An EXIF orientation is applied; transparency is laid over white; deeper colours are rounded to 8 bits.

mod jpeg;
mod raster;
mod tiff;

use std::fmt::Display;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use super::error::{DataError, DataResult};
use super::image8::Image8;

/// Pixels that a file may declare: 128 Mi, half as many again as the largest camera's.
const MAX_PIXELS: u64 = 1 << 27;

/// Pixels that a file of a kind that compresses without bound may declare however short it is: 2048 x 2048, 16 MB while decoded. One
/// color alone takes a few dozen bytes at any size.
const SMALL_PIXELS: u64 = 1 << 22;

/// Why a file cannot be decoded.
type Reason = String;

/// Decodes the bytes of a file to `channels` channels: 3 is RGB, 1 gray; any other number must be the file's own, as 4 with
/// transparency. `path` names the image in errors.
pub(super) fn decode(bytes: &[u8], path: impl AsRef<Path>, channels: usize) -> DataResult<Image8> {
    let decoded = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes, channels),
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp | ImageFormat::Gif)) => {
            raster::decode(bytes, format, channels)
        }
        Ok(ImageFormat::Tiff) => tiff::decode(bytes, channels),
        _ if bytes.is_empty() => Err("the file is empty".to_string()),
        _ => Err("its content is neither JPEG, PNG, WebP, BMP, GIF nor TIFF".to_string()),
    };
    let converted = decoded.and_then(|image| image.with_channels(channels));
    converted.map_err(|reason| DataError::image(path, reason))
}

/// Refuses a size that nothing should be allocated for: above [`MAX_PIXELS`], or above `most`, the pixels that the file's bytes can
/// hold.
fn check_size(width: u32, height: u32, bytes: &[u8], most: u64) -> Result<(), Reason> {
    let (pixels, length) = (u64::from(width) * u64::from(height), bytes.len() as u64);
    if pixels == 0 {
        return Err(format!("it declares {width} x {height} pixels, expected at least one"));
    }
    if pixels > MAX_PIXELS {
        return Err(format!("it declares {width} x {height} pixels, expected at most {MAX_PIXELS}"));
    }
    if pixels > most {
        return Err(format!("it declares {width} x {height} pixels, more than its {length} bytes can hold"));
    }
    Ok(())
}

/// The image upright: changed as its EXIF orientation says.
fn upright(image: Image8, orientation: Orientation) -> Result<Image8, Reason> {
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let (width, height, channels) = (image.width() as u32, image.height() as u32, image.channels());
    let pixels = image.into_pixels();
    let image = match channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut image = image.ok_or("its orientation cannot be applied")?;
    image.apply_orientation(orientation);
    of_dynamic(image)
}

/// The bytes of an 8-bit image of `image`.
fn of_dynamic(image: DynamicImage) -> Result<Image8, Reason> {
    Image8::new(image.width() as usize, image.height() as usize, image.into_bytes()).map_err(said)
}

fn said(error: impl Display) -> Reason {
    error.to_string()
}

#[cfg(test)]
mod tests;
