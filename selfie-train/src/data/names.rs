//! Millions of file names in one allocation: a name costs its bytes and four more.
//!
//! A name is kept as the bytes of the operating system, so that a file can be opened whatever it is called.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

/// Names one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Names {
    /// From the bytes and the ends of the names in them; `None` where these do not fit.
    pub(super) fn from_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let last = ends.last().map_or(0, |&end| end as usize);
        (ends.is_sorted() && last == bytes.len()).then_some(Self { bytes, ends })
    }

    /// Adds a name; `None` beyond 4 GiB of names.
    #[must_use]
    pub(super) fn push(&mut self, name: &[u8]) -> Option<()> {
        let end = u32::try_from(self.bytes.len() + name.len()).ok()?;
        self.bytes.extend_from_slice(name);
        self.ends.push(end);
        Some(())
    }

    /// Number of names.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Name `i`.
    pub(super) fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    /// Name `i` for people and hashes.
    pub(super) fn text(&self, i: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.get(i))
    }

    /// The bytes of all names and where each ends, for a file.
    pub(super) fn parts(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }

    /// Gives back what growing took too much.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// The bytes that stand for a name of the operating system.
#[cfg(unix)]
pub(super) fn bytes_of(name: &OsStr) -> Cow<'_, [u8]> {
    use std::os::unix::ffi::OsStrExt;
    name.as_bytes().into()
}

/// The name that these bytes stand for.
#[cfg(unix)]
pub(super) fn os_name(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_os_string()
}

/// The bytes that stand for a name of the operating system; what is no Unicode there cannot be opened.
#[cfg(not(unix))]
pub(super) fn bytes_of(name: &OsStr) -> Cow<'_, [u8]> {
    name.to_string_lossy().into_owned().into_bytes().into()
}

/// The name that these bytes stand for.
#[cfg(not(unix))]
pub(super) fn os_name(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_odd_ones_too() {
        let mut names = Names::default();
        for name in [b"a.jpg".as_slice(), b"", b"\xff\xfe.png"] {
            names.push(name).unwrap();
        }
        assert_eq!(
            (names.len(), names.get(0), names.get(1), names.get(2)),
            (3, &b"a.jpg"[..], &b""[..], &b"\xff\xfe.png"[..])
        );
        assert_eq!(names.text(2), "\u{fffd}\u{fffd}.png");
        let (bytes, ends) = names.parts();
        assert_eq!(Names::from_parts(bytes.to_vec(), ends.to_vec()), Some(names.clone()));
        assert_eq!(Names::from_parts(bytes.to_vec(), vec![1]), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_no_text_survives() {
        assert_eq!(*bytes_of(&os_name(b"\xff.png")), *b"\xff.png");
    }
}
