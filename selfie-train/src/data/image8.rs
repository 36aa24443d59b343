//! An 8-bit image in memory, with any number of channels.
//!
//! Images stay in this form, one byte a colour, until a batch is made; see [`crate::Normalise`] for the floats.

use super::error::{DataError, DataResult};

/// An 8-bit image, pixels interleaved: (H, W, C). One channel is gray, three are red, green and blue; other numbers mean
/// what their source says.
///
/// ```
/// use selfie_train::Image8;
/// let image = Image8::new(2, 1, vec![255, 0, 0, 0, 0, 255])?; // a red pixel, then a blue one
/// assert_eq!((image.channels(), image.pixel(1, 0)), (3, &[0, 0, 255][..]));
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image8 {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>, // (H, W, C)
}

impl Image8 {
    /// An image of `width` x `height` pixels, from rows of interleaved channels; their number C follows from the length.
    ///
    /// # Errors
    /// [`DataError::Config`] if a side is zero or the length of `pixels` is no multiple of `height * width`.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> DataResult<Self> {
        let area = width.checked_mul(height).filter(|&area| area > 0);
        match area.map(|area| (pixels.len() / area, pixels.len() % area)) {
            Some((channels @ 1.., 0)) => Ok(Self { width, height, channels, pixels }),
            _ => {
                let length = pixels.len();
                let reason = format!("{width} x {height} with {length} bytes, expected H x W x C bytes");
                Err(DataError::config("image", reason))
            }
        }
    }

    /// Decodes the bytes of a file to `channels` channels: 3 is RGB, 1 gray; any other number must be the file's own. The
    /// content decides the format, not the name; an EXIF orientation is applied, deeper colours are rounded to 8 bits.
    ///
    /// # Errors
    /// [`DataError::Image`] with `path` and the decoder's reason.
    pub fn decode(bytes: &[u8], path: impl AsRef<std::path::Path>, channels: usize) -> DataResult<Self> {
        super::decode::decode(bytes, path, channels)
    }

    /// Width W in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height H in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Channels C.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All bytes, (H, W, C).
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the bytes away, (H, W, C).
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The C bytes at column `x` and row `y`.
    ///
    /// # Panics
    /// If the pixel lies outside of the image.
    pub fn pixel(&self, x: usize, y: usize) -> &[u8] {
        assert!(x < self.width && y < self.height, "pixel outside the image");
        let at = (y * self.width + x) * self.channels;
        &self.pixels[at..at + self.channels]
    }

    /// The image with `channels` channels: as it is where it has them, gray from colour by Pillow's weights (those of ITU-R
    /// 601), gray spread over red, green and blue.
    ///
    /// # Errors
    /// Any other change is refused; the reason names both numbers.
    pub(super) fn with_channels(self, channels: usize) -> Result<Self, String> {
        match (self.channels, channels) {
            (from, to) if from == to => Ok(self),
            (3, 1) => {
                let (pixels, _) = self.pixels.as_chunks::<3>();
                Ok(Self { channels, pixels: pixels.iter().map(luma).collect(), ..self })
            }
            (1, 3) => Ok(Self { channels, pixels: self.pixels.iter().flat_map(|&v| [v; 3]).collect(), ..self }),
            (from, to) => Err(format!("it has {from} channels, expected {to} (encoder.in_channels)")),
        }
    }

    /// All bytes, (H, W, C), to change them.
    pub(super) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The bytes of row `y`, (W, C).
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * self.channels;
        &self.pixels[y * stride..(y + 1) * stride]
    }

    /// Mirrors the image left to right, in place.
    pub(super) fn flip(&mut self) {
        let channels = self.channels;
        for row in self.pixels.chunks_exact_mut(self.width * channels) {
            if channels == 3 {
                row.as_chunks_mut::<3>().0.reverse();
            } else {
                row.reverse(); // pixels and the channels inside them
                row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
            }
        }
    }
}

/// Pillow's gray of a colour, in its whole numbers: (19595 R + 38470 G + 7471 B) / 65536, rounded.
pub(super) fn luma([r, g, b]: &[u8; 3]) -> u8 {
    let weighted = 19_595 * u32::from(*r) + 38_470 * u32::from(*g) + 7_471 * u32::from(*b);
    ((weighted + 0x8000) >> 16) as u8
}

impl std::fmt::Debug for Image8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image8({} x {} x {})", self.width, self.height, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flip_mirrors_each_row() {
        let mut image = Image8::new(2, 2, (1..=12).collect()).unwrap();
        image.flip();
        assert_eq!(image.pixels(), [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        let mut image = Image8::new(3, 1, (1..=6).collect()).unwrap(); // two channels
        image.flip();
        assert_eq!(image.pixels(), [5, 6, 3, 4, 1, 2]);
    }

    #[test]
    fn the_number_of_bytes_is_checked() {
        assert!(Image8::new(2, 2, vec![0; 11]).is_err());
        assert!(Image8::new(0, 2, vec![]).is_err());
        assert!(Image8::new(1, 2, vec![]).is_err());
        assert_eq!(Image8::new(1, 2, vec![0; 14]).unwrap().channels(), 7);
    }

    #[test]
    fn colour_becomes_gray_as_in_pillow_and_gray_is_spread() {
        // Pillow: Image.new("RGB", (1, 1), (10, 200, 30)).convert("L") is 124.
        let colour = Image8::new(1, 1, vec![10, 200, 30]).unwrap();
        let gray = colour.with_channels(1).unwrap();
        assert_eq!(gray.pixels(), [124]);
        assert_eq!(gray.clone().with_channels(3).unwrap().pixels(), [124; 3]);
        let reason = gray.with_channels(4).unwrap_err();
        assert!(reason.contains('1') && reason.contains('4'), "{reason}");
    }
}
