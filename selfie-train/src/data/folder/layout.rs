//! Where the splits of a folder are, and the names of its classes.
//!
//! Folders without images decide nothing. A single chain of folders above the splits or classes is passed through
//! (`archive/x/train`), and so is a folder within a split that holds all of it (`seg_train/seg_train`, `train/images`).

mod levels;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::error::DataResult;
use super::super::recognized::SplitRole;
use super::super::splits::{Chosen, known, roles};
use super::named::{self, NamedSplit, Names};
use super::tree::Tree;
use levels::{class_level, split_level};

/// Where the splits may lie although other folders with images are beside them: where ImageNet's archives unpack to.
const BASES: [&str; 2] = ["ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"];

/// Folders relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The folder that the splits or classes lie in.
    pub(super) base: PathBuf,
    /// All splits; the whole base as the train split if there are none.
    pub(super) splits: Vec<FolderSplit>,
    /// Whether a folder that is called like a split is a class.
    pub(super) split_as_class: Option<String>,
    /// The splits by the names of the files, if these are the splits; then the whole base is the one split by folders.
    pub(super) named: Vec<NamedSplit>,
    /// How many files have a word for a test split although the names are not the splits, and the first of them.
    pub(super) unclear: Option<(usize, String)>,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderSplit {
    pub(super) name: String,
    pub(super) role: SplitRole,
    /// The split's folder.
    pub(super) top: PathBuf,
    /// The folder at or below `top` that the classes or images lie in.
    pub(super) dir: PathBuf,
}

impl Layout {
    /// Looks at the folders in `tree`.
    ///
    /// # Errors
    /// Returns [`super::DataError::Config`] if a chosen split does not exist.
    pub(super) fn find(tree: &Tree, chosen: &Chosen) -> DataResult<Self> {
        for base in BASES {
            if let Some(layout) = Self::below(tree, Path::new(base), chosen)? {
                return Ok(layout);
            }
        }
        let mut base = PathBuf::new();
        loop {
            if let Some(layout) = Self::below(tree, &base, chosen)? {
                return Ok(layout);
            }
            match only_folder(tree, &base).filter(|inner| own_images(tree, inner) == 0) {
                Some(inner) => base = inner,
                None => break,
            }
        }
        let (named, unclear) = match named::look(tree, &base, chosen)? {
            Names::Splits(named) => (named, None),
            Names::Unclear(count, first) => (Vec::new(), Some((count, first))),
            Names::Plain => (Vec::new(), None),
        };
        if named.is_empty() {
            roles(&[("train", known("train"))], chosen)?;
        }
        let split = FolderSplit { name: "train".into(), role: SplitRole::Train, top: base.clone(), dir: base.clone() };
        let names = with_images(tree, &base).map(|dir| name_of(&dir));
        let split_as_class = names.filter(|name| known(name).is_some()).min();
        Ok(Self { base, splits: vec![split], split_as_class, named, unclear })
    }

    /// The splits directly in `base`, if its folders are splits.
    fn below(tree: &Tree, base: &Path, chosen: &Chosen) -> DataResult<Option<Self>> {
        let folders: Vec<PathBuf> = with_images(tree, base).collect();
        let names: Vec<String> = folders.iter().map(|dir| name_of(dir)).collect();
        let nested = |at: usize| with_images(tree, &folders[at]).next().is_some();
        let Some(purposes) = split_level(&names, nested, chosen) else { return Ok(None) };
        let named: Vec<_> = names.iter().map(String::as_str).zip(purposes).collect();
        let roles = roles(&named, chosen)?;
        let mut splits: Vec<_> = (names.iter().zip(&folders).zip(roles))
            .map(|((name, dir), role)| FolderSplit { name: name.clone(), role, top: dir.clone(), dir: dir.clone() })
            .collect();
        let mut classes = Vec::new();
        for role in [SplitRole::Train, SplitRole::Test] {
            for split in splits.iter_mut().filter(|split| split.role == role) {
                split.dir = class_level(tree, &split.top, &classes);
                classes.extend(classes_in(tree, &split.dir));
            }
        }
        Ok(Some(Self { base: base.to_path_buf(), splits, ..Self::default() }))
    }

    /// The splits with a role.
    pub(super) fn with(&self, role: SplitRole) -> impl Iterator<Item = &FolderSplit> {
        self.splits.iter().filter(move |split| split.role == role)
    }

    /// The folders in the splits with a role that hold an image, at any depth; sorted, each name once.
    pub(super) fn classes(&self, tree: &Tree, role: SplitRole) -> Vec<String> {
        let mut classes: Vec<_> = self.with(role).flat_map(|split| classes_in(tree, &split.dir)).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// The names of the folders directly in `dir` that hold an image, at any depth.
fn classes_in(tree: &Tree, dir: &Path) -> Vec<String> {
    with_images(tree, dir).map(|dir| name_of(&dir)).collect()
}

/// The folders directly in `dir` that hold an image, at any depth; sorted.
pub(super) fn with_images<'a>(tree: &'a Tree, dir: &Path) -> impl Iterator<Item = PathBuf> + use<'a> {
    let depth = dir.components().count() + 1;
    let children = tree.below(dir).filter(move |&below| tree.dirs[below].path.components().count() == depth);
    children.map(|child| &tree.dirs[child].path).filter(|child| images(tree, child) > 0).cloned()
}

/// Number of images in `dir` and below.
pub(super) fn images(tree: &Tree, dir: &Path) -> usize {
    tree.files_in(tree.below(dir)).len()
}

/// Number of images directly in `dir`.
pub(super) fn own_images(tree: &Tree, dir: &Path) -> usize {
    let start = tree.below(dir).start;
    tree.files_in(start..start + 1).len()
}

/// The only folder in `dir` with images, if no image lies beside it.
pub(super) fn only_folder(tree: &Tree, dir: &Path) -> Option<PathBuf> {
    let mut folders = with_images(tree, dir);
    let only = folders.next().filter(|_| own_images(tree, dir) == 0)?;
    folders.next().is_none().then_some(only)
}

/// The name of a folder.
pub(super) fn name_of(dir: &Path) -> String {
    text(dir.file_name().unwrap_or_default())
}

/// A name of the operating system as text.
pub(super) fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
