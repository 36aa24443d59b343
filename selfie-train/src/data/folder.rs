//! A folder of images: recognised splits, labels from the first folder level, an order that does not depend on the
//! file system.
//!
//! `train/` is a split where `val/`, `validation/` or `test/` stands beside it (in this order, the first one found is the
//! test split), or where it is the only folder; a `train` among other folders is a class of trains. Without splits every
//! image belongs to the train split. Files and folders whose name begins with a dot are ignored, links are followed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::error::{DataError, DataResult};
use super::source::{Source, Stored};

/// Suffixes of images, lower case; any case is accepted.
const SUFFIXES: [&str; 3] = ["jpg", "jpeg", "png"];

/// Names of the folder of the test split, the preferred one first.
const TEST_NAMES: [&str; 3] = ["val", "validation", "test"];

/// Where the splits of a folder are, and the classes that they share.
pub(super) struct Splits {
    /// Folder of the train split: the whole folder where it has no splits.
    pub(super) train: PathBuf,
    /// Folder of the test split.
    pub(super) test: Option<PathBuf>,
    /// Names of the first folder level below the splits that hold an image, sorted. A class keeps its number in both
    /// splits. Empty for flat folders.
    pub(super) classes: Vec<String>,
}

impl Splits {
    /// Looks at the first two levels of `root`.
    pub(super) fn find(root: &Path) -> DataResult<Self> {
        let dirs = subfolders(root)?;
        let named = |name: &str| dirs.iter().find(|d| file_name(d).eq_ignore_ascii_case(name));
        let test = TEST_NAMES.iter().find_map(|name| named(name)).cloned();
        let (train, test) = match named("train") {
            Some(train) if test.is_some() || dirs.len() == 1 => (train.clone(), test),
            _ => (root.to_path_buf(), None),
        };
        let mut classes = BTreeSet::new();
        for split in std::iter::once(&train).chain(&test) {
            for dir in subfolders(split)? {
                let class = file_name(&dir);
                if !classes.contains(&class) && holds_an_image(&dir)? {
                    classes.insert(class);
                }
            }
        }
        let classes = classes.into_iter().collect();
        Ok(Self { train, test, classes })
    }
}

/// The images below one split of a folder, sorted by relative path.
pub(super) struct Folder {
    root: PathBuf,
    files: Vec<Box<Path>>, // relative to the root
    labels: Vec<u32>,      // NO_LABEL where the image lies beside the class folders
}

const NO_LABEL: u32 = u32::MAX;

impl Folder {
    /// Lists the images below `split`, a folder at or below `root`. Names are relative to `root`.
    pub(super) fn scan(root: &Path, split: &Path, splits: &Splits) -> DataResult<Self> {
        let mut files: Vec<Box<Path>> = Vec::new();
        for file in images(split) {
            let file = file?;
            files.push(file.strip_prefix(root).unwrap_or(&file).into());
        }
        if files.is_empty() {
            return Err(DataError::NoImages {
                path: split.to_path_buf(),
                suffixes: SUFFIXES.map(|s| format!(".{s}")).join(" "),
            });
        }
        files.sort_unstable();
        let depth = split.strip_prefix(root).map_or(0, |p| p.components().count());
        let label = |file: &Path| {
            let mut below = file.components().skip(depth);
            let class = below.next().map(|c| c.as_os_str().to_string_lossy());
            below.next()?; // the first level is the file itself
            let found = splits.classes.binary_search_by(|c| Some(c.as_str()).cmp(&class.as_deref()));
            u32::try_from(found.ok()?).ok()
        };
        let labels = files.iter().map(|f| label(f).unwrap_or(NO_LABEL)).collect();
        Ok(Self { root: root.to_path_buf(), files, labels })
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        Some(self.labels[i]).filter(|&label| label != NO_LABEL)
    }

    fn name(&self, i: usize) -> String {
        let parts = self.files[i].components().map(Component::as_os_str);
        parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    fn path(&self, i: usize) -> PathBuf {
        self.root.join(&self.files[i])
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        let path = self.path(i);
        let bytes = std::fs::read(&path).map_err(|e| DataError::image(&path, e))?;
        Ok(Stored::File(bytes.into()))
    }
}

/// The image files below `dir`, in the file system's order. A link that leads nowhere but is named like an image is
/// listed too, so that loading it tells; a link back to a folder above is passed over.
fn images(dir: &Path) -> impl Iterator<Item = DataResult<PathBuf>> {
    let visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.path());
    let walk = WalkDir::new(dir).follow_links(true).into_iter();
    walk.filter_entry(visible).filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_dir() || !is_image(entry.path()) => None,
        Ok(entry) => Some(Ok(entry.into_path())),
        Err(error) if error.loop_ancestor().is_some() => None,
        Err(error) => {
            let path = error.path().unwrap_or(Path::new("")).to_path_buf();
            let source = error.into_io_error()?;
            match source.kind() {
                std::io::ErrorKind::NotFound => is_image(&path).then_some(Ok(path)),
                _ => Some(Err(DataError::Io { path, source })),
            }
        }
    })
}

fn holds_an_image(dir: &Path) -> DataResult<bool> {
    Ok(images(dir).next().transpose()?.is_some())
}

/// The folders in `dir`, hidden ones left out, sorted.
fn subfolders(dir: &Path) -> DataResult<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::io(dir))? {
        let path = entry.map_err(DataError::io(dir))?.path();
        if !is_hidden(&path) && path.is_dir() {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_image(path: &Path) -> bool {
    let suffix = path.extension().unwrap_or_default();
    !is_hidden(path) && SUFFIXES.iter().any(|s| suffix.eq_ignore_ascii_case(s))
}
