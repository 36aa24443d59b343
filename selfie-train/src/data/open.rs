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
use super::hub::{Hub, RepoName};
#[cfg(feature = "candle-datasets")]
use super::idx;
use super::imagenet32;
use super::source::{Opened, Split, has_image_suffix};
use super::splits::{Sides, sides};
use super::{folder, list, parquet_shards, tar_shards};

/// The forms of a `--data` string, for messages.
pub(super) const SCHEMES: &str = "sample, folder:DIR, list:FILE, cifar10:DIR, imagenet32:DIR, mnist:DIR, fashion-mnist:DIR, parquet:GLOB, \
     tar:GLOB, hf:OWNER/NAME, or a path";

/// What a `--data` string turned out to be.
enum Kind {
    Folder(PathBuf),
    List(PathBuf),
    Cifar(PathBuf),
    Imagenet32(imagenet32::Files),
    #[cfg(feature = "candle-datasets")]
    Idx(idx::IdxSet, PathBuf),
    Parquet(Sides<PathBuf>, &'static [&'static str], parquet_shards::Wanted),
    Tar(Sides<PathBuf>),
}

/// Opens one split of the data that `given` names.
pub(super) fn open(given: &str, split: Split) -> DataResult<Opened> {
    match kind(given)? {
        Kind::Folder(dir) => folder::open(given, &dir, split),
        Kind::List(file) => list::open(given, &file, split),
        Kind::Cifar(dir) => cifar::open(given, &dir, split),
        Kind::Imagenet32(files) => imagenet32::open(given, &files, split),
        #[cfg(feature = "candle-datasets")]
        Kind::Idx(set, dir) => idx::open(given, set, &dir, split),
        Kind::Parquet(files, classes, columns) => parquet_shards::open(given, &files, split, classes, &columns),
        Kind::Tar(files) => tar_shards::open(given, &files, split),
    }
}

fn kind(given: &str) -> DataResult<Kind> {
    match scheme(given) {
        Some(("folder", dir)) => Ok(Kind::Folder(existing_folder(dir)?)),
        Some(("list", file)) => Ok(Kind::List(existing_file(file)?)),
        Some(("cifar10", dir)) => {
            let dir = existing_folder(dir)?;
            let none = || {
                let reason = "no data_batch_1.bin here or in cifar-10-batches-bin/, and no parquet file, expected CIFAR-10's \
                              binary version or the hub's parquet files";
                DataError::format(&dir, reason)
            };
            cifar10(&dir)?.ok_or_else(none)
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
            Ok(Kind::Parquet(shards(pattern, "parquet")?, &[], columns))
        }
        Some(("tar", pattern)) => Ok(Kind::Tar(shards(pattern, "tar")?)),
        Some(("hf", name)) => from_hub(given, name),
        Some((scheme, _)) if !Path::new(given).exists() => {
            Err(DataError::UnknownScheme { scheme: scheme.to_string(), given: given.to_string() })
        }
        _ if given == "sample" => Ok(Kind::Folder(sample_dir())),
        _ if Path::new(given).is_file() => of_file(given),
        _ if !Path::new(given).exists() && given.contains(['*', '?', '[']) => match given.rsplit('.').next() {
            Some("tar") => Ok(Kind::Tar(shards(given, "tar")?)),
            _ => Ok(Kind::Parquet(shards(given, "parquet")?, &[], Default::default())),
        },
        _ => of_folder(&existing_folder(given)?),
    }
}

/// Splits `word:rest`. One letter before the colon is a Windows drive, not a scheme; a path has no such word either.
pub(super) fn scheme(given: &str) -> Option<(&str, &str)> {
    let (word, rest) = given.split_once(':')?;
    let is_word = word.len() > 1 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_word.then_some((word, rest))
}

/// A bare path to a file: its suffix says what it is.
fn of_file(given: &str) -> DataResult<Kind> {
    let path = PathBuf::from(given);
    let suffix = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match suffix.as_str() {
        "parquet" => Ok(Kind::Parquet(shards(given, "parquet")?, &[], Default::default())),
        "tar" => Ok(Kind::Tar(shards(given, "tar")?)),
        "txt" | "tsv" | "lst" | "list" => Ok(Kind::List(path)),
        _ => Err(DataError::NotAFolder { path }),
    }
}

/// A bare path to a folder: what is in it says what it is.
fn of_folder(dir: &Path) -> DataResult<Kind> {
    if Cifar::find(dir).is_some() {
        return Ok(Kind::Cifar(dir.to_path_buf()));
    }
    if let Some(files) = imagenet32::Files::find(dir)? {
        return Ok(Kind::Imagenet32(files));
    }
    let given = dir.to_string_lossy();
    match shards_in(dir) {
        Some("parquet") => Ok(Kind::Parquet(shards(&given, "parquet")?, &[], Default::default())),
        Some("tar") => Ok(Kind::Tar(shards(&given, "tar")?)),
        _ => Ok(Kind::Folder(dir.to_path_buf())),
    }
}

/// The suffix of the shards in a folder, where it holds such and no images. Folders of images may be huge, so only a few entries of a
/// few folders are looked at: what a folder is made of is among the first.
fn shards_in(dir: &Path) -> Option<&'static str> {
    const ENTRIES: usize = 256;
    const FOLDERS: usize = 16;
    let mut folders = vec![dir.to_path_buf()];
    let (mut at, mut found) = (0, None);
    while at < folders.len() {
        for entry in std::fs::read_dir(&folders[at]).into_iter().flatten().flatten().take(ENTRIES) {
            let path = entry.path();
            if has_image_suffix(&path) {
                return None;
            }
            let suffix = path.extension().unwrap_or_default();
            found = found.or(["parquet", "tar"].into_iter().find(|known| suffix.eq_ignore_ascii_case(known)));
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && folders.len() < FOLDERS && !entry.file_name().as_encoded_bytes().starts_with(b".") {
                folders.push(path);
            }
        }
        at += 1;
    }
    found
}

/// CIFAR-10 in either form.
fn cifar10(dir: &Path) -> DataResult<Option<Kind>> {
    if Cifar::find(dir).is_some() {
        return Ok(Some(Kind::Cifar(dir.to_path_buf())));
    }
    let files = near(dir, "parquet")?;
    let files = sides(&files, |file| file.to_string_lossy().into_owned());
    Ok((!files.train.is_empty()).then_some(Kind::Parquet(files, &cifar::CLASSES, Default::default())))
}

/// The files of a pattern, of a folder and the folders in it, or the one file.
fn shards(given: &str, suffix: &'static str) -> DataResult<Sides<PathBuf>> {
    let path = Path::new(given);
    let files = match path.is_dir() {
        true => near(path, suffix)?,
        false if path.is_file() => vec![path.to_path_buf()],
        false => {
            let reason =
                |error: glob::PatternError| format!("no pattern: {error}, expected one such as DIR/*.{suffix}");
            let paths = glob::glob(given).map_err(|error| DataError::config("data.source", reason(error)))?;
            paths.filter_map(Result::ok).filter(|path| path.is_file()).collect()
        }
    };
    match files.is_empty() {
        true => Err(DataError::NoFiles { given: given.to_string(), suffix }),
        false => Ok(sides(&files, |file| file.to_string_lossy().into_owned())),
    }
}

/// The files with a suffix in `dir` and two levels below, sorted; hidden ones are left out.
fn near(dir: &Path, suffix: &str) -> DataResult<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        if depth > 0 && leads_back(&dir) {
            continue; // its files would be found twice
        }
        for entry in std::fs::read_dir(&dir).map_err(DataError::io(&dir))? {
            let entry = entry.map_err(DataError::io(&dir))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(DataError::io(&path))?;
            if path.extension().is_some_and(|s| s.eq_ignore_ascii_case(suffix)) && path.is_file() {
                found.push(path);
            } else if depth < 2 && (kind.is_dir() || (kind.is_symlink() && path.is_dir())) {
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
fn from_hub(given: &str, name: &str) -> DataResult<Kind> {
    let name: RepoName = name.parse()?;
    let snapshot = Hub::from_env().snapshot(&name)?;
    let paths = |suffix: &str| {
        let wanted = |file: &&PathBuf| file.extension().is_some_and(|s| s.eq_ignore_ascii_case(suffix));
        snapshot.files.iter().filter(wanted).cloned().collect::<Vec<_>>()
    };
    let relative = |file: &PathBuf| file.strip_prefix(&snapshot.folder).unwrap_or(file).to_string_lossy().into_owned();
    let (parquet, tar) = (paths("parquet"), paths("tar"));
    if !parquet.is_empty() {
        return Ok(Kind::Parquet(sides(&parquet, relative), &[], Default::default()));
    }
    if !tar.is_empty() {
        return Ok(Kind::Tar(sides(&tar, relative)));
    }
    match snapshot.files.is_empty() {
        true => Err(DataError::NoFiles { given: given.to_string(), suffix: "parquet" }),
        false => Ok(Kind::Folder(snapshot.folder)),
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
