//! JPEG: baseline, extended and progressive, gray, RGB, YCbCr, CMYK and YCCK (with Adobe's inversion), any sampling, restart
//! markers; lossless with 8 bits. Arithmetic coding, 12 bits and hierarchical files are refused by name.
//!
//! `zune-jpeg` is two and a half times as fast as `jpeg-decoder`, so it comes first, in its strict mode: else it fills what is missing
//! with gray and says nothing. It gets scans of single components wrong and does not know lossless files, so these go to
//! `jpeg-decoder`, as does what it refuses.

mod header;

use image::metadata::Orientation;
use jpeg_decoder::PixelFormat;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use self::header::{Coding, Header};
use super::{Reason, check_size, said, upright};
use crate::data::image8::Image8;

/// Upper bound of the pixels that a byte of the file can stand for. At least one component has all pixels; in a sequential
/// file each of its blocks of 64 takes two bits or more (a DC and an AC code), in a lossless file each pixel takes one. A
/// progressive file can end a run of blocks by a few bits, so its bound is one that a picture of one color stays below.
const fn most_pixels_per_byte(coding: Coding) -> u64 {
    match coding {
        Coding::Sequential => SEQUENTIAL,
        Coding::Progressive => 64 * 8 * 16,
        Coding::Lossless => 8,
    }
}

/// The bound of sequential files, and of all files that `jpeg-decoder` reads.
const SEQUENTIAL: u64 = 64 * 8 / 2;

/// Decodes to gray or RGB, gray where the file is gray and `channels` is 1.
pub(super) fn decode(bytes: &[u8], channels: usize) -> Result<Image8, Reason> {
    let header = Header::read(bytes)?;
    let length = bytes.len() as u64;
    check_size(header.width.into(), header.height.into(), bytes, length * most_pixels_per_byte(header.coding))?;
    let bytes = &closed(bytes, header.first_scan).ok_or("the JPEG is cut off: it has no end marker")?;
    // libjpeg spreads coarse colours over so few columns by a rule of its own, other decoders by theirs; the results are up to
    // a tenth apart. Two by two pixels have one colour, but not with every decoder.
    let single_colour = header.width <= 2 && header.height <= 2;
    if header.coarse_columns && header.width <= 4 && !single_colour {
        let columns = header.width;
        return Err(format!("a JPEG of {columns} columns with subsampled colour, which decoders do not agree on"));
    }
    if header.coding == Coding::Lossless || header.single_component_scans || single_colour {
        return by_jpeg_decoder(bytes, &header);
    }
    let decoded = by_zune(bytes, &header, channels);
    // `jpeg-decoder` sends copies of coefficients to threads of its own. If these are slow, all copies exist at once, beside the
    // coefficients and the pixels: 18 bytes a pixel. So it does not get a short progressive file that declares many pixels.
    if u64::from(header.width) * u64::from(header.height) > length * SEQUENTIAL {
        return decoded;
    }
    decoded.or_else(|reason| by_jpeg_decoder(bytes, &header).map_err(|_| reason))
}

fn by_zune(bytes: &[u8], header: &Header, channels: usize) -> Result<Image8, Reason> {
    let colours = if header.components == 1 && channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().map_err(said)?;
    let (width, height) = decoder.dimensions().ok_or("it has no frame header")?;
    let image = Image8::new(width, height, pixels).map_err(said)?;
    upright(image, orientation(decoder.exif().map(Vec::as_slice)))
}

fn by_jpeg_decoder(bytes: &[u8], header: &Header) -> Result<Image8, Reason> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::from(header.width) * usize::from(header.height) * header.components);
    let pixels = decoder.decode().map_err(said)?;
    let info = decoder.info().ok_or("it has no frame header")?;
    if !matches!(info.pixel_format, PixelFormat::L8 | PixelFormat::RGB24) {
        return Err(format!("pixels of the kind {:?}, expected gray or RGB of 8 bits", info.pixel_format));
    }
    let image = Image8::new(info.width.into(), info.height.into(), pixels).map_err(said)?;
    upright(image, orientation(decoder.exif_data()))
}

fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// Bits that no Huffman code begins with: codes of ones alone are reserved (ITU-T T.81, C.2), and 0xff stands as 0xff 0x00 in a scan.
const NO_CODE: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = 0xff;
        i += 2;
    }
    bytes
};

/// The JPEG up to its last end marker, with [`NO_CODE`] in front of that marker; `None` if no end marker follows the first scan.
///
/// Decoders read zeros when a scan's data end too early, and so fill the rest of the picture without an error. [`NO_CODE`] is an error
/// to all of them. They never get there if the data are complete: a decoder stops behind the last block, whatever follows.
fn closed(jpeg: &[u8], first_scan: usize) -> Option<Vec<u8>> {
    let scans = &jpeg[first_scan..];
    // Inside a scan that marker cannot occur; a thumbnail's stands before, and anything may follow: cameras append films.
    let end = first_scan + scans.windows(2).rposition(|pair| pair == [0xff, 0xd9])?;
    let mut closed = Vec::with_capacity(end + NO_CODE.len() + 2);
    closed.extend_from_slice(&jpeg[..end]);
    closed.extend_from_slice(&NO_CODE);
    closed.extend_from_slice(&[0xff, 0xd9]);
    Some(closed)
}
