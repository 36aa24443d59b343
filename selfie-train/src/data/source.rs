//! From a `--data` string to the place that images come from.
//!
//! | string | is |
//! |---|---|
//! | `sample` | the photographs in the repository |
//! | `folder:DIR` | images anywhere below DIR |
//! | `cifar10:DIR` | the official CIFAR-10 binaries |
//! | `DIR` | CIFAR-10 binaries where DIR holds them, else images below DIR |
//!
//! A new kind of data is a type that implements [`Source`], an arm in [`open`] and a word in [`SCHEMES`].

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::cifar::Cifar;
use super::error::{DataError, DataResult};
use super::folder;
use super::image8::Image8;

/// The forms of a `--data` string, for messages.
pub(super) const SCHEMES: &str = "sample, folder:DIR, cifar10:DIR, or a bare DIR";

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images to train on; all of them where the data have no splits.
    Train,
    /// `val/`, `validation/` or `test/` of a folder, the test batch of CIFAR-10.
    Test,
}

/// Images behind one interface: numbered, named, maybe labelled, and loaded one at a time from any thread.
pub(super) trait Source: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Class of image `i`, if it has one.
    fn label(&self, i: usize) -> Option<u32>;
    /// A name that stays with image `i` whatever the order: its path relative to the data, or split and record.
    fn name(&self, i: usize) -> String;
    /// Where image `i` is, for messages: its file, or its name inside an archive.
    fn path(&self, i: usize) -> PathBuf {
        self.name(i).into()
    }
    /// Reads image `i`; an encoded one is decoded by whoever asked.
    fn read(&self, i: usize) -> DataResult<Stored<'_>>;
}

/// An image as its source holds it, borrowed where it lies in memory.
pub(super) enum Stored<'a> {
    /// The bytes of an image file.
    File(Cow<'a, [u8]>),
    /// The pixels.
    Pixels(Cow<'a, Image8>),
}

/// What [`open`] found.
pub(super) struct Opened {
    pub(super) source: Box<dyn Source>,
    pub(super) classes: Vec<String>,
    pub(super) has_test_split: bool,
}

/// Opens one split of the data that `given` names.
pub(super) fn open(given: &str, split: Split) -> DataResult<Opened> {
    match scheme(given) {
        Some(("folder", dir)) => open_folder(given, Path::new(dir), split),
        Some(("cifar10", dir)) => open_cifar(given, &existing_folder(dir)?, split),
        Some((scheme, _)) if !Path::new(given).exists() => {
            Err(DataError::UnknownScheme { scheme: scheme.to_string(), given: given.to_string() })
        }
        _ if given == "sample" => open_folder(given, &sample_dir(), split),
        _ => {
            let dir = existing_folder(given)?;
            match Cifar::find(&dir) {
                Some(_) => open_cifar(given, &dir, split),
                None => open_folder(given, &dir, split),
            }
        }
    }
}

/// Splits `word:rest`. One letter before the colon is a Windows drive, not a scheme; a path has no such word either.
fn scheme(given: &str) -> Option<(&str, &str)> {
    let (word, rest) = given.split_once(':')?;
    let is_word = word.len() > 1 && word.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then_some((word, rest))
}

fn open_folder(given: &str, dir: &Path, split: Split) -> DataResult<Opened> {
    let dir = existing_folder(dir)?;
    let splits = folder::Splits::find(&dir)?;
    let source = match split {
        Split::Train => folder::Folder::scan(&dir, &splits.train, &splits)?,
        Split::Test => {
            let missing = || DataError::NoSplit {
                given: given.to_string(),
                split: "test",
                expected: "a folder val/, validation/ or test/ beside train/",
            };
            let test = splits.test.as_ref().ok_or_else(missing)?;
            folder::Folder::scan(&dir, test, &splits)?
        }
    };
    Ok(Opened { source: Box::new(source), has_test_split: splits.test.is_some(), classes: splits.classes })
}

fn open_cifar(given: &str, dir: &Path, split: Split) -> DataResult<Opened> {
    let found = Cifar::find(dir).ok_or_else(|| {
        let reason = "no data_batch_1.bin here or in cifar-10-batches-bin/, expected the CIFAR-10 binary version";
        DataError::format(dir, reason)
    })?;
    let has_test_split = Cifar::has_test(&found);
    if split == Split::Test && !has_test_split {
        return Err(DataError::NoSplit {
            given: given.to_string(),
            split: "test",
            expected: "the file test_batch.bin",
        });
    }
    Ok(Opened { source: Box::new(Cifar::read(&found, split)?), classes: Cifar::class_names(), has_test_split })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_a_word_before_a_colon() {
        assert_eq!(scheme("cifar10:/data"), Some(("cifar10", "/data")));
        assert_eq!(scheme("C:\\photos"), None);
        assert_eq!(scheme("/data/a:b"), None);
        assert_eq!(scheme("photos"), None);
    }
}
