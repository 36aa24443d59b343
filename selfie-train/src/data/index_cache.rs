//! What is costly to find out about data, kept in the user's cache folder and never beside the data.
//!
//! The folder is `selfie` in the system's place for such files (on Linux `$XDG_CACHE_HOME` or `~/.cache`); it may be deleted at
//! any time. A file holds a line of what it is, the checksum of the rest, and the rest; one that is damaged, of another version or
//! of other data is as good as none. Failing to write it costs the next start some time and nothing else.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::seed::hash_name;

/// Changes with the layout of what is kept.
const HEADER: &[u8] = b"selfie index 2\n";

/// Images from which on an index is kept: smaller ones are found out again in no time.
pub(super) const WORTHWHILE: usize = 5_000;

/// The folder of this program's cache, where the system has one.
pub(super) fn folder() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("selfie"))
}

/// Where the index of the data at `path` is kept; `kind` tells apart what is known of the same path.
pub(super) fn file_for(folder: &Path, kind: &str, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).take(40).collect();
    folder.join(format!("{kind}-{name}-{:016x}.index", hash_name(&path.to_string_lossy())))
}

/// Size of a file and the time it was changed last, in nanoseconds since 1970: what tells a changed file from the one that was
/// indexed.
pub(super) fn file_state(file: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::metadata(file)?;
    Ok((meta.len(), nanoseconds(meta.modified()?)))
}

/// A time in nanoseconds since 1970; 0 for one that cannot be told so.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

/// The content of an index file, if it is whole.
pub(super) fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(file).ok()?;
    let start = HEADER.len() + 4;
    let (header, rest) = bytes.split_at_checked(start)?;
    let sum = u32::from_le_bytes(header.get(HEADER.len()..)?.try_into().ok()?);
    if !header.starts_with(HEADER) || crc32fast::hash(rest) != sum {
        return None;
    }
    bytes.drain(..start);
    Some(bytes)
}

/// Writes an index file, whole or not at all.
pub(super) fn write(file: &Path, content: &[u8]) {
    let write = || -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // Two programs may index the same data at once.
        let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
        let mut out = File::create(&temporary)?;
        out.write_all(HEADER)?;
        out.write_all(&crc32fast::hash(content).to_le_bytes())?;
        out.write_all(content)?;
        drop(out);
        std::fs::rename(&temporary, file).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    };
    if let Err(error) = write() {
        tracing::debug!("{}: not cached: {error}", file.display());
    }
}

/// Puts the parts of an index behind each other.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>);

impl Packer {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.number(numbers.len() as u64);
        numbers.iter().for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes the parts of an index off in the same order; `None` where there is less than asked for.
pub(super) struct Unpacker<'a>(pub(super) &'a [u8]);

impl<'a> Unpacker<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    pub(super) fn numbers(&mut self) -> Option<Vec<u32>> {
        let count = usize::try_from(self.number()?).ok()?;
        let (words, _) = self.take(count.checked_mul(4)?)?.as_chunks::<4>();
        Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_for(&folder.path().join("new"), "folder", Path::new("/data/my photos"));
        assert!(file.to_string_lossy().contains("folder-myphotos-"), "{}", file.display());
        let mut packer = Packer::default();
        packer.number(7);
        packer.bytes(b"abc");
        packer.numbers(&[1, u32::MAX]);
        write(&file, &packer.finish());
        let content = read(&file).unwrap();
        let mut unpacker = Unpacker(&content);
        assert_eq!((unpacker.number(), unpacker.bytes()), (Some(7), Some(&b"abc"[..])));
        assert_eq!((unpacker.numbers(), unpacker.number()), (Some(vec![1, u32::MAX]), None));

        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Unpacker(&u64::MAX.to_le_bytes()).numbers(), None);
        assert_eq!(Unpacker(&u64::MAX.to_le_bytes()).bytes(), None);
    }
}
