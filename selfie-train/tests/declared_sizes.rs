//! Files of a few dozen bytes that declare a huge picture: refused before memory is taken for it, in every format. One test in a program
//! of its own, because it measures the memory of the whole process.
#![allow(clippy::unwrap_used)]

use image::ImageEncoder;
use peak_alloc::PeakAlloc;
use selfie_train::Image8;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that decoding a short file may take: the coefficients of a progressive JPEG of 2048 x 2048, and its pixels.
const MOST: usize = 48 << 20;

const SIDES: [(u32, u32); 3] = [(11_000, 11_000), (65_000, 2_000), (2_049, 2_048)];

fn gif(width: u32, height: u32, (w, h): (u32, u32)) -> Vec<u8> {
    let sides = |w: u32, h: u32| [(w as u16).to_le_bytes(), (h as u16).to_le_bytes()].concat();
    let screen = [b"GIF89a", &sides(width, height)[..], &[0x80, 0, 0, 0, 0, 0, 255, 255, 255]].concat();
    [&screen[..], &[0x2c, 0, 0, 0, 0], &sides(w, h), &[0, 2, 2, 0x4c, 0x01, 0, 0x3b]].concat()
}

fn webp(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let chunk = [kind, &(content.len() as u32).to_le_bytes()[..], content].concat();
    [b"RIFF", &(chunk.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunk].concat()
}

fn webp_lossless(width: u32, height: u32) -> Vec<u8> {
    let sides = ((width - 1) & 0x3fff) | (((height - 1) & 0x3fff) << 14);
    webp(b"VP8L", &[&[0x2f][..], &sides.to_le_bytes(), &[0x88, 0x88, 0x08, 0, 0, 0, 0]].concat())
}

fn webp_lossy(width: u32, height: u32) -> Vec<u8> {
    let sides = [(width as u16 & 0x3fff).to_le_bytes(), (height as u16 & 0x3fff).to_le_bytes()].concat();
    webp(b"VP8 ", &[&[0x30, 0x01, 0, 0x9d, 0x01, 0x2a][..], &sides, &[0; 24]].concat())
}

fn webp_extended(width: u32, height: u32) -> Vec<u8> {
    let canvas = [&[0; 4][..], &(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
    let mut bytes = webp(b"VP8X", &canvas);
    bytes.extend_from_slice(&webp_lossless(1, 1)[12..]);
    let length = bytes.len() as u32 - 8;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn bmp(width: u32, height: u32, bits: u16, compression: u32) -> Vec<u8> {
    let data = [&[0, 0, 0, 0, 255, 255, 255, 0][..], &[0, 1]].concat();
    let header = [b"BM", &64u32.to_le_bytes()[..], &[0; 4], &62u32.to_le_bytes(), &40u32.to_le_bytes()].concat();
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let kind = [
        &1u16.to_le_bytes()[..],
        &bits.to_le_bytes(),
        &compression.to_le_bytes(),
        &[0; 12],
        &2u32.to_le_bytes(),
        &[0; 4],
    ];
    [&header[..], &sides, &kind.concat(), &data].concat()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes).write_image(&[0], 1, 1, image::ExtendedColorType::L8).unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = !0u32; // of the chunk's name and content
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ ((crc & 1) * 0xedb8_8320));
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

fn tiff(width: u32, height: u32, compression: u32, photometric: u32) -> Vec<u8> {
    let tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, compression),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 9),
    ];
    let entry = |(tag, value): (u16, u32)| {
        [&tag.to_le_bytes()[..], &4u16.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let tags: Vec<u8> = tags.into_iter().flat_map(entry).collect();
    [&b"II*\0\x08\0\0\0\x09\0"[..], &tags, &[0; 4]].concat()
}

fn jpeg(width: u32, height: u32, coding: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes)
        .write_image(&[0; 3], 1, 1, image::ExtendedColorType::Rgb8)
        .unwrap();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 1] = coding;
    bytes[frame + 5..frame + 7].copy_from_slice(&(height as u16).to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&(width as u16).to_be_bytes());
    bytes
}

#[test]
fn a_short_file_that_declares_a_huge_picture_takes_no_memory_for_it() {
    a_picture_of_one_color_is_read_however_short_its_file();
    for (width, height) in SIDES {
        let mut files = vec![
            ("GIF", gif(width, height, (width, height))),
            ("GIF of a small frame", gif(width, height, (1, 1))),
            ("lossless WebP", webp_lossless(width, height)),
            ("lossy WebP", webp_lossy(width, height)),
            ("extended WebP", webp_extended(width, height)),
            ("PNG", png(width, height)),
            ("JPEG", jpeg(width, height, 0xc0)),
            ("progressive JPEG", jpeg(width, height, 0xc2)),
        ];
        files.extend(
            [(24, 0), (8, 0), (1, 0), (8, 1), (4, 2)].map(|(bits, kind)| ("BMP", bmp(width, height, bits, kind))),
        );
        files.extend([1, 5, 8, 32773].map(|compression| ("TIFF", tiff(width, height, compression, 1))));
        files.push(("TIFF with a palette", tiff(width, height, 1, 3)));
        for (name, bytes) in files {
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let decoded = Image8::decode(&bytes, name, 3);
            let taken = ALLOCATOR.peak_usage() - before;
            assert!(taken < MOST, "{name} of {width} x {height} in {} bytes: {taken} bytes", bytes.len());

            let text = decoded.map(|_| ()).expect_err(name).to_string();
            assert!(width != 11_000 || name == "TIFF with a palette" || text.contains("declares"), "{name}: {text}");
        }
    }
}

fn a_picture_of_one_color_is_read_however_short_its_file() {
    let side = 1500;
    let pixels = vec![77; side * side * 3];
    let image = image::RgbImage::from_raw(side as u32, side as u32, pixels.clone()).unwrap();
    for format in [image::ImageFormat::WebP, image::ImageFormat::Gif, image::ImageFormat::Png, image::ImageFormat::Bmp]
    {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        assert_eq!(Image8::decode(bytes.get_ref(), "one color", 3).unwrap().pixels(), pixels, "{format:?}");
    }
}
