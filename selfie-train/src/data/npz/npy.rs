//! The header of a `.npy` file: what kind of numbers, and how many.
//!
//! After `\x93NUMPY`, a version and a length it is a Python dictionary as text
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>):
//! `{'descr': '|u1', 'fortran_order': False, 'shape': (250, 3072), }`.

use std::fmt;
use std::io::Read;

/// The longest header that is believed.
const LONGEST: usize = 1 << 16;

/// Kind and shape of an array in C order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Header {
    /// NumPy's name of the numbers, for instance `<i8`.
    pub(in super::super) kind: String,
    /// Sizes, slowest first.
    pub(in super::super) shape: Vec<u64>,
    bytes: u64,
}

impl Header {
    /// Reads a header; returns it with the number of bytes that it took.
    pub(super) fn read(reader: &mut impl Read) -> Result<(Self, u64), String> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|error| error.to_string())?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err("no .npy data, expected them to begin with \\x93NUMPY".to_owned());
        }
        let mut length = [0; 4];
        let width = if start[6] == 1 { 2 } else { 4 };
        reader.read_exact(&mut length[..width]).map_err(|error| error.to_string())?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(format!("a header of {length} bytes, expected at most {LONGEST}"));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|error| format!("its header is cut off: {error}"))?;
        let header = Self::parse(&String::from_utf8_lossy(&text))?;
        Ok((header, (8 + width + length) as u64))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let fail = || {
            let expected = "{'descr': '|u1', 'fortran_order': False, 'shape': (250, 3072)}";
            format!("its header is {:?}, expected one such as {expected}", text.trim_end())
        };
        let value = |key: &str| Some(text.split_once(&format!("'{key}':"))?.1.trim_start());
        let order = value("fortran_order").ok_or_else(fail)?;
        if !order.starts_with("False") {
            return Err(fail());
        }
        let kind =
            value("descr").and_then(|rest| rest.strip_prefix('\'')?.split_once('\'')).ok_or_else(fail)?.0.to_owned();
        let shape = value("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(fail)?.0;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty()).map(str::parse);
        let shape: Vec<u64> = sizes.collect::<Result<_, _>>().map_err(|_| fail())?;
        let width: u64 = kind
            .get(2..)
            .and_then(|width| width.parse().ok())
            .filter(|width| (1..=16).contains(width))
            .ok_or_else(fail)?;
        let bytes = shape.iter().try_fold(width, |bytes, &size| bytes.checked_mul(size)).ok_or_else(fail)?;
        Ok(Self { kind, shape, bytes })
    }

    /// Bytes of all numbers.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The numbers in `bytes` as integers, where they are such.
    pub(in super::super) fn integers(&self, bytes: &[u8]) -> Option<Vec<i64>> {
        let kind = self.kind.as_bytes();
        let (signed, width) = (kind.get(1)? == &b'i', usize::from(kind.get(2)?.wrapping_sub(b'0')));
        let known = kind.len() == 3 && matches!(kind[1], b'i' | b'u') && [1, 2, 4, 8].contains(&width);
        if !known || (kind[0] == b'>' && width > 1) {
            return None;
        }
        let number = |bytes: &[u8]| {
            let fill = if signed && bytes[width - 1] & 0x80 != 0 { 0xff } else { 0 };
            let mut whole = [fill; 8];
            whole[..width].copy_from_slice(bytes);
            i64::from_le_bytes(whole)
        };
        Some(bytes.chunks_exact(width).map(number).collect())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} numbers of kind {}", self.shape, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let header = Header::parse("{'descr': '|u1', 'fortran_order': False, 'shape': (250, 3072), }   \n").unwrap();
        assert_eq!((header.kind.as_str(), header.shape.as_slice(), header.bytes()), ("|u1", &[250, 3072][..], 768_000));
        let header = Header::parse("{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }").unwrap();
        assert_eq!((header.shape.as_slice(), header.bytes()), (&[3][..], 24));
    }

    #[test]
    fn other_headers_are_shown() {
        for text in [
            "",
            "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }",
            "{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<i8', 'fortran_order': False, 'shape': (18446744073709551615, 9), }",
        ] {
            assert!(Header::parse(text).unwrap_err().contains(&format!("{text:?}")), "{text}");
        }
    }

    #[test]
    fn integers_of_every_width_and_sign() {
        let of = |kind: &str, bytes: &[u8]| {
            Header::parse(&format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1,)}}"))
                .unwrap()
                .integers(bytes)
        };
        assert_eq!(of("|u1", &[255]), Some(vec![255]));
        assert_eq!(of("|i1", &[255]), Some(vec![-1]));
        assert_eq!(of("<i2", &[0xfe, 0xff, 1, 0]), Some(vec![-2, 1]));
        assert_eq!(of("<i8", &(-5i64).to_le_bytes()), Some(vec![-5]));
        assert_eq!((of(">i2", &[0, 1]), of("<f4", &[0; 4])), (None, None));
    }
}
