//! A folder of images: recognized splits, labels from the first folder level of a split, an order that does not depend on the
//! file system.
//!
//! `train/` is a split if `val/`, `test/` or another word for a test split stands beside it, if it is the only folder with
//! images, or if it holds folders of images itself; a flat `train/` among other folders is a class of trains. Without splits
//! every image belongs to the train split. The validation images of ImageNet and Tiny-ImageNet lie flat, with their labels in a
//! file ([`annotations`]). In a folder without splits the names of the files decide if every one has a word for a split
//! ([`named`]).

mod annotations;
mod layout;
mod named;
mod tree;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::error::{DataError, DataResult};
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::shards::{self, ShardKind};
use super::source::{NO_LABEL, Opened, SUFFIXES, Source, Split, Stored, some_label};
use super::spans::Spans;
use super::splits::{self, Chosen};
use super::storage::read_image;
use layout::Layout;
use tree::Tree;

/// The images of one split of a folder. Names are relative to the folder.
pub(super) struct Folder {
    root: PathBuf,
    tree: Tree,
    files: Vec<Range<u32>>, // those of the split, by folder
    spans: Spans,           // images of each range
    labels: Labels,
}

/// The classes of the images: by their folder, or one by one.
enum Labels {
    Dirs(Vec<u32>),
    Files(Vec<u32>),
}

/// A folder whose files are listed.
pub(super) struct Listed {
    root: PathBuf,
    tree: Tree,
}

impl Listed {
    /// Lists the files below `root`.
    pub(super) fn open(root: &Path) -> DataResult<Self> {
        Ok(Self { root: root.to_path_buf(), tree: Tree::open(root)? })
    }

    /// The kind of the shards in the folder, if it holds shards instead of images.
    ///
    /// # Errors
    /// Returns [`DataError::Mixed`] if the folder holds both.
    pub(super) fn shards(&self, given: &str) -> DataResult<Option<ShardKind>> {
        let images = self.tree.files.total();
        // Archives that are compressed lie beside the images that were unpacked from them.
        let counts = |file: &&PathBuf| images == 0 || !ShardKind::is_compressed(file);
        let shards: Vec<_> = self.tree.shards.iter().filter(counts).cloned().collect();
        let Some(kind) = shards::kind_of(&shards, given)? else { return Ok(None) };
        if images == 0 {
            return Ok(Some(kind));
        }
        let name = kind.name();
        let count = shards.iter().filter(|file| kind.is(file)).count();
        let found = format!("{images} image files and {count} .{name} files");
        Err(DataError::mixed(given, found, &format!("folder:DIR or {name}:DIR")))
    }
}

/// Opens one split of a folder.
pub(super) fn open(given: &str, listed: Listed, split: Split, chosen: &Chosen) -> DataResult<Opened> {
    let Listed { root, tree } = listed;
    let layout = Layout::find(&tree, chosen)?;
    let role = SplitRole::from(split);
    if tree.files.total() == 0 {
        let suffixes = SUFFIXES.map(|s| format!(".{s}")).join(" ");
        return Err(DataError::NoImages { path: root, suffixes });
    }

    // Classes are those of both splits, so that a class keeps its number.
    let mut classes = layout.classes(&tree, SplitRole::Train);
    let of_test = layout.classes(&tree, SplitRole::Test);
    let shared = of_test.iter().any(|class| classes.contains(class));
    let annotated = layout.with(SplitRole::Test).next().filter(|_| !classes.is_empty() && !shared);
    let notes = annotated.and_then(|test| annotations::find(&root, &layout.base, &test.top));
    if notes.is_none() {
        classes.extend(of_test);
        classes.sort_unstable();
        classes.dedup();
    }
    let of_dirs = labels_of_dirs(&tree, &layout, &classes);
    let recognized = describe(&tree, &layout, &of_dirs, notes.as_deref());
    let mut files: Vec<_> = match layout.named.is_empty() {
        true => layout.with(role).map(|split| tree.files_in(tree.below(&split.dir))).collect(),
        false => layout.named.iter().filter(|split| split.role == role).flat_map(|split| split.files.clone()).collect(),
    };
    files.retain(|range| !range.is_empty());
    if files.is_empty() {
        let expected = match split {
            Split::Train => "a folder train/ or training/",
            Split::Test => "a folder val/, validation/ or test/ beside train/",
        };
        return Err(splits::missing(given, split, &recognized.splits, expected));
    }
    let labels = match notes.filter(|_| split == Split::Test) {
        Some(file) => {
            let names: Vec<_> = files.iter().cloned().flatten().map(|i| tree.file_name(i)).collect();
            Labels::Files(annotations::labels(&file, &names, &classes)?)
        }
        None => Labels::Dirs(of_dirs),
    };
    let mut spans = Spans::default();
    for range in &files {
        // Their sum is at most that of the tree, which fits.
        let _ = spans.push(range.len());
    }
    Ok(Opened::new(Folder { root, tree, files, spans, labels }, classes, recognized))
}

/// The class of each folder: the first level below its split; none if images lie beside the class folders.
fn labels_of_dirs(tree: &Tree, layout: &Layout, classes: &[String]) -> Vec<u32> {
    let mut labels = vec![NO_LABEL; tree.dirs.len()];
    for split in layout.splits.iter().filter(|split| split.role != SplitRole::Unused) {
        for dir in tree.below(&split.dir) {
            let below = tree.dirs[dir].path.strip_prefix(&split.dir).ok().and_then(|below| below.components().next());
            let class = below.and_then(|class| classes.binary_search(&layout::text(class.as_os_str())).ok());
            labels[dir] = class.map_or(NO_LABEL, |class| class as u32);
        }
    }
    labels
}

/// What the folder was recognized as.
fn describe(tree: &Tree, layout: &Layout, labels: &[u32], notes: Option<&Path>) -> Recognized {
    let place = |dir: &Path| if dir.as_os_str().is_empty() { ".".into() } else { format!("{}/", slashed(dir)) };
    let mut recognized = Recognized::new(match layout.base.as_os_str().is_empty() {
        true => "folders of images".to_owned(),
        false => format!("folders of images in {}", place(&layout.base)),
    });
    let mut in_splits = 0;
    for split in &layout.named {
        let mut found = RecognizedSplit::new(&split.name, split.role, vec![place(&layout.base)]);
        let images = || split.files.iter().cloned().flatten();
        found.images = Some(images().count() as u64);
        let labeled = images().filter(|&file| labels[tree.files.group_of(file)] != NO_LABEL).count();
        found.labeled = Some(labeled as u64);
        in_splits += images().count();
        recognized.splits.push(found);
    }
    if !layout.named.is_empty() {
        recognized.remarks.push("the words in the file names give the splits".to_owned());
    }
    if let Some((count, first)) = &layout.unclear {
        recognized.remarks.push(format!(
            "images with a word for a test split in their names, such as {first}, are trained on: {count}; file names \
             give the splits only if every name has a word, and some have train"
        ));
    }
    for split in layout.splits.iter().filter(|_| layout.named.is_empty()) {
        let dirs = tree.below(&split.dir);
        let images = tree.files_in(dirs.clone()).len();
        in_splits += images;
        let mut found = RecognizedSplit::new(&split.name, split.role, vec![place(&split.dir)]);
        found.images = Some(images as u64);
        if split.role != SplitRole::Unused && (notes.is_none() || split.role == SplitRole::Train) {
            let labeled = dirs.filter(|&dir| labels[dir] != NO_LABEL).map(|dir| tree.files.range(dir).len());
            found.labeled = Some(labeled.sum::<usize>() as u64);
        }
        recognized.splits.push(found);
    }
    let beside = tree.files.total() as usize - in_splits;
    if beside > 0 {
        recognized.remarks.push(format!("{beside} images lie outside the splits and are not read"));
    }
    if let Some(file) = notes {
        recognized.remarks.push(format!("the labels of the test split come from {}", file.display()));
    }
    if let Some(name) = &layout.split_as_class {
        recognized.remarks.push(format!(
            "the folder {name}/ is taken as a class, because other folders are beside it: data.train_splits names the folders              to train on"
        ));
    }
    tree.passed_over.in_dirs(0..tree.dirs.len()).for_each(|(suffix, files)| recognized.pass_over(suffix, files));
    recognized
}

/// A relative path with slashes on every system.
fn slashed(path: &Path) -> String {
    path.components().map(Component::as_os_str).map(layout::text).collect::<Vec<_>>().join("/")
}

impl Folder {
    /// The number in the tree of image `i` of the split.
    fn at(&self, i: usize) -> u32 {
        let range = self.spans.group_of(i as u32);
        self.files[range].start + (i as u32 - self.spans.range(range).start)
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.spans.total() as usize
    }

    fn label(&self, i: usize) -> Option<u32> {
        some_label(match &self.labels {
            Labels::Dirs(labels) => labels[self.tree.files.group_of(self.at(i))],
            Labels::Files(labels) => labels[i],
        })
    }

    fn name(&self, i: usize) -> String {
        slashed(&self.tree.path(self.at(i)))
    }

    fn path(&self, i: usize) -> PathBuf {
        self.root.join(self.tree.path(self.at(i)))
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        Ok(Stored::File(Cow::Owned(read_image(&self.path(i))?)))
    }
}
