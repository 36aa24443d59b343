//! What a JPEG says of itself before its first scan (ITU-T T.81, annex B): enough to refuse it by name, or to choose who
//! decodes it.

use crate::data::decode::Reason;

/// A JPEG's frame header, and the kind of its first scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) coding: Coding,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: usize,
    /// Whether a component has fewer columns than another.
    pub(super) coarse_columns: bool,
    /// Whether the file is sequential and its first scan does not hold all components.
    pub(super) single_component_scans: bool,
    /// Where the first scan's header begins.
    pub(super) first_scan: usize,
}

/// How the samples are coded, of the kinds that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Sequential,
    Progressive,
    Lossless,
}

impl Header {
    /// Reads the segments up to the first scan.
    pub(super) fn read(jpeg: &[u8]) -> Result<Self, Reason> {
        let mut rest = jpeg;
        let mut frame: Option<Self> = None;
        loop {
            let (marker, after) = next_marker(rest).ok_or("the JPEG has no scan")?;
            rest = after;
            if matches!(marker, 0x01 | 0xd0..=0xd8) {
                continue; // stands alone
            }
            let length = after.first_chunk().map_or(0, |b| usize::from(u16::from_be_bytes(*b)));
            let segment = after.get(2..length).ok_or_else(|| format!("the JPEG's segment {marker:#04x} is cut off"))?;
            match (marker, &mut frame) {
                (0xc4 | 0xc8 | 0xcc, _) => {} // tables, between the numbers of the frames
                (0xc0..=0xcf, None) => frame = Some(Self::of_frame(marker, segment)?),
                (0xda, Some(frame)) => {
                    frame.first_scan = jpeg.len() - after.len();
                    let in_scan = segment.first().map_or(0, |&n| usize::from(n));
                    frame.single_component_scans = frame.coding == Coding::Sequential && in_scan < frame.components;
                    return Ok(*frame);
                }
                (0xda, None) => return Err("a scan stands before the JPEG's frame header".to_string()),
                (0xd9, _) => return Err("the JPEG ends before its first scan".to_string()),
                _ => {}
            }
            rest = &after[length..];
        }
    }

    /// Reads a frame header; the marker tells the coding.
    fn of_frame(marker: u8, segment: &[u8]) -> Result<Self, Reason> {
        let &[precision, h1, h0, w1, w0, components, ..] = segment else {
            return Err("the JPEG's frame header is cut off".to_string());
        };
        let coding = match marker {
            0xc0 | 0xc1 => Coding::Sequential,
            0xc2 => Coding::Progressive,
            0xc3 => Coding::Lossless,
            0xc5..=0xc7 | 0xcd..=0xcf => return Err("a hierarchical JPEG, which is not supported".to_string()),
            _ => return Err("an arithmetic-coded JPEG, which is not supported".to_string()),
        };
        if precision != 8 {
            return Err(format!("a JPEG of {precision} bits a sample, expected 8"));
        }
        if !matches!(components, 1 | 3 | 4) {
            return Err(format!("a JPEG of {components} components, expected 1, 3 or 4"));
        }
        // Three bytes a component: its number, its sampling (columns in the high half), its table.
        let columns = segment[6..].chunks_exact(3).map(|component| component[1] >> 4);
        Ok(Self {
            coding,
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
            components: usize::from(components),
            coarse_columns: columns.clone().any(|h| Some(h) != columns.clone().next()),
            single_component_scans: false,
            first_scan: 0,
        })
    }
}

/// The next marker's code and what follows it; bytes before it and fill bytes are passed over.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
    Some((bytes[at + 1], &bytes[at + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG up to its first scan: a frame of `sof` with three components, and `in_scan` of them in the scan.
    fn jpeg(sof: u8, precision: u8, in_scan: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xff, 0xe0, 0, 4, b'J', b'F'];
        bytes.extend([0xff, sof, 0, 17, precision, 0, 2, 1, 3, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 3, in_scan]);
        bytes
    }

    #[test]
    fn size_and_kind_are_read() {
        let header = Header::read(&jpeg(0xc0, 8, 3)).unwrap();
        assert_eq!((header.width, header.height, header.components), (259, 2, 3));
        assert!(header.coarse_columns);
        assert_eq!(header.first_scan, jpeg(0xc0, 8, 3).len() - 3);
        assert_eq!((header.coding, header.single_component_scans), (Coding::Sequential, false));
        assert!(Header::read(&jpeg(0xc1, 8, 1)).unwrap().single_component_scans);
        let progressive = Header::read(&jpeg(0xc2, 8, 1)).unwrap();
        assert_eq!((progressive.coding, progressive.single_component_scans), (Coding::Progressive, false));
    }

    #[test]
    fn what_is_not_decoded_is_refused_by_name() {
        let reason = |bytes: &[u8]| Header::read(bytes).unwrap_err();
        assert!(reason(&jpeg(0xc9, 8, 3)).contains("arithmetic"));
        assert!(reason(&jpeg(0xc5, 8, 3)).contains("hierarchical"));
        assert!(reason(&jpeg(0xc1, 12, 3)).contains("12 bits"));
        let whole = jpeg(0xc0, 8, 3);
        for length in 2..whole.len() {
            assert!(Header::read(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
