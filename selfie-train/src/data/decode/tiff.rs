//! TIFF, of which the first page is read: gray, RGB, palette, YCbCr and CMYK, with or without opacity, in strips or tiles, one after the
//! other or in planes, under every compression of the `tiff` crate (LZW, deflate, PackBits, JPEG, group 4).
//!
//! Samples of 16 bits are rounded to 8, as in PNG. Pillow cuts 16-bit gray off at 255 instead, which leaves little of most pictures.
//! Larger integers and floating-point numbers are refused, because nothing in the file states which of them is white.
//!
//! The `tiff` crate does not read palettes (photometric interpretation 3). Its indices are samples like those of gray, so the tag is
//! changed to gray in a copy of the file and the colors are looked up here. Pillow, and with it the library `datasets`, stores pictures
//! with a palette as such files.

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::raster::{MAX_ALLOCATION, over_white};
use super::{Reason, SMALL_PIXELS, check_size, said, upright};
use crate::data::image8::Image8;

/// Pixels that a byte can stand for: LZW's best is 2,730 bytes, a byte holds eight pixels of one bit.
const PIXELS_PER_BYTE: u64 = 2730 * 8;

/// Photometric interpretations, as the tag stores them.
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

type Tiff<'a> = Decoder<Cursor<&'a [u8]>>;

/// Decodes the first page to `channels` channels; opacity is laid over white unless it is one of them.
pub(super) fn decode(bytes: &[u8], channels: usize) -> Result<Image8, Reason> {
    let mut tiff = open(bytes)?;
    let palette = match number(&mut tiff, Tag::PhotometricInterpretation)? {
        Some(PALETTE) => Some(tiff.get_tag_u16_vec(Tag::ColorMap).map_err(said)?),
        _ => None,
    };
    let gray; // lives as long as `tiff`, which reads it
    if palette.is_some() {
        gray = with_photometric(bytes, BLACK_IS_ZERO).ok_or("its palette cannot be read: the file is a BigTIFF")?;
        tiff = open(&gray)?;
    }
    let (width, height) = tiff.dimensions().map_err(said)?;
    let most = (bytes.len() as u64).saturating_mul(PIXELS_PER_BYTE).max(SMALL_PIXELS);
    check_size(width, height, bytes, most)?;
    let orientation = number(&mut tiff, Tag::Orientation)?.and_then(|code| Orientation::from_exif(code as u8));
    let opacity = Opacity::of(&mut tiff)?;
    let (width, height) = (width as usize, height as usize);
    let samples = samples(&mut tiff, width, height)?;
    let (own, pixels) = match &palette {
        Some(palette) => looked_up(&samples, palette)?,
        None => samples.in_colors()?,
    };
    let image = Image8::new(width, height, pixels).map_err(said)?;
    let image = match (own, opacity) {
        (2 | 4, Opacity::Ignored) => without_last(&image)?,
        (2 | 4, Opacity::Plain) if own == channels => image,
        (2 | 4, Opacity::Plain) => over_white(&image)?,
        (2 | 4, Opacity::Multiplied) => return Err("colors multiplied by their opacity, expected plain colors".into()),
        _ => image,
    };
    upright(image, orientation.unwrap_or(Orientation::NoTransforms))
}

fn open(bytes: &[u8]) -> Result<Tiff<'_>, Reason> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_ALLOCATION as usize;
    limits.intermediate_buffer_size = MAX_ALLOCATION as usize;
    Ok(Decoder::new(Cursor::new(bytes)).map_err(said)?.with_limits(limits))
}

fn number(tiff: &mut Tiff<'_>, tag: Tag) -> Result<Option<u16>, Reason> {
    tiff.find_tag_unsigned::<u16>(tag).map_err(said)
}

/// What a sample behind the colors means.
enum Opacity {
    Ignored,
    Plain,
    Multiplied,
}

impl Opacity {
    fn of(tiff: &mut Tiff<'_>) -> Result<Self, Reason> {
        let extra = tiff.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(said)?;
        Ok(match extra.as_deref() {
            Some([1, ..]) => Self::Multiplied,
            Some([2, ..]) => Self::Plain,
            _ => Self::Ignored,
        })
    }
}

/// A page's samples of at most 8 bits, in the order of its pixels.
struct Samples {
    colors: ColorType,
    /// Bits of a sample in the file, if they are fewer than 8.
    bits: u8,
    of_pixel: usize,
    values: Vec<u8>,
}

/// Reads all samples of the page.
fn samples(tiff: &mut Tiff<'_>, width: usize, height: usize) -> Result<Samples, Reason> {
    let colors = tiff.colortype().map_err(said)?;
    let mut read = DecodingResult::U8(Vec::new());
    let layout = tiff.read_image_to_buffer(&mut read).map_err(said)?;
    let bytes = match read {
        DecodingResult::U8(bytes) => bytes,
        DecodingResult::U16(words) => {
            words.iter().map(|&word| ((u32::from(word) * 255 + 32_767) / 65_535) as u8).collect()
        }
        _ => {
            return Err(format!("samples of the kind {:?} in {colors:?}, expected 8 or 16 bits", layout.sample_format));
        }
    };
    let bits = colors.bit_depth();
    let pixels = width * height;
    let values = match bits {
        8 | 16 => bytes,
        1 | 2 | 4 => {
            let row = layout.row_stride.map_or(bytes.len(), usize::from);
            unpacked(&bytes, row, width, bits)
        }
        bits => return Err(format!("samples of {bits} bits, expected 1, 2, 4, 8 or 16")),
    };
    let of_pixel = values.len() / pixels;
    if of_pixel == 0 || values.len() != of_pixel * pixels {
        return Err(format!("{} samples, expected as many for each of {width} x {height} pixels", values.len()));
    }
    let values = if layout.planes > 1 { interleaved(&values, layout.planes) } else { values };
    Ok(Samples { colors, bits, of_pixel, values })
}

/// Planes one after the other as pixels.
fn interleaved(planes: &[u8], count: usize) -> Vec<u8> {
    crate::data::source::interleaved(planes, count)
}

/// Samples of `bits` bits, packed into bytes row by row.
fn unpacked(bytes: &[u8], row: usize, width: usize, bits: u8) -> Vec<u8> {
    let (in_byte, mask) = (usize::from(8 / bits), (1u8 << bits) - 1);
    let sample = |row: &[u8], x: usize| {
        let shift = 8 - bits as usize * (x % in_byte + 1);
        row.get(x / in_byte).map_or(0, |byte| (byte >> shift) & mask)
    };
    bytes.chunks(row.max(1)).flat_map(|row| (0..width).map(move |x| sample(row, x))).collect()
}

impl Samples {
    /// Gray or RGB, with opacity if there is a further sample; returns the number of channels too.
    fn in_colors(self) -> Result<(usize, Vec<u8>), Reason> {
        match (self.colors, self.of_pixel) {
            (ColorType::Gray(8 | 16), 1) => Ok((1, self.values)),
            (ColorType::Gray(_), 1) => {
                let most = (1u16 << self.bits) - 1;
                Ok((1, self.values.iter().map(|&value| (u16::from(value) * 255 / most) as u8).collect()))
            }
            (ColorType::Multiband { num_samples: 2, .. }, 2) => Ok((2, self.values)),
            (ColorType::RGB(8 | 16), 3) => Ok((3, self.values)),
            (ColorType::RGB(8 | 16) | ColorType::RGBA(8 | 16), 4) => Ok((4, self.values)),
            (ColorType::CMYK(8 | 16), 4) => Ok((3, self.values.as_chunks::<4>().0.iter().flat_map(of_inks).collect())),
            (ColorType::YCbCr(8), 3) => Ok((3, self.values.as_chunks::<3>().0.iter().flat_map(of_luma).collect())),
            (colors, samples) => {
                Err(format!("pixels of {samples} samples of the kind {colors:?}, which are not supported"))
            }
        }
    }
}

/// The colors of a palette's indices; a palette holds all reds, then greens, then blues, of 16 bits each.
fn looked_up(samples: &Samples, palette: &[u16]) -> Result<(usize, Vec<u8>), Reason> {
    let (colors, of_pixel) = (palette.len() / 3, samples.of_pixel);
    if samples.bits > 8 || of_pixel > 2 || palette.len() != colors * 3 || colors != 1 << samples.bits {
        let reason = format!("a palette of {} numbers for {of_pixel} samples of {} bits", palette.len(), samples.bits);
        return Err(format!("{reason}, expected 3 x 2^bits numbers"));
    }
    let mut pixels = Vec::with_capacity(samples.values.len() / of_pixel * (of_pixel + 2));
    for pixel in samples.values.chunks_exact(of_pixel) {
        let index = usize::from(pixel[0]);
        pixels.extend((0..3).map(|channel| (palette[channel * colors + index] >> 8) as u8));
        pixels.extend(&pixel[1..]);
    }
    Ok((of_pixel + 2, pixels))
}

/// Pillow's RGB of cyan, magenta, yellow and black.
fn of_inks(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let white = u32::from(255 - k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}

/// RGB of luma and two color differences (ITU-R 601, as in JPEG).
fn of_luma(&[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round().clamp(0.0, 255.0) as u8)
}

/// The image without its last channel.
fn without_last(image: &Image8) -> Result<Image8, Reason> {
    let channels = image.channels();
    let pixels = image.pixels().chunks_exact(channels).flat_map(|pixel| &pixel[..channels - 1]).copied().collect();
    Image8::new(image.width(), image.height(), pixels).map_err(said)
}

/// The file with another photometric interpretation in its first directory; `None` if it has no such tag there or is a BigTIFF.
fn with_photometric(bytes: &[u8], value: u16) -> Option<Vec<u8>> {
    let little = bytes.starts_with(b"II\x2a\0");
    if !little && !bytes.starts_with(b"MM\0\x2a") {
        return None;
    }
    let short = |at: usize| {
        let pair = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let four = *bytes.get(4..)?.first_chunk::<4>()?;
    let directory = (if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }) as usize;
    let entry = |i: usize| directory.checked_add(2 + 12 * i);
    let mut entries = (0..usize::from(short(directory)?)).filter_map(entry);
    let at = entries.find(|&at| short(at) == Some(Tag::PhotometricInterpretation.to_u16()))? + 8;
    let mut changed = bytes.to_vec();
    let pair = if little { value.to_le_bytes() } else { value.to_be_bytes() };
    changed.get_mut(at..at + 2)?.copy_from_slice(&pair);
    Some(changed)
}
