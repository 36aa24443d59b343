//! The sizes that the pages of a column chunk claim, looked at before the parquet crate makes room for them.
//!
//! A page begins with a header in thrift's compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>): its second and third fields are the sizes of
//! what follows, unpacked and packed. A page cannot unpack to more than its whole chunk.

/// Structures inside each other, at most; the format has three.
const DEEPEST: usize = 8;

/// Checks every page of a chunk that unpacks to `most` bytes.
pub(super) fn check(chunk: &[u8], most: u64) -> Result<(), String> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let damaged = || format!("a damaged page header, {} bytes before the end of the column chunk", rest.len());
        let mut reader = Compact(rest);
        let (unpacked, packed) = reader.page_sizes().ok_or_else(damaged)?;
        if unpacked > most {
            return Err(format!("a page of {unpacked} bytes, expected at most the {most} of its column chunk"));
        }
        rest = usize::try_from(packed).ok().and_then(|packed| reader.0.get(packed..)).ok_or_else(damaged)?;
    }
    Ok(())
}

/// What is left of some bytes in the compact protocol; `None` is a damaged one.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// Reads a page header to its end.
    fn page_sizes(&mut self) -> Option<(u64, u64)> {
        let (mut unpacked, mut packed, mut field) = (None, None, 0);
        while let Some((id, kind)) = self.field(field)? {
            field = id;
            match (id, kind) {
                (2, 5) => unpacked = self.size(),
                (3, 5) => packed = self.size(),
                _ => self.skip(kind, 0)?,
            }
        }
        Some((unpacked?, packed?))
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

    /// type = 0, unpacked 5, packed 3, a data page header with two fields and a binary, the end; then three bytes.
    const PAGE: [u8; 18] = [0x15, 0, 0x15, 10, 0x15, 6, 0x2c, 0x15, 2, 0x18, 2, 9, 9, 0, 0, 7, 7, 7];

    #[test]
    fn pages_are_walked_to_the_end() {
        check(&[PAGE, PAGE].concat(), 5).unwrap();
    }

    #[test]
    fn a_page_larger_than_its_chunk_is_refused() {
        assert!(check(&PAGE, 4).unwrap_err().contains("a page of 5 bytes, expected at most the 4"));
        for cut in 1..PAGE.len() {
            assert!(check(&PAGE[..cut], 5).unwrap_err().contains("damaged page header"), "{cut}");
        }
        assert!(check(&[0x1c; 100], 5).is_err()); // structures without end
    }
}
