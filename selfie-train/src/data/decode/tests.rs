//! Files of every kind against Pillow's pixels; what is refused, and why.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::data::tests::{Golden, mean_difference};

fn refused(bytes: &[u8]) -> String {
    decode(bytes, "a/b.jpg", 3).unwrap_err().to_string()
}

#[test]
fn every_kind_of_file_has_pillows_pixels() {
    let golden = Golden::read();
    let names = golden.names("file");
    assert!(names.len() >= 45, "{names:?}");
    for name in names {
        let decoded = decode(&golden.bytes(&format!("file.{name}")), &name, 3).unwrap();
        let difference = mean_difference(&decoded, &golden.image(&format!("pixels.{name}")));
        // Decoders of lossy files round differently; all others have one right answer, up to one step of rounding.
        let most = if name.starts_with("jpeg") || name == "webp" { 1.0 } else { 0.5 };
        assert!(difference <= most, "{name}: {difference}");
    }
}

#[test]
fn gray_is_one_channel_where_one_is_asked_for() {
    let golden = Golden::read();
    for name in ["jpeg-gray", "jpeg-420", "png-gray-4", "png-gray-16", "webp", "png-rgba"] {
        let gray = decode(&golden.bytes(&format!("file.{name}")), name, 1).unwrap();
        let expected = golden.image(&format!("pixels.{name}")).with_channels(1).unwrap();
        assert!(mean_difference(&gray, &expected) <= 1.0, "{name}");
    }
}

#[test]
fn other_numbers_of_channels_must_be_the_files_own() {
    let golden = Golden::read();
    let rgba = golden.bytes("file.png-rgba");
    assert_eq!(decode(&rgba, "rgba", 4).unwrap().channels(), 4);
    assert_eq!(decode(&golden.bytes("file.png-gray-alpha"), "la", 2).unwrap().channels(), 2);
    let text = decode(&rgba, "rgba", 5).unwrap_err().to_string();
    assert!(text.contains("expected 5"), "{text}");
    let text = decode(&golden.bytes("file.jpeg-444"), "rgb", 4).unwrap_err().to_string();
    assert!(text.contains("3 channels, expected 4"), "{text}");
}

#[test]
fn the_content_decides_and_a_bad_file_is_named_with_the_reason() {
    let golden = Golden::read();
    let png = golden.bytes("file.png-rgb-16");
    assert_eq!(decode(&png, "named.jpg", 3).unwrap(), decode(&png, "named.png", 3).unwrap());
    let text = refused(b"hello");
    assert!(text.contains("a/b.jpg") && text.contains("neither JPEG, PNG, WebP, BMP, GIF nor TIFF"), "{text}");
    assert!(refused(b"").contains("empty"));
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let golden = Golden::read();
    for name in golden.names("file") {
        let bytes = golden.bytes(&format!("file.{name}"));
        for share in [2, 3, 10] {
            let cut = &bytes[..bytes.len() / share];
            assert!(decode(cut, &name, 3).is_err(), "{name}: {} of {} bytes", cut.len(), bytes.len());
        }
    }
}

#[test]
fn what_stands_behind_a_jpeg_is_passed_over() {
    let golden = Golden::read();
    for name in ["jpeg-420", "jpeg-progressive", "jpeg-restarts", "jpeg-single-component-scans"] {
        let bytes = golden.bytes(&format!("file.{name}"));
        let film = [&*bytes, b"film \xff\xda\x00\x08\xff\xd8\xff\xda film"].concat();
        assert_eq!(decode(&film, name, 3).unwrap(), decode(&bytes, name, 3).unwrap());
        let without_end = &bytes[..bytes.len() - 2];
        assert!(decode(without_end, name, 3).unwrap_err().to_string().contains("no end marker"));
    }
}

#[test]
fn a_declared_size_is_checked_before_anything_is_allocated() {
    let golden = Golden::read();
    let with = |name: &str, at: usize, size: &[u8]| {
        let mut bytes = golden.bytes(&format!("file.{name}"));
        bytes[at..at + size.len()].copy_from_slice(size);
        refused(&bytes)
    };
    let jpeg = golden.bytes("file.jpeg-444");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    let text = with("jpeg-444", frame, &[0xff, 0xff, 0xff, 0xff]);
    assert!(text.contains("65535 x 65535 pixels, expected at most"), "{text}");
    let text = with("jpeg-444", frame, &[0x27, 0x10, 0x27, 0x10]);
    assert!(text.contains("10000 x 10000 pixels, more than its"), "{text}");
    assert!(with("jpeg-444", frame, &[0, 0, 0, 5]).contains("expected at least one"));
    let text = with("bmp", 18, &[0x40, 0x9c, 0, 0, 0x40, 0x9c, 0, 0]);
    assert!(text.contains("40000 x 40000 pixels, expected at most"), "{text}");
}

#[test]
fn colour_of_a_jpeg_of_four_columns_is_not_guessed() {
    let golden = Golden::read();
    let mut bytes = golden.bytes("file.jpeg-420");
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    bytes[frame..frame + 4].copy_from_slice(&[0, 4, 0, 4]);
    assert!(refused(&bytes).contains("4 columns"));
}

/// Pillow 13.0.0 wrote the files and the pixels.
#[test]
fn every_kind_of_tiff_has_pillows_pixels() {
    let golden = Golden::tiff();
    for name in golden.names("file") {
        let expected = golden.image(&format!("pixels.{name}"));
        let decoded =
            decode(&golden.bytes(&format!("file.{name}")), &name, 3).unwrap_or_else(|error| panic!("{error}"));
        let difference = mean_difference(&decoded, &expected);
        // JPEG inside is lossy, and 16 bits and opacity are rounded.
        let most = if ["jpeg", "I-16", "LA", "RGBA", "PA"].iter().any(|kind| name.contains(kind)) { 1.0 } else { 0.0 };
        assert!(difference <= most, "{name}: {difference}");
    }
}

#[test]
fn a_tiff_is_read_by_its_content_with_its_own_channels_and_never_half() {
    let golden = Golden::tiff();
    let file = |name: &str| golden.bytes(&format!("file.{name}"));
    for (name, channels) in [("L-raw", 1), ("P-raw", 1), ("RGBA-raw", 4), ("PA-raw", 4), ("LA-raw", 2)] {
        assert_eq!(decode(&file(name), "a.png", channels).unwrap().channels(), channels, "{name}");
    }
    for name in golden.names("file") {
        let bytes = file(&name);
        let whole = decode(&bytes, &name, 3).unwrap();
        for length in 0..bytes.len() {
            // What stands behind the first page is not needed.
            assert!(
                decode(&bytes[..length], &name, 3).is_err_and(|_| true)
                    || decode(&bytes[..length], &name, 3).unwrap() == whole
            );
        }
    }
    for (name, reason) in
        [("I", "expected 8 or 16 bits"), ("F", "expected 8 or 16 bits"), ("LAB", "CIELab"), ("lzma", "ompression")]
    {
        let text = refused(&golden.bytes(&format!("refused.{name}")));
        assert!(text.contains(reason), "{name}: {text}");
    }
}

/// Where the scans of a JPEG begin.
fn scans(jpeg: &[u8]) -> Vec<usize> {
    let starts = jpeg.windows(2).enumerate().filter(|(_, pair)| *pair == [0xff, 0xda]);
    starts.map(|(at, _)| at + 2 + usize::from(jpeg[at + 3])).collect()
}

#[test]
fn a_jpeg_that_is_cut_off_and_closed_again_is_refused() {
    let golden = Golden::read();
    for name in golden.names("file").into_iter().filter(|name| name.starts_with("jpeg")) {
        let bytes = golden.bytes(&format!("file.{name}"));
        let whole = decode(&bytes, &name, 3).unwrap();
        let (scans, data_end) = (scans(&bytes), bytes.len() - 2);
        for end in scans[0]..data_end {
            let closed = [&bytes[..end], &[0xff, 0xd9]].concat();
            let readable = decode(&closed, &name, 3).is_ok_and(|image| image != whole);
            // Pillow too shows a progressive JPEG that lacks whole scans, as a coarser picture. Scans that refine the first coefficient
            // hold one bit a block and no codes, so that nothing can be missed there.
            assert!(
                !readable || name.contains("progressive") && end < scans[scans.len() - 1],
                "{name}: {end} of {data_end}"
            );
        }
    }
}
