//! A folder of images: recognised splits, labels from the first folder level, an order that does not depend on the
//! file system.
//!
//! `train/` is a split where `val/`, `validation/` or `test/` stands beside it (in this order, the first one found is the
//! test split), or where it is the only folder; a `train` among other folders is a class of trains. Without splits every
//! image belongs to the train split. ImageNet's and Tiny-ImageNet's folders are such: their validation images lie flat, with
//! their labels in a file ([`annotations`]).

mod annotations;
mod layout;
mod tree;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::error::{DataError, DataResult};
use super::source::{NO_LABEL, Opened, SUFFIXES, Source, Split, Stored, some_label};
use super::storage::read_image;
use layout::Layout;
use tree::Tree;

/// The images of one split of a folder. Names are relative to the folder.
pub(super) struct Folder {
    root: PathBuf,
    tree: Tree,
    files: Range<u32>, // those of the split
    labels: Labels,
}

/// The classes of the images: by their folder, or one by one.
enum Labels {
    Dirs(Vec<u32>),
    Files(Vec<u32>),
}

/// Opens one split of the folder `root`.
pub(super) fn open(given: &str, root: &Path, split: Split) -> DataResult<Opened> {
    let tree = Tree::open(root)?;
    let layout = Layout::find(&tree);
    let dir = match split {
        Split::Train => layout.train.clone(),
        Split::Test => layout.test.clone().ok_or_else(|| DataError::NoSplit {
            given: given.to_string(),
            split: "test",
            expected: "a folder val/, validation/ or test/ beside train/",
        })?,
    };
    let files = tree.files_in(tree.below(&dir));
    if files.is_empty() {
        return Err(DataError::NoImages {
            path: root.join(dir),
            suffixes: SUFFIXES.map(|s| format!(".{s}")).join(" "),
        });
    }

    // Classes are those of both splits, so that a class keeps its number.
    let mut classes = layout.classes(&tree, &layout.train);
    let of_test = layout.test.iter().flat_map(|test| layout.classes(&tree, test)).collect::<Vec<_>>();
    let shared = of_test.iter().any(|class| classes.contains(class));
    let annotated = layout.test.as_ref().filter(|_| !classes.is_empty() && !shared);
    let notes = annotated.and_then(|test| annotations::find(root, &layout.base, test));
    if notes.is_none() {
        classes.extend(of_test);
        classes.sort_unstable();
        classes.dedup();
    }
    let labels = match notes.filter(|_| split == Split::Test) {
        Some(file) => {
            let names: Vec<_> = files.clone().map(|i| tree.file_name(i)).collect();
            Labels::Files(annotations::labels(&file, &names, &classes)?)
        }
        None => Labels::Dirs(labels_of_dirs(&tree, &dir, &classes)),
    };
    let folder = Folder { root: root.to_path_buf(), tree, files, labels };
    Ok(Opened { source: Box::new(folder), has_test_split: layout.test.is_some(), classes })
}

/// The class of each folder: the first level below the split; none where images lie beside the class folders.
fn labels_of_dirs(tree: &Tree, split: &Path, classes: &[String]) -> Vec<u32> {
    let label = |dir: &Path| {
        let class = layout::text(dir.strip_prefix(split).ok()?.components().next()?.as_os_str());
        classes.binary_search(&class).ok()
    };
    tree.dirs.iter().map(|dir| label(&dir.path).map_or(NO_LABEL, |class| class as u32)).collect()
}

impl Folder {
    /// The number in the tree of image `i` of the split.
    fn at(&self, i: usize) -> u32 {
        self.files.start + i as u32
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        some_label(match &self.labels {
            Labels::Dirs(labels) => labels[self.tree.files.group_of(self.at(i))],
            Labels::Files(labels) => labels[i],
        })
    }

    fn name(&self, i: usize) -> String {
        let path = self.tree.path(self.at(i));
        path.components().map(Component::as_os_str).map(layout::text).collect::<Vec<_>>().join("/")
    }

    fn path(&self, i: usize) -> PathBuf {
        self.root.join(self.tree.path(self.at(i)))
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        Ok(Stored::File(Cow::Owned(read_image(&self.path(i))?)))
    }
}
