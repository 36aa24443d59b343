//! `meta.mat` of ImageNet's development kit: which folder each of its numbers means.
//!
//! It is a MATLAB 5 file (<https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf>) with one array of structures,
//! `synsets`, of which `ILSVRC2012_ID` and `WNID` are read here. Only what such a file needs is understood.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// Bytes of the file's own header.
const HEADER: usize = 128;
/// Unpacked bytes, at most; the real file has under two million.
const MOST: u64 = 64 << 20;

// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
// Classes of matrices.
const STRUCT: u8 = 2;

/// The folder of each number; `None` where the file is no such.
pub(super) fn folders(file: &[u8]) -> Option<HashMap<String, String>> {
    let mut elements = Elements(file.get(HEADER..)?);
    while let Some((kind, data)) = elements.next() {
        let unpacked = match kind {
            COMPRESSED => {
                let mut bytes = Vec::new();
                ZlibDecoder::new(data).take(MOST).read_to_end(&mut bytes).ok()?;
                bytes
            }
            _ => [&kind.to_le_bytes()[..], &u32::try_from(data.len()).ok()?.to_le_bytes(), data].concat(),
        };
        if let Some((MATRIX, matrix)) = Elements(&unpacked).next()
            && let Some(found) = synsets(matrix)
        {
            return Some(found);
        }
    }
    None
}

/// The two fields of an array of structures that has them.
fn synsets(matrix: &[u8]) -> Option<HashMap<String, String>> {
    let (class, mut rest) = class_and_content(matrix)?;
    if class != STRUCT {
        return None;
    }
    let (_, width) = rest.next()?;
    let width = u32::from_le_bytes(width.get(..4)?.try_into().ok()?) as usize;
    let (_, names) = rest.next()?;
    let is_name =
        |name: &[u8], wanted: &str| name.strip_prefix(wanted.as_bytes()).is_some_and(|end| end.iter().all(|&b| b == 0));
    let names: Vec<_> = (width > 0).then(|| names.chunks_exact(width))?.collect();
    let number = names.iter().position(|name| is_name(name, "ILSVRC2012_ID"))?;
    let folder = names.iter().position(|name| is_name(name, "WNID"))?;
    let values: Vec<_> = std::iter::from_fn(|| rest.next()).map(|(_, value)| value).collect();
    let mut found = HashMap::new();
    for synset in values.chunks_exact(names.len()) {
        found.insert(whole_number(synset[number])?.to_string(), text(synset[folder])?);
    }
    (!found.is_empty()).then_some(found)
}

/// A matrix's class, and the elements behind its flags, sizes and name.
fn class_and_content(matrix: &[u8]) -> Option<(u8, Elements<'_>)> {
    let mut elements = Elements(matrix);
    let (_, flags) = elements.next()?;
    elements.next()?;
    elements.next()?;
    Some((*flags.first()?, elements))
}

/// A matrix of one number.
fn whole_number(matrix: &[u8]) -> Option<u64> {
    let (_, mut elements) = class_and_content(matrix)?;
    match elements.next()? {
        (9, data) => Some(f64::from_le_bytes(data.get(..8)?.try_into().ok()?) as u64),
        (1..=6, data) => {
            let mut bytes = [0; 8];
            let width = data.len().min(4);
            bytes[..width].copy_from_slice(&data[..width]);
            Some(u64::from_le_bytes(bytes))
        }
        _ => None,
    }
}

/// A matrix of ASCII letters, one or two bytes each.
fn text(matrix: &[u8]) -> Option<String> {
    let (_, mut elements) = class_and_content(matrix)?;
    let (kind, data) = elements.next()?;
    let step = if kind == 4 { 2 } else { 1 };
    Some(data.iter().step_by(step).map(|&byte| char::from(byte)).collect())
}

/// Elements one behind the other: a type, a length, the data, filled up to eight bytes.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        let word = |at: usize| Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?));
        let first = word(0)?;
        let (kind, length, start): (u32, usize, usize) = match first >> 16 {
            0 => (first, word(4)? as usize, 8),
            short => (first & 0xffff, short as usize, 4), // all of it in eight bytes
        };
        let data = self.0.get(start..start.checked_add(length)?)?;
        let end = start + length;
        let end = if kind == COMPRESSED { end } else { end.next_multiple_of(8) };
        self.0 = self.0.get(end..).unwrap_or_default();
        Some((kind, data))
    }
}
