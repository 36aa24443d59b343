//! An 8-bit image in memory, and the way from a file's bytes to it.
//!
//! Images stay in this form, one byte a colour, until a batch is made; see [`crate::Normalise`] for the floats.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::{DataError, DataResult};

/// Channels of every image: red, green, blue. Gray files are spread over the three.
pub const CHANNELS: usize = 3;

/// An 8-bit colour image, pixels interleaved: (H, W, C) with C = 3.
///
/// ```
/// use selfie_train::Image8;
/// let image = Image8::new(2, 1, vec![255, 0, 0, 0, 0, 255])?; // a red pixel, then a blue one
/// assert_eq!(image.pixel(1, 0), [0, 0, 255]);
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image8 {
    width: usize,
    height: usize,
    pixels: Vec<u8>, // (H, W, C)
}

impl Image8 {
    /// An image of `width` x `height` pixels, from rows of interleaved red, green and blue.
    ///
    /// # Errors
    /// [`DataError::Config`] if a side is zero or `pixels` is not `height * width * 3` long.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> DataResult<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(CHANNELS));
        if pixels.is_empty() || expected != Some(pixels.len()) {
            let length = pixels.len();
            let reason = format!("{width} x {height} with {length} bytes, expected H x W x 3 bytes");
            return Err(DataError::config("image", reason));
        }
        Ok(Self { width, height, pixels })
    }

    /// Decodes the bytes of a file. The content decides the format, not the name; an EXIF orientation is applied, gray
    /// becomes RGB, deeper colours are rounded to 8 bits.
    ///
    /// # Errors
    /// [`DataError::Image`] with `path` and the decoder's reason.
    pub fn decode(bytes: &[u8], path: impl AsRef<Path>) -> DataResult<Self> {
        let fail = |reason: &dyn std::fmt::Display| DataError::image(&path, reason);
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| fail(&e))?;
        if reader.format().is_none() {
            return Err(fail(&"its content is neither JPEG nor PNG"));
        }
        if reader.format() == Some(ImageFormat::Jpeg) && is_cut_off(bytes) {
            return Err(fail(&"the JPEG is cut off: it has no end marker"));
        }
        let mut decoder = reader.into_decoder().map_err(|e| fail(&e))?;
        // A file that declares more than 512 MiB of pixels is refused before anything is allocated.
        let mut limits = Limits::default();
        limits.reserve(decoder.total_bytes()).map_err(|e| fail(&e))?;
        let orientation = decoder.orientation().map_err(|e| fail(&e))?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| fail(&e))?;
        image.apply_orientation(orientation);
        let image = image.into_rgb8();
        let (width, height) = image.dimensions();
        Self::new(width as usize, height as usize, image.into_raw())
    }

    /// Width W in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height H in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes, (H, W, C).
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the bytes away, (H, W, C).
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Red, green and blue at column `x` and row `y`.
    ///
    /// # Panics
    /// If the pixel lies outside of the image.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; CHANNELS] {
        assert!(x < self.width && y < self.height, "pixel outside the image");
        let at = (y * self.width + x) * CHANNELS;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// The bytes of row `y`, (W, C).
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * CHANNELS;
        &self.pixels[y * stride..(y + 1) * stride]
    }

    /// Mirrors the image left to right, in place.
    pub(super) fn flip(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width * CHANNELS) {
            let (pixels, _) = row.as_chunks_mut::<CHANNELS>();
            pixels.reverse();
        }
    }
}

/// Whether the last scan of a JPEG is not followed by the end of the image. The decoder would fill what is missing with
/// gray and say nothing. Inside a scan the two markers cannot occur, and a thumbnail's stand before it.
fn is_cut_off(jpeg: &[u8]) -> bool {
    const SCAN: [u8; 2] = [0xff, 0xda];
    const END: [u8; 2] = [0xff, 0xd9];
    let last = jpeg.windows(2).rev().find(|m| *m == SCAN || *m == END);
    last.is_none_or(|marker| marker != END)
}

impl std::fmt::Debug for Image8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image8({} x {})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_png_comes_back_exactly_and_its_name_does_not_matter() {
        let pixels = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let image = image::RgbImage::from_raw(2, 2, pixels.clone()).unwrap();
        let bytes = encoded(image.into(), ImageFormat::Png);
        let back = Image8::decode(&bytes, "named.jpg").unwrap();
        assert_eq!(back, Image8::new(2, 2, pixels).unwrap());
    }

    #[test]
    fn gray_is_spread_over_three_channels() {
        let gray = image::GrayImage::from_raw(1, 2, vec![7, 200]).unwrap();
        let back = Image8::decode(&encoded(gray.into(), ImageFormat::Png), "g").unwrap();
        assert_eq!(back.pixels(), [7, 7, 7, 200, 200, 200]);
    }

    #[test]
    fn an_exif_orientation_is_applied() {
        // 2 x 1: black, white. Orientation 6 turns it a quarter clockwise: 1 x 2, black above white.
        let image = image::GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 0 } else { 255 }]));
        let jpeg = encoded(image.into(), ImageFormat::Jpeg);
        let mut exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
        exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"); // tag 0x112, one short: 6
        let bytes = [&jpeg[..2], &exif, &jpeg[2..]].concat();
        let back = Image8::decode(&bytes, "turned.jpg").unwrap();
        assert_eq!((back.width(), back.height()), (8, 16));
        assert!(back.pixel(4, 2)[0] < 10 && back.pixel(4, 13)[0] > 245);
    }

    #[test]
    fn a_bad_file_is_named_with_the_reason() {
        let text = Image8::decode(b"hello", "a/b.jpg").unwrap_err().to_string();
        assert!(text.contains("a/b.jpg") && text.contains("neither JPEG nor PNG"), "{text}");
        let image = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * y) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encoded(image.clone().into(), format);
            let text = Image8::decode(&bytes[..bytes.len() / 2], "cut.x").unwrap_err().to_string();
            assert!(text.contains("cut.x"), "{text}");
        }
    }

    #[test]
    fn flip_mirrors_each_row() {
        let mut image = Image8::new(2, 2, (1..=12).collect()).unwrap();
        image.flip();
        assert_eq!(image.pixels(), [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
    }

    #[test]
    fn the_number_of_bytes_is_checked() {
        assert!(Image8::new(2, 2, vec![0; 11]).is_err());
        assert!(Image8::new(0, 2, vec![]).is_err());
    }
}
