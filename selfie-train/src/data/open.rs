//! From a `--data` string to one split of what it names.
//!
//! | string | is |
//! |---|---|
//! | `sample` | the photographs in the repository |
//! | `folder:DIR` | images anywhere below DIR |
//! | `list:FILE` | a text file, one image path a line, maybe a tab and a label |
//! | `cifar10:DIR` | CIFAR-10: the official binary files, or the hub's parquet files |
//! | `imagenet32:DIR` | downsampled ImageNet: `train_data_batch_*.npz`, `val_data.npz` |
//! | `mnist:DIR`, `fashion-mnist:DIR` | their idx files, with the feature `candle-datasets` |
//! | `parquet:GLOB` | parquet files in the hub's image layout, or a folder of them |
//! | `tar:GLOB` | WebDataset shards, or a folder of them |
//! | `hf:OWNER/NAME` | a data set of the hub |
//! | a path | any of these but the last, by what it holds |

use std::path::{Path, PathBuf};

use super::cifar::{self, Cifar};
use super::error::{DataError, DataResult};
use super::folder::Listed;
use super::hub::{Hub, RepoName, Snapshot};
#[cfg(feature = "candle-datasets")]
use super::idx;
use super::imagenet32;
use super::shards::{self, SHARD_LEVELS, ShardKind};
use super::source::{Opened, Split, is_hidden};
use super::splits::{Chosen, Sides, sides};
use super::{folder, list, parquet_shards, tar_shards};

/// The forms of a `--data` string, for messages.
pub(super) const SCHEMES: &str = "sample, folder:DIR, list:FILE, cifar10:DIR, imagenet32:DIR, mnist:DIR, fashion-mnist:DIR, parquet:GLOB, \
     tar:GLOB, hf:OWNER/NAME, or a path";

/// Characters of a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// What a `--data` string turned out to be.
enum Kind {
    Folder(Listed),
    List(PathBuf),
    Cifar(PathBuf),
    Imagenet32(imagenet32::Files),
    #[cfg(feature = "candle-datasets")]
    Idx(idx::IdxSet, PathBuf),
    Parquet(Sides<PathBuf>, &'static [&'static str], parquet_shards::Wanted),
    Tar(Sides<PathBuf>),
}

impl Kind {
    /// Shards whose classes are named in them.
    fn of_shards(kind: ShardKind, files: Sides<PathBuf>) -> Self {
        match kind {
            ShardKind::Parquet => Self::Parquet(files, &[], Default::default()),
            ShardKind::Tar => Self::Tar(files),
        }
    }
}

/// Opens one split of the data that `given` names.
pub(super) fn open(given: &str, split: Split, chosen: &Chosen) -> DataResult<Opened> {
    let kind = kind(given, chosen)?;
    if matches!(kind, Kind::List(_) | Kind::Cifar(_) | Kind::Imagenet32(_)) {
        fixed_splits(chosen)?;
    }
    match kind {
        Kind::Folder(listed) => folder::open(given, listed, split, chosen),
        Kind::List(file) => list::open(given, &file, split),
        Kind::Cifar(dir) => cifar::open(given, &dir, split),
        Kind::Imagenet32(files) => imagenet32::open(given, &files, split),
        #[cfg(feature = "candle-datasets")]
        Kind::Idx(set, dir) => idx::open(set, &dir, split),
        Kind::Parquet(files, classes, columns) => parquet_shards::open(given, &files, split, classes, &columns),
        Kind::Tar(files) => tar_shards::open(given, &files, split),
    }
}

/// Lists and data sets in a form of their own have no splits to choose.
fn fixed_splits(chosen: &Chosen) -> DataResult<()> {
    for (field, names) in [("data.train_splits", chosen.train), ("data.test_splits", chosen.test)] {
        if let Some(name) = names.first() {
            let reason = format!("got {name:?}, expected an empty list: the splits of these data are fixed");
            return Err(DataError::config(field, reason));
        }
    }
    Ok(())
}

fn kind(given: &str, chosen: &Chosen) -> DataResult<Kind> {
    match scheme(given) {
        Some(("folder", dir)) => Ok(Kind::Folder(Listed::open(&existing_folder(dir)?)?)),
        Some(("list", file)) => Ok(Kind::List(existing_file(file)?)),
        Some(("cifar10", dir)) => {
            let dir = existing_folder(dir)?;
            let none = || {
                let reason = "no data_batch_1.bin here or in cifar-10-batches-bin/, and no parquet file, expected CIFAR-10's \
                              binary version or the hub's parquet files";
                DataError::format(&dir, reason)
            };
            cifar10(&dir, chosen)?.ok_or_else(none)
        }
        Some(("imagenet32", dir)) => {
            let dir = existing_folder(dir)?;
            let none =
                || DataError::format(&dir, "no train_data_batch_1.npz, expected downsampled ImageNet as .npz files");
            Ok(Kind::Imagenet32(imagenet32::Files::find(&dir)?.ok_or_else(none)?))
        }
        #[cfg(feature = "candle-datasets")]
        Some((set @ ("mnist" | "fashion-mnist"), dir)) => Ok(Kind::Idx(idx::IdxSet::of(set), existing_folder(dir)?)),
        #[cfg(not(feature = "candle-datasets"))]
        Some(("mnist" | "fashion-mnist", _)) => {
            let reason = format!("got {given:?}, but this program was built without the feature candle-datasets");
            Err(DataError::config("data.source", reason))
        }
        Some(("parquet", pattern)) => {
            let (pattern, columns) = parquet_shards::Wanted::split(pattern);
            let files = shards(pattern, ShardKind::Parquet, chosen)?;
            Ok(Kind::Parquet(files, &[], columns))
        }
        Some(("tar", pattern)) => Ok(Kind::of_shards(ShardKind::Tar, shards(pattern, ShardKind::Tar, chosen)?)),
        Some(("hf", name)) => from_hub(given, name, chosen),
        Some((scheme, _)) if !Path::new(given).exists() => {
            Err(DataError::UnknownScheme { scheme: scheme.to_string(), given: given.to_string() })
        }
        _ if given == "sample" => Ok(Kind::Folder(Listed::open(&sample_dir())?)),
        _ if Path::new(given).is_file() => of_file(given, chosen),
        _ if !Path::new(given).exists() && given.contains(WILDCARDS) => {
            let kind = ShardKind::of(Path::new(given)).unwrap_or(ShardKind::Parquet);
            Ok(Kind::of_shards(kind, shards(given, kind, chosen)?))
        }
        _ => of_folder(&existing_folder(given)?, chosen),
    }
}

/// Splits `word:rest`. One letter before the colon is a Windows drive, not a scheme; a path has no such word either.
pub(super) fn scheme(given: &str) -> Option<(&str, &str)> {
    let (word, rest) = given.split_once(':')?;
    let is_word = word.len() > 1 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_word.then_some((word, rest))
}

/// A bare path to a file: its suffix says what it is.
fn of_file(given: &str, chosen: &Chosen) -> DataResult<Kind> {
    let path = PathBuf::from(given);
    if let Some(kind) = ShardKind::of(&path) {
        return Ok(Kind::of_shards(kind, shards(given, kind, chosen)?));
    }
    let suffix = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match suffix.as_str() {
        "txt" | "tsv" | "csv" | "lst" | "list" => Ok(Kind::List(path)),
        _ => Err(DataError::NotAFolder { path }),
    }
}

/// A bare path to a folder: what is in it says what it is.
fn of_folder(dir: &Path, chosen: &Chosen) -> DataResult<Kind> {
    if Cifar::find(dir).is_some() {
        return Ok(Kind::Cifar(dir.to_path_buf()));
    }
    if let Some(files) = imagenet32::Files::find(dir)? {
        return Ok(Kind::Imagenet32(files));
    }
    let given = dir.to_string_lossy();
    let listed = Listed::open(dir)?;
    match listed.shards(&given)? {
        Some(kind) => Ok(Kind::of_shards(kind, shards(&given, kind, chosen)?)),
        None => Ok(Kind::Folder(listed)),
    }
}

/// CIFAR-10 in either form.
fn cifar10(dir: &Path, chosen: &Chosen) -> DataResult<Option<Kind>> {
    if Cifar::find(dir).is_some() {
        return Ok(Some(Kind::Cifar(dir.to_path_buf())));
    }
    let files = near(dir, ShardKind::Parquet)?;
    let files = sides(&files, |file| below(file, dir), chosen)?;
    Ok((!files.train.is_empty()).then_some(Kind::Parquet(files, &cifar::CLASSES, Default::default())))
}

/// The files of a pattern, of a folder and the folders in it, or the one file.
fn shards(given: &str, kind: ShardKind, chosen: &Chosen) -> DataResult<Sides<PathBuf>> {
    let path = Path::new(given);
    let suffix = kind.name();
    let (files, root) = match path.is_dir() {
        true => (near(path, kind)?, path.to_path_buf()),
        false if path.is_file() => (vec![path.to_path_buf()], path.to_path_buf()),
        false => {
            let reason =
                |error: glob::PatternError| format!("not a pattern: {error}, expected one such as DIR/*.{suffix}");
            let paths = glob::glob(given).map_err(|error| DataError::config("data.source", reason(error)))?;
            let files = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
            (files, fixed_part(given))
        }
    };
    if files.is_empty() {
        return Err(DataError::NoFiles { given: given.to_string(), suffix });
    }
    sides(&files, |file| below(file, &root), chosen)
}

/// The folders of a pattern up to the first wildcard.
fn fixed_part(pattern: &str) -> PathBuf {
    let fixed = pattern.find(WILDCARDS).map_or(pattern, |wildcard| &pattern[..wildcard]);
    fixed.rsplit_once(['/', '\\']).map_or(PathBuf::new(), |(folders, _)| folders.into())
}

/// The part of a file's path below the data that were named: it alone decides about the split.
fn below(file: &Path, root: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned()
}

/// The shards of a kind in `dir` and [`SHARD_LEVELS`] below, sorted; hidden files are left out.
fn near(dir: &Path, kind: ShardKind) -> DataResult<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        if depth > 0 && leads_back(&dir) {
            continue; // its files would be found twice
        }
        for entry in std::fs::read_dir(&dir).map_err(DataError::io(&dir))? {
            let entry = entry.map_err(DataError::io(&dir))?;
            if is_hidden(&entry.file_name()) {
                continue;
            }
            let path = entry.path();
            let file_type = entry.file_type().map_err(DataError::io(&path))?;
            if kind.is(&path) && path.is_file() {
                found.push(path);
            } else if depth < SHARD_LEVELS && (file_type.is_dir() || (file_type.is_symlink() && path.is_dir())) {
                pending.push((path, depth + 1));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a folder is a link back to a folder above it.
fn leads_back(dir: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    dir.is_symlink() && dir.parent().and_then(real).zip(real(dir)).is_some_and(|(parent, dir)| parent.starts_with(dir))
}

/// Brings the data that `given` names to this machine where they are a data set of the hub, anew where it has changed there;
/// returns their folder and size. Other data are here already.
///
/// # Errors
/// [`DataError`] names the data set and what the hub or the network said.
pub fn fetch_data(given: &str) -> DataResult<Option<(PathBuf, u64)>> {
    match scheme(given) {
        Some(("hf", name)) => {
            let snapshot = Hub::from_env().fetch(&name.parse()?)?;
            Ok(Some((snapshot.folder, snapshot.bytes)))
        }
        _ => Ok(None),
    }
}

/// A data set of the hub: from the cache where all of it is there, else downloaded.
fn from_hub(given: &str, name: &str, chosen: &Chosen) -> DataResult<Kind> {
    let name: RepoName = name.parse()?;
    let hub = Hub::from_env().choosing(chosen);
    let mut snapshot = hub.snapshot(&name)?;
    let relative: Vec<PathBuf> = snapshot.files.iter().map(|file| below(file, &snapshot.folder).into()).collect();
    if let Some(kind) = shards::kind_of(&relative, given)? {
        let splits = |snapshot: &Snapshot| {
            let mut files: Vec<_> = snapshot.files.iter().filter(|file| kind.is(file)).collect();
            files.extend(&snapshot.others);
            files.sort_unstable();
            sides(&files.into_iter().cloned().collect::<Vec<_>>(), |file| below(file, &snapshot.folder), chosen)
        };
        let mut found = splits(&snapshot)?;
        // Another split is chosen than when the data set was fetched.
        if found.train.iter().chain(&found.test).any(|file| snapshot.others.contains(file)) {
            snapshot = hub.fetch(&name)?;
            found = splits(&snapshot)?;
        }
        return Ok(Kind::of_shards(kind, found));
    }
    match snapshot.files.is_empty() {
        true => Err(DataError::NoFiles { given: given.to_string(), suffix: "parquet" }),
        false => Ok(Kind::Folder(Listed::open(&snapshot.folder)?)),
    }
}

/// The photographs that ship with the source code.
fn sample_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

fn existing_folder(path: impl AsRef<Path>) -> DataResult<PathBuf> {
    let path = path.as_ref().to_path_buf();
    match std::fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Ok(path),
        Ok(_) => Err(DataError::NotAFolder { path }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(DataError::NoSuchFolder { path }),
        Err(e) => Err(DataError::io(path)(e)),
    }
}

fn existing_file(path: &str) -> DataResult<PathBuf> {
    let path = PathBuf::from(path);
    match path.is_file() {
        true => Ok(path),
        false => Err(DataError::NoSuchFile { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_a_word_before_a_colon() {
        assert_eq!(scheme("cifar10:/data"), Some(("cifar10", "/data")));
        assert_eq!(scheme("fashion-mnist:x"), Some(("fashion-mnist", "x")));
        assert_eq!(scheme("C:\\photos"), None);
        assert_eq!(scheme("/data/a:b"), None);
        assert_eq!(scheme("photos"), None);
    }
}
