//! Where the splits of a folder are, and the names of its classes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::splits::{TEST_NAMES, TRAIN_NAMES};
use super::tree::Tree;

/// Where the splits may lie: in the folder itself, or where ImageNet's archives unpack to.
const BASES: [&str; 3] = ["", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"];

/// Folders relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The folder that the splits lie in.
    pub(super) base: PathBuf,
    /// The train split: the whole folder where it has no splits.
    pub(super) train: PathBuf,
    /// The test split.
    pub(super) test: Option<PathBuf>,
}

impl Layout {
    /// Looks at the folders in `tree`.
    pub(super) fn find(tree: &Tree) -> Self {
        BASES.iter().find_map(|base| Self::below(tree, Path::new(base))).unwrap_or_default()
    }

    fn below(tree: &Tree, base: &Path) -> Option<Self> {
        let dirs: Vec<_> = children(tree, base).map(|dir| tree.dirs[dir].path.clone()).collect();
        let named = |names: &[&str]| {
            let is_named = |dir: &&PathBuf, name: &str| dir.file_name().is_some_and(|n| n.eq_ignore_ascii_case(name));
            names.iter().find_map(|name| dirs.iter().find(|dir| is_named(dir, name))).cloned()
        };
        let test = named(&TEST_NAMES);
        let train = named(&TRAIN_NAMES).filter(|_| test.is_some() || dirs.len() == 1)?;
        Some(Self { base: base.to_path_buf(), train, test })
    }

    /// The folders directly in `split` that hold an image, at any depth; sorted.
    pub(super) fn classes(&self, tree: &Tree, split: &Path) -> Vec<String> {
        let holds_images = |dir: &usize| !tree.files_in(tree.below(&tree.dirs[*dir].path)).is_empty();
        let name = |dir: usize| text(tree.dirs[dir].path.file_name().unwrap_or_default());
        children(tree, split).filter(holds_images).map(name).collect()
    }
}

/// The folders directly in `dir`, by number.
fn children(tree: &Tree, dir: &Path) -> impl Iterator<Item = usize> {
    let depth = dir.components().count() + 1;
    tree.below(dir).filter(move |&below| tree.dirs[below].path.components().count() == depth)
}

/// A name of the operating system as text.
pub(super) fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
