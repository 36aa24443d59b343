//! Files of a tree that are not images, counted by folder and suffix.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::super::super::index_cache::{Packer, Unpacker};

/// The longest suffix that is counted on its own.
const LONGEST_SUFFIX: usize = 10;

/// Number of files by folder and suffix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct PassedOver(BTreeMap<(u32, String), u64>);

impl PassedOver {
    /// Counts one file of folder `dir`.
    pub(super) fn add(&mut self, dir: u32, file: &Path) {
        *self.0.entry((dir, suffix(file))).or_default() += 1;
    }

    /// Gives each folder its new number.
    pub(super) fn renumber(&mut self, rank: &[u32]) {
        let old = std::mem::take(&mut self.0);
        self.0 = old.into_iter().map(|((dir, suffix), count)| ((rank[dir as usize], suffix), count)).collect();
    }

    /// The suffixes in these folders with their number of files.
    pub(in super::super) fn in_dirs(&self, dirs: Range<usize>) -> impl Iterator<Item = (&str, u64)> {
        let of_dirs = self.0.range((dirs.start as u32, String::new())..(dirs.end as u32, String::new()));
        of_dirs.map(|((_, suffix), count)| (suffix.as_str(), *count))
    }

    pub(super) fn pack(&self, packer: &mut Packer) {
        packer.number(self.0.len() as u64);
        for ((dir, suffix), count) in &self.0 {
            packer.number(u64::from(*dir));
            packer.bytes(suffix.as_bytes());
            packer.number(*count);
        }
    }

    pub(super) fn unpack(unpacker: &mut Unpacker) -> Option<Self> {
        let mut counts = BTreeMap::new();
        for _ in 0..unpacker.number()? {
            let dir = u32::try_from(unpacker.number()?).ok()?;
            let suffix = std::str::from_utf8(unpacker.bytes()?).ok()?.to_owned();
            counts.insert((dir, suffix), unpacker.number()?);
        }
        Some(Self(counts))
    }
}

/// The suffix of a file's name, lower case and with its dot. Numbers and other odd endings are not suffixes.
pub(in super::super::super) fn suffix(file: &Path) -> String {
    let lower = |path: &Path| path.extension().map(|suffix| suffix.to_string_lossy().to_ascii_lowercase());
    let Some(last) = lower(file) else { return "no suffix".to_owned() };
    let is_word = last.len() <= LONGEST_SUFFIX
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && last.bytes().any(|byte| byte.is_ascii_alphabetic());
    let stem = file.file_stem().map(Path::new);
    match stem.and_then(lower) {
        _ if !is_word => "other suffixes".to_owned(),
        Some(inner) if inner == "tar" => format!(".tar.{last}"),
        _ => format!(".{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_words_after_the_last_dot() {
        let of = |name: &str| suffix(Path::new(name));
        assert_eq!((of("a.TXT"), of("x.tar.GZ"), of("README")), (".txt".into(), ".tar.gz".into(), "no suffix".into()));
        assert_eq!((of("log.0001"), of("a.\u{1b}[31m")), ("other suffixes".into(), "other suffixes".into()));
    }

    #[test]
    fn counts_are_of_folders_and_come_back() {
        let mut found = PassedOver::default();
        for (dir, file) in [(1, "a.txt"), (0, "b.txt"), (1, "c.TXT"), (1, "d")] {
            found.add(dir, Path::new(file));
        }
        found.renumber(&[1, 0]);
        assert_eq!(found.in_dirs(0..1).collect::<Vec<_>>(), [(".txt", 2), ("no suffix", 1)]);
        assert_eq!(found.in_dirs(1..2).collect::<Vec<_>>(), [(".txt", 1)]);
        let mut packer = Packer::default();
        found.pack(&mut packer);
        assert_eq!(PassedOver::unpack(&mut Unpacker(&packer.finish())), Some(found));
    }
}
