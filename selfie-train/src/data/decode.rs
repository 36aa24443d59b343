//! From a file's bytes to an 8-bit image. The content decides the format, not the name.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::{DataError, DataResult};
use super::image8::Image8;

/// Decodes the bytes of a file to `channels` channels: 3 is RGB, 1 gray; any other number is refused. An EXIF orientation is applied, deeper
/// colours are rounded to 8 bits. `path` names the image in errors.
pub(super) fn decode(bytes: &[u8], path: impl AsRef<Path>, channels: usize) -> DataResult<Image8> {
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
    let image = Image8::new(width as usize, height as usize, image.into_raw())?;
    image.with_channels(channels).map_err(|reason| fail(&reason))
}

/// Whether the last scan of a JPEG is not followed by the end of the image. The decoder would fill what is missing with
/// gray and say nothing. Inside a scan the two markers cannot occur, and a thumbnail's stand before it.
fn is_cut_off(jpeg: &[u8]) -> bool {
    const SCAN: [u8; 2] = [0xff, 0xda];
    const END: [u8; 2] = [0xff, 0xd9];
    let last = jpeg.windows(2).rev().find(|m| *m == SCAN || *m == END);
    last.is_none_or(|marker| marker != END)
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
        let back = decode(&bytes, "named.jpg", 3).unwrap();
        assert_eq!(back, Image8::new(2, 2, pixels).unwrap());
    }

    #[test]
    fn gray_is_spread_over_three_channels() {
        let gray = image::GrayImage::from_raw(1, 2, vec![7, 200]).unwrap();
        let back = decode(&encoded(gray.into(), ImageFormat::Png), "g", 3).unwrap();
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
        let back = decode(&bytes, "turned.jpg", 3).unwrap();
        assert_eq!((back.width(), back.height()), (8, 16));
        assert!(back.pixel(4, 2)[0] < 10 && back.pixel(4, 13)[0] > 245);
    }

    #[test]
    fn a_bad_file_is_named_with_the_reason() {
        let text = decode(b"hello", "a/b.jpg", 3).unwrap_err().to_string();
        assert!(text.contains("a/b.jpg") && text.contains("neither JPEG nor PNG"), "{text}");
        let image = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * y) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encoded(image.clone().into(), format);
            let text = decode(&bytes[..bytes.len() / 2], "cut.x", 3).unwrap_err().to_string();
            assert!(text.contains("cut.x"), "{text}");
        }
    }
}
