//! Files that hold many images each, told apart by their suffixes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{DataError, DataResult};

/// Levels of folders below the data that are searched for shards.
pub(super) const SHARD_LEVELS: usize = 2;

/// The kinds of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ShardKind {
    /// Parquet files in the hub's image layout.
    Parquet,
    /// WebDataset shards.
    Tar,
}

/// Suffixes of shards, lower case; any case is accepted. Content decides how a tar file is compressed.
const SUFFIXES: [(&str, ShardKind); 4] =
    [("parquet", ShardKind::Parquet), ("tar", ShardKind::Tar), ("tar.gz", ShardKind::Tar), ("tgz", ShardKind::Tar)];

/// Files that look like shards and describe images instead.
const METADATA: [&str; 1] = ["metadata.parquet"];

impl ShardKind {
    /// The kind of the shard that a file is, by its name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        if METADATA.contains(&name.as_str()) {
            return None;
        }
        let ends = |suffix: &str| name.strip_suffix(suffix).is_some_and(|stem| stem.ends_with('.'));
        SUFFIXES.iter().find(|(suffix, _)| ends(suffix)).map(|&(_, kind)| kind)
    }

    /// The suffix that stands for this kind in messages and schemes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Tar => "tar",
        }
    }

    /// Whether a shard is compressed as a whole: its suffix is more than the name of its kind.
    pub(super) fn is_compressed(path: &Path) -> bool {
        Self::of(path).is_some_and(|kind| !path.extension().is_some_and(|last| last.eq_ignore_ascii_case(kind.name())))
    }

    /// Whether a file is a shard of this kind.
    pub(super) fn is(self, path: &Path) -> bool {
        Self::of(path) == Some(self)
    }
}

/// The kind of the shards among these files, if there are any.
///
/// A folder of img2dataset has a table of metadata beside each archive (`00000.tar`, `00000.parquet`), so the archives are the
/// data.
///
/// # Errors
/// Returns [`DataError::Mixed`] if there are shards of both kinds otherwise.
pub(super) fn kind_of(files: &[PathBuf], given: &str) -> DataResult<Option<ShardKind>> {
    let stems = |kind: ShardKind| -> BTreeSet<PathBuf> {
        files.iter().filter(|file| kind.is(file)).map(|file| file.with_extension("")).collect()
    };
    let (parquet, tar) = (stems(ShardKind::Parquet), stems(ShardKind::Tar));
    match (parquet.is_empty(), tar.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(ShardKind::Parquet)),
        (true, false) => Ok(Some(ShardKind::Tar)),
        (false, false) if parquet.is_subset(&tar) => Ok(Some(ShardKind::Tar)),
        (false, false) => {
            let found = format!("{} .parquet files and {} .tar files", parquet.len(), tar.len());
            Err(DataError::mixed(given, found, "parquet:DIR or tar:DIR"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_tell_the_kind_and_metadata_are_no_shards() {
        let kind = |name: &str| ShardKind::of(Path::new(name));
        assert_eq!(kind("a/0.PARQUET"), Some(ShardKind::Parquet));
        assert_eq!(kind("00000.tar"), Some(ShardKind::Tar));
        assert_eq!((kind("metadata.parquet"), kind("notar"), kind("a.txt")), (None, None, None));
    }

    #[test]
    fn tables_of_metadata_beside_archives_are_no_data() {
        let kind = |names: &[&str]| kind_of(&names.iter().map(PathBuf::from).collect::<Vec<_>>(), "D");
        let img2dataset = ["00000.parquet", "00000.tar", "00000_stats.json", "00001.parquet", "00001.tar"];
        assert_eq!(kind(&img2dataset).unwrap(), Some(ShardKind::Tar));
        assert_eq!(kind(&["a.txt"]).unwrap(), None);
        let text = kind(&["a.parquet", "b.tar"]).unwrap_err().to_string();
        assert!(text.contains("1 .parquet files and 1 .tar files") && text.contains("tar:DIR"), "{text}");
    }
}
