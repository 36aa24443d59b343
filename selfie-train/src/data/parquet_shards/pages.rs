//! Headers of the pages of a column chunk: sizes, rows, and where each page lies.
//!
//! A page begins with a header in thrift's compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>). Its second and third fields are the
//! sizes of what follows, unpacked and packed. They are checked before the parquet crate allocates memory for them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use parquet::basic::Compression;

/// Maximum depth of nested structures in a header; the format has three.
const DEEPEST: usize = 8;

/// Maximum unpacked size of a page that compresses better than [`COMMON_RATIO`].
const LARGEST_PAGE: u64 = 256 << 20;

/// Compression ratio up to which a page may have any size. Gzip, which is the best one of most data, reaches 1032.
const COMMON_RATIO: u64 = 1100;

/// Sizes of the pieces that a header is looked for in. Headers may carry statistics, which are values of the column.
const HEADER_PIECES: [u64; 4] = [512, 16 << 10, 512 << 10, 16 << 20];

/// Kind of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Dictionary,
    Other,
}

/// Header of a page.
#[derive(Debug)]
struct Header {
    kind: Kind,
    unpacked: u64,
    packed: u64,
    rows: u64,
    uses_dictionary: bool,
    length: u64, // of the header itself
}

/// Place of a data page in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The header and the packed values.
    pub(super) bytes: Range<u64>,
    pub(super) unpacked: u64,
    pub(super) rows: usize,
    pub(super) uses_dictionary: bool,
}

/// Pages of a column chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// The dictionary page and its unpacked size.
    pub(super) dictionary: Option<(Range<u64>, u64)>,
    pub(super) data: Vec<Page>,
}

/// Checks the sizes of every page of a chunk in memory.
pub(super) fn check(chunk: &[u8], codec: Compression) -> Result<(), String> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let damaged = || format!("a damaged page header, {} bytes before the end of the column chunk", rest.len());
        let header = Header::read(rest).ok_or_else(damaged)?;
        header.check(codec)?;
        let end = usize::try_from(header.length + header.packed).map_err(|_| damaged())?;
        rest = rest.get(end..).ok_or_else(damaged)?;
    }
    Ok(())
}

/// Finds the pages of the column chunk at `place` of `file`, and checks their sizes.
pub(super) fn find(file: &mut File, place: Range<u64>, codec: Compression) -> Result<Pages, String> {
    let (mut pages, mut at) = (Pages::default(), place.start);
    while at < place.end {
        let header = header_at(file, at..place.end)?;
        header.check(codec)?;
        let end = at + header.length + header.packed;
        if end > place.end {
            return Err(format!("a page of {} bytes at {at}, expected its end within the column chunk", header.packed));
        }
        match header.kind {
            Kind::Data => pages.data.push(Page {
                bytes: at..end,
                unpacked: header.unpacked,
                rows: usize::try_from(header.rows).map_err(|_| format!("a page of {} rows", header.rows))?,
                uses_dictionary: header.uses_dictionary,
            }),
            Kind::Dictionary => pages.dictionary = Some((at..end, header.unpacked)),
            Kind::Other => {}
        }
        at = end;
    }
    Ok(pages)
}

/// Reads the header at the start of `place`.
fn header_at(file: &mut File, place: Range<u64>) -> Result<Header, String> {
    let fail = |error: std::io::Error| error.to_string();
    for size in HEADER_PIECES {
        let size = size.min(place.end - place.start);
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(place.start)).map_err(fail)?;
        file.take(size).read_to_end(&mut piece).map_err(fail)?;
        if let Some(header) = Header::read(&piece) {
            return Ok(header);
        }
        if (piece.len() as u64) < size || size == place.end - place.start {
            break;
        }
    }
    Err(format!("a damaged page header at {}", place.start))
}

impl Header {
    /// Parses the header at the start of `bytes`; `None` if it is damaged or does not end within them.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Compact(bytes);
        let (mut kind, mut unpacked, mut packed, mut field) = (None, None, None, 0);
        let (mut rows, mut encoding) = (None, None);
        while let Some((id, thrift)) = reader.field(field)? {
            field = id;
            match (id, thrift) {
                (1, 5) => kind = reader.signed(),
                (2, 5) => unpacked = reader.size(),
                (3, 5) => packed = reader.size(),
                (5, 12) => (rows, encoding) = reader.values(2)?,
                (8, 12) => (rows, encoding) = reader.values(4)?,
                _ => reader.skip(thrift, 0)?,
            }
        }
        let kind = match kind? {
            0 | 3 => Kind::Data,
            2 => Kind::Dictionary,
            _ => Kind::Other,
        };
        let rows = if kind == Kind::Data { rows? } else { 0 };
        let length = (bytes.len() - reader.0.len()) as u64;
        // PLAIN_DICTIONARY and RLE_DICTIONARY.
        let uses_dictionary = matches!(encoding, Some(2 | 8));
        Some(Self { kind, unpacked: unpacked?, packed: packed?, rows, uses_dictionary, length })
    }

    /// Refuses a page that is larger than its compression can make it, or than memory is kept for.
    fn check(&self, codec: Compression) -> Result<(), String> {
        // What the formats reach at most. Brotli copies 16 MiB by a command of a few bytes.
        let ratio = match codec {
            Compression::UNCOMPRESSED => 1,
            Compression::SNAPPY => 32,
            Compression::LZ4 | Compression::LZ4_RAW => 256,
            Compression::GZIP(_) => COMMON_RATIO,
            Compression::ZSTD(_) => 1 << 15,
            Compression::BROTLI(_) | Compression::LZO => u64::MAX,
        };
        let (unpacked, packed) = (self.unpacked, self.packed);
        let by_format = packed.saturating_mul(ratio).saturating_add(64);
        let most = by_format.min(LARGEST_PAGE.max(packed.saturating_mul(COMMON_RATIO)));
        match unpacked <= most {
            true => Ok(()),
            false => Err(format!("a page of {unpacked} bytes in {packed}, expected at most {most}")),
        }
    }
}

/// What is left of some bytes in the compact protocol; `None` is a damaged one.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// Reads the header of a data page to its end: its first field, the number of values, and the field `encoding`.
    fn values(&mut self, encoding: i64) -> Option<(Option<u64>, Option<i64>)> {
        let (mut count, mut found, mut field) = (None, None, 0);
        while let Some((id, kind)) = self.field(field)? {
            field = id;
            match (id, kind) {
                (1, 5) => count = self.size(),
                (id, 5) if id == encoding => found = self.signed(),
                _ => self.skip(kind, 1)?,
            }
        }
        Some((count, found))
    }

    /// The number and kind of the next field, after field `before`; none at the end of a structure.
    fn field(&mut self, before: i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 15);
        match (kind, step) {
            (0, _) => Some(None),
            (_, 0) => Some(Some((self.signed()?, kind))),
            _ => Some(Some((before.checked_add(step)?, kind))),
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1 | 2 => Some(()), // the kind is the value
            3 => self.byte().map(drop),
            4..=6 => self.number().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.number()?;
                self.take(usize::try_from(length).ok()?)
            }
            9 | 10 if depth < DEEPEST => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                // In a list a truth value takes a byte.
                let kind = if head & 15 <= 2 { 3 } else { head & 15 };
                (0..count).try_for_each(|_| self.skip(kind, depth + 1))
            }
            12 if depth < DEEPEST => {
                let mut field = 0;
                while let Some((id, kind)) = self.field(field)? {
                    field = id;
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn take(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A number whose lowest bit is its sign.
    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn size(&mut self) -> Option<u64> {
        u64::try_from(self.signed()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// type = data page, unpacked 5, packed 3, a data page header (2 values, encoding RLE_DICTIONARY, a binary), the end; then
    /// three bytes.
    const PAGE: [u8; 21] = [0x15, 0, 0x15, 10, 0x15, 6, 0x2c, 0x15, 4, 0x15, 16, 0x18, 2, 9, 9, 0, 0, 7, 7, 7, 0];

    fn page() -> &'static [u8] {
        &PAGE[..20]
    }

    #[test]
    fn pages_are_walked_to_the_end() {
        check(&[page(), page()].concat(), Compression::SNAPPY).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[b"head", page(), page()].concat()).unwrap();
        let pages = find(&mut file, 4..44, Compression::SNAPPY).unwrap();
        let page = |bytes| Page { bytes, unpacked: 5, rows: 2, uses_dictionary: true };
        assert_eq!(pages, Pages { dictionary: None, data: vec![page(4..24), page(24..44)] });
    }

    #[test]
    fn a_damaged_header_is_refused() {
        for cut in 1..page().len() {
            assert!(check(&page()[..cut], Compression::SNAPPY).unwrap_err().contains("damaged page header"), "{cut}");
        }
        assert!(check(&[0x1c; 100], Compression::SNAPPY).is_err()); // structures without end
    }

    #[test]
    fn a_page_is_as_large_as_its_compression_allows() {
        let check = |unpacked, packed, codec| {
            let kind = Kind::Data;
            Header { kind, unpacked, packed, rows: 1, uses_dictionary: false, length: 9 }.check(codec)
        };
        let zstd = Compression::ZSTD(Default::default());
        check(480_225, 300, zstd).unwrap(); // 60,000 equal labels
        assert!(check(480_225, 10, zstd).is_err());
        assert!(check(480_225, 300, Compression::SNAPPY).unwrap_err().contains("expected at most 9664"));
        let brotli = Compression::BROTLI(Default::default());
        check(LARGEST_PAGE, 10, brotli).unwrap();
        assert!(check(LARGEST_PAGE + 1, 10, brotli).is_err());
        check(1 << 30, 1 << 20, brotli).unwrap();
    }
}
