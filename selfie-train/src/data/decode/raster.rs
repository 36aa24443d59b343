//! PNG of 1 to 16 bits, with palettes, transparency and interlacing; WebP; BMP; the first frame of a GIF.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits};

use super::{MAX_PIXELS, Reason, SMALL_PIXELS, check_size, of_dynamic, said};
use crate::data::image8::Image8;

/// Bytes that a decoder may allocate: [`MAX_PIXELS`] of 8-bit RGBA.
pub(super) const MAX_ALLOCATION: u64 = MAX_PIXELS * 4;

/// Pixels that a byte of deflated data can stand for: deflate's best is 1,032 bytes, a byte holds eight pixels of one bit.
const PNG_PIXELS_PER_BYTE: u64 = 1032 * 8;

/// Pixels that a byte of a GIF can stand for: LZW's longest string is 4,094 pixels, a code of 12 bits.
const GIF_PIXELS_PER_BYTE: u64 = 2730;

/// Pixels that a byte of a BMP can stand for: a run of 255 takes two bytes.
const BMP_PIXELS_PER_BYTE: u64 = 128;

/// Pixels that a byte of a WebP may stand for. Lossless WebP has no bound, for a block of one color takes no bits; a picture that was
/// taken or drawn never comes near this one.
const WEBP_PIXELS_PER_BYTE: u64 = PNG_PIXELS_PER_BYTE;

/// Decodes to `channels` channels; transparency is laid over white unless it is one of them.
pub(super) fn decode(bytes: &[u8], format: ImageFormat, channels: usize) -> Result<Image8, Reason> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    let from = Cursor::new(bytes);
    let most = |per_byte: u64| bytes.len() as u64 * per_byte;
    match format {
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(from, limits.clone()).map_err(said)?;
            finish(decoder, bytes, most(PNG_PIXELS_PER_BYTE), limits, channels)
        }
        ImageFormat::WebP => {
            let most = most(WEBP_PIXELS_PER_BYTE).max(SMALL_PIXELS);
            finish(WebPDecoder::new(from).map_err(said)?, bytes, most, limits, channels)
        }
        ImageFormat::Bmp => {
            let most = most(BMP_PIXELS_PER_BYTE).max(SMALL_PIXELS);
            finish(BmpDecoder::new(from).map_err(said)?, bytes, most, limits, channels)
        }
        _ => {
            let most = most(GIF_PIXELS_PER_BYTE).max(SMALL_PIXELS);
            finish(GifDecoder::new(from).map_err(said)?, bytes, most, limits, channels)
        }
    }
}

fn finish(
    mut decoder: impl ImageDecoder,
    bytes: &[u8],
    most: u64,
    limits: Limits,
    channels: usize,
) -> Result<Image8, Reason> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, bytes, most)?;
    decoder.set_limits(limits).map_err(said)?;
    let orientation = decoder.orientation().map_err(said)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(said)?;
    if is_bmp_of_16_bits(bytes) {
        image = image.into_rgb8().into();
    }
    image.apply_orientation(orientation);
    let colour = image.color();
    let own = usize::from(colour.channel_count());
    let image = match (own, channels) {
        (2, 2) => of_dynamic(image.into_luma_alpha8().into())?,
        (4, 4) => of_dynamic(image.into_rgba8().into())?,
        (1, _) => of_dynamic(image.into_luma8().into())?,
        (2, _) => over_white(&of_dynamic(image.into_luma_alpha8().into())?)?,
        (4, _) => over_white(&of_dynamic(image.into_rgba8().into())?)?,
        _ => of_dynamic(image.into_rgb8().into())?,
    };
    Ok(image)
}

/// A BMP pixel of 16 bits may have one or four bits for opacity, but programs write anything there; Pillow ignores them too.
fn is_bmp_of_16_bits(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM") && bytes.get(28..30) == Some(&[16, 0])
}

/// Lays an image whose last channel is its opacity over white.
pub(super) fn over_white(image: &Image8) -> Result<Image8, Reason> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let mut pixels = Vec::with_capacity(width * height * (channels - 1));
    for pixel in image.pixels().chunks_exact(channels) {
        let (alpha, colours) = pixel.split_last().ok_or("it has no channels")?;
        let over = |&value: &u8| {
            let sum = u32::from(value) * u32::from(*alpha) + 255 * (255 - u32::from(*alpha));
            ((sum + 127) / 255) as u8
        };
        pixels.extend(colours.iter().map(over));
    }
    Image8::new(width, height, pixels).map_err(said)
}
