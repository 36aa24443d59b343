//! Parquet files in the hub's image layout: a struct of `bytes` and `path`, and an integer label.
//!
//! Labels and the places of the row groups are read when a file is opened; the images of a row group when one of them is asked
//! for, all at once, and kept while their window of the shuffled order lasts ([`super::blocks`]).

mod column;
mod pages;
mod schema;

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::blocks::{BlockCache, Blocks};
use super::error::{DataError, DataResult};
use super::source::{NO_LABEL, Opened, Source, Split, Stored, some_label};
use super::spans::Spans;
use super::splits::Sides;
use column::{Chunk, Images};
pub(super) use schema::Layout;

/// Classes that nobody names, at most: a label beyond is damage.
const MOST_CLASSES: i64 = 1 << 20;

/// One split.
struct ParquetShards {
    files: Vec<PathBuf>,
    rows: Spans,               // of each file
    row_groups: Vec<RowGroup>, // of all files
    labels: Vec<u32>,          // empty where there is no such column
    blocks: Blocks,            // a block is a row group
    cache: BlockCache<Result<Images, String>>,
}

/// Where the images of a row group are.
struct RowGroup {
    file: u32,
    images: Chunk,
}

/// What a file turned out to hold.
struct Opening {
    layout: Layout,
    groups: Vec<(usize, Chunk)>, // rows and images of each row group
    labels: Vec<Option<i64>>,
}

/// Opens one split of the files; `names` are the classes where the files do not name them.
pub(super) fn open(given: &str, files: &Sides<PathBuf>, split: Split, names: &[&str]) -> DataResult<Opened> {
    let open_all = |files: &[PathBuf]| files.iter().map(|file| Opening::read(file)).collect::<DataResult<Vec<_>>>();
    if split == Split::Test && files.test.is_empty() {
        let expected = "files called validation..., val... or test... beside those to train on";
        return Err(DataError::NoSplit { given: given.to_string(), split: "test", expected });
    }
    let (wanted, other) = match split {
        Split::Train => (&files.train, &files.test),
        Split::Test => (&files.test, &files.train),
    };
    let opened = open_all(wanted)?;
    same_layout(wanted, &opened)?;
    // The classes are those that the files name; else as many as the labels of both splits ask for.
    let mut classes = opened.iter().find_map(|o| o.layout.class_names.clone()).unwrap_or_default();
    if classes.is_empty() {
        classes = names.iter().map(ToString::to_string).collect();
    }
    if classes.is_empty() && opened[0].layout.has_labels() {
        let others = open_all(other)?;
        let labels = opened.iter().chain(&others).flat_map(|o| o.labels.iter().flatten());
        let most = labels.max().copied().unwrap_or(-1);
        if most >= MOST_CLASSES {
            let reason = format!("label {most}, expected classes counted from 0, below {MOST_CLASSES}");
            return Err(DataError::format(&wanted[0], reason));
        }
        let count = usize::try_from(most + 1).unwrap_or(0);
        classes = (0..count).map(|class| class.to_string()).collect();
    }
    let source = ParquetShards::new(wanted, opened, classes.len())?;
    Ok(Opened { source: Box::new(source), has_test_split: !files.test.is_empty(), classes })
}

/// All files hold the same columns, of the same kinds.
fn same_layout(files: &[PathBuf], opened: &[Opening]) -> DataResult<()> {
    let Some((first, rest)) = opened.split_first() else {
        return Err(DataError::config("data.source", "no parquet file, expected at least one"));
    };
    for (file, other) in files[1..].iter().zip(rest) {
        if let Some(difference) = first.layout.difference(&other.layout) {
            let reason = format!("{difference} as in {}: all files of a set have one schema", files[0].display());
            return Err(DataError::format(file, reason));
        }
    }
    Ok(())
}

impl Opening {
    fn read(path: &Path) -> DataResult<Self> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let length = file.metadata().map_err(DataError::io(path))?.len();
        let fail = |reason: String| DataError::format(path, reason);
        let (layout, row_groups) = schema::read(&file, length).map_err(fail)?;
        let mut opening = Self { layout, groups: Vec::new(), labels: Vec::new() };
        for (number, group) in row_groups.into_iter().enumerate() {
            if let Some(labels) = group.labels {
                let read = labels.read_bytes(path).and_then(|bytes| labels.integers(bytes, group.rows));
                let values = read.map_err(|reason| fail(format!("the labels of row group {number}: {reason}")))?;
                opening.labels.extend(values);
            }
            opening.groups.push((group.rows, group.images));
        }
        Ok(opening)
    }
}

impl ParquetShards {
    fn new(files: &[PathBuf], opened: Vec<Opening>, classes: usize) -> DataResult<Self> {
        let (mut rows, mut groups, mut row_groups) = (Spans::default(), Spans::default(), Vec::new());
        let (mut labels, mut most) = (Vec::new(), 0);
        for (number, (opening, file)) in opened.into_iter().zip(files).enumerate() {
            let too_many = || DataError::format(file, "more images than 32 bits can number");
            for (row, label) in opening.labels.iter().enumerate() {
                labels.push(
                    class_of(*label, classes)
                        .map_err(|reason| DataError::format(file, format!("row {row}: {reason}")))?,
                );
            }
            let before = groups.total();
            for (count, images) in opening.groups {
                most = most.max(images.bytes_in_memory());
                groups.push(count).ok_or_else(too_many)?;
                row_groups.push(RowGroup { file: number as u32, images });
            }
            rows.push((groups.total() - before) as usize).ok_or_else(too_many)?;
        }
        if groups.total() == 0 {
            return Err(DataError::format(&files[0], "no rows, expected at least one image"));
        }
        labels.shrink_to_fit();
        let blocks = Blocks::new(groups, most);
        let cache = BlockCache::new(blocks.window);
        Ok(Self { files: files.to_vec(), rows, row_groups, labels, blocks, cache })
    }

    /// The images of a row group, from memory or from its file.
    fn load(&self, group: usize) -> Result<Images, String> {
        let RowGroup { file, images } = &self.row_groups[group];
        let rows = self.blocks.spans.range(group).len();
        let bytes = images.read_bytes(&self.files[*file as usize])?;
        images.byte_arrays(bytes, rows)
    }
}

/// The class of a label; -1 is the hub's word for none.
fn class_of(label: Option<i64>, classes: usize) -> Result<u32, String> {
    match label {
        None | Some(-1) => Ok(NO_LABEL),
        Some(label) => match usize::try_from(label) {
            Ok(class) if class < classes => Ok(class as u32),
            _ => Err(format!("label {label}, expected 0 to {}, or -1 for none", classes.saturating_sub(1))),
        },
    }
}

impl Source for ParquetShards {
    fn len(&self) -> usize {
        self.blocks.spans.total() as usize
    }

    fn label(&self, i: usize) -> Option<u32> {
        some_label(self.labels.get(i).copied()?)
    }

    fn name(&self, i: usize) -> String {
        let file = self.rows.group_of(i as u32);
        let row = i as u32 - self.rows.range(file).start;
        format!("{}/{row}", self.files[file].file_name().unwrap_or_default().to_string_lossy())
    }

    fn path(&self, i: usize) -> PathBuf {
        let file = self.rows.group_of(i as u32);
        self.files[file].join((i as u32 - self.rows.range(file).start).to_string())
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        let group = self.blocks.spans.group_of(i as u32);
        let fail = |reason: &str| DataError::image(self.path(i), reason);
        let (slot, _) = self.cache.slot(group);
        let images = slot.get_or_init(|| self.load(group)).as_ref().map_err(|reason| fail(reason))?;
        let row = i - self.blocks.spans.range(group).start as usize;
        match images.get(row) {
            Some(bytes) => Ok(Stored::File(Cow::Owned(bytes.to_vec()))),
            None => Err(fail("the row holds no bytes, expected those of an image file")),
        }
    }

    fn blocks(&self) -> Option<&Blocks> {
        Some(&self.blocks)
    }
}
