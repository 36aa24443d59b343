//! Parquet files with a column of images ([`columns`]) and maybe one of labels ([`labels`]).
//!
//! Labels and the places of the images are read when a file is opened. Images are read a stretch of rows at a time
//! ([`stretches`]) when one of them is needed, and kept while their window of the shuffled order lasts ([`super::blocks`]).

mod column;
mod columns;
mod labels;
mod pages;
mod schema;
mod stretches;

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::blocks::{BlockCache, Blocks};
use super::error::{DataError, DataResult};
use super::source::{Opened, Source, Split, Stored, some_label};
use super::spans::Spans;
use super::splits::{Sides, missing};
use super::storage::Fault;
use column::{Chunk, Images};
use columns::Values;
pub(super) use columns::Wanted;
use labels::Labels;
use pages::Pages;
pub(super) use schema::Layout;
use stretches::Stretch;

/// One split.
struct ParquetShards {
    files: Vec<PathBuf>,
    rows: Spans,               // of each file
    row_groups: Vec<RowGroup>, // of all files
    parts: Vec<Part>,          // of all row groups
    labels: Vec<u32>,          // empty if there is no such column
    blocks: Blocks,            // a block is a part
    cache: BlockCache<Result<Images, Fault>>,
}

/// Where the images of a row group are.
struct RowGroup {
    file: u32,
    images: Chunk,
    pages: Pages, // empty if the row group is read whole
}

/// Images that are read together.
struct Part {
    row_group: u32,
    stretch: Stretch,
}

/// Content of a file.
struct Opening {
    layout: Layout,
    groups: Vec<(Chunk, Pages, Vec<Stretch>)>,
    labels: Labels,
}

/// Which parts of a file are read when it is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Layout,
    Labels,
    All,
}

/// Opens one split of the files; `names` are the classes if the files do not name them.
pub(super) fn open(
    given: &str,
    files: &Sides<PathBuf>,
    split: Split,
    names: &[&str],
    columns: &Wanted,
) -> DataResult<Opened> {
    let open_all = |files: &[PathBuf], depth| {
        files.iter().map(|file| Opening::read(file, depth, columns)).collect::<DataResult<Vec<_>>>()
    };
    let mut recognized = files.recognized("parquet files");
    let (wanted, other, expected) = match split {
        Split::Train => (&files.train, &files.test, "files called train..."),
        Split::Test => {
            (&files.test, &files.train, "files called validation..., val... or test... beside those to train on")
        }
    };
    if wanted.is_empty() {
        return Err(missing(given, split, &recognized.splits, expected));
    }
    let mut opened = open_all(wanted, Depth::All)?;
    same_layout(wanted, &opened)?;
    if let Some(reason) = opened.iter().find_map(|o| o.layout.no_label.clone()) {
        opened.iter_mut().for_each(|o| o.drop_labels(&reason));
        recognized.remarks.push(format!("no labels: {reason}"));
    }
    let mut others = open_all(other, Depth::Layout)?;
    same_layout(other, &others)?;
    let reference = reference(&opened);
    if let (Some(ours), Some(theirs)) = (reference, self::reference(&others))
        && let Some(difference) = ours.layout.other_classes(&theirs.layout)
    {
        let reason = format!("{difference} as in {}: all splits of a set have the same classes", wanted[0].display());
        return Err(DataError::format(&other[0], reason));
    }
    // The classes are those that the files name; else those of the labels of all splits.
    let all = || opened.iter().chain(&others);
    let of_values = all().filter_map(|o| o.layout.label.as_ref()).map(|label| label.values);
    let known = of_values.clone().find(|values| *values != Values::Nothing);
    let named = all().find_map(|o| o.layout.class_names.clone());
    let named = named.or((!names.is_empty()).then(|| names.iter().map(ToString::to_string).collect()));
    let classes = match (reference.filter(|o| o.layout.label.is_some()), known, named) {
        (None, ..) | (_, None, _) => Vec::new(),
        (_, Some(values), Some(names)) if values != Values::Words => names,
        (_, Some(values), _) => {
            others = open_all(other, Depth::Labels)?;
            labels::classes(values, opened.iter().chain(&others).map(|o| &o.labels))
        }
    };
    Sides::<PathBuf>::count(&mut recognized, split, &opened.iter().map(Opening::counts).collect::<Vec<_>>());
    let source = ParquetShards::new(wanted, opened, &classes)?;
    Ok(Opened::new(source, classes, recognized))
}

/// The file that others are compared with: the first one that holds labels, or the first one.
fn reference(opened: &[Opening]) -> Option<&Opening> {
    let holds_labels = |o: &&Opening| o.layout.label.as_ref().is_some_and(|label| label.values != Values::Nothing);
    opened.iter().find(holds_labels).or(opened.first())
}

/// All files of a split hold the same columns, of kinds that agree.
fn same_layout(files: &[PathBuf], opened: &[Opening]) -> DataResult<()> {
    let Some(first) = reference(opened) else { return Ok(()) };
    let place = opened.iter().position(|other| std::ptr::eq(other, first)).unwrap_or(0);
    for (file, other) in files.iter().zip(opened) {
        if let Some(difference) = first.layout.difference(&other.layout) {
            let reason = format!("{difference} as in {}: all files of a set have one schema", files[place].display());
            return Err(DataError::format(file, reason));
        }
    }
    Ok(())
}

impl Opening {
    fn read(path: &Path, depth: Depth, columns: &Wanted) -> DataResult<Self> {
        let mut file = File::open(path).map_err(DataError::io(path))?;
        let length = file.metadata().map_err(DataError::io(path))?.len();
        let fail = |reason: String| DataError::format(path, reason);
        let (layout, row_groups) = schema::read(&file, length, columns).map_err(fail)?;
        let mut opening = Self { layout, groups: Vec::new(), labels: Labels::default() };
        for (number, group) in row_groups.into_iter().enumerate() {
            let (in_group, rows) = (|reason: String| fail(format!("row group {number}: {reason}")), group.rows);
            if let (Some(labels), Some(column), true) = (group.labels, &opening.layout.label, depth != Depth::Layout) {
                let values = column.values;
                let bytes = labels.read_bytes(path).map_err(|fault| match fault {
                    Fault::System(_) => fault.of_image(path),
                    Fault::File(reason) => in_group(reason),
                })?;
                let read = labels.labels(bytes, rows, values, |label| opening.labels.push(label, values));
                let reason = read.map_err(|reason| format!("column {} ({}): {reason}", column.name, column.described));
                match reason {
                    // Measurements or captions: nobody said that they are labels.
                    Err(reason) if values.may_be_no_labels() && columns.label.is_none() => {
                        opening.drop_labels(&reason);
                    }
                    read => read.map_err(in_group)?,
                }
            }
            if depth == Depth::All {
                let images = group.images;
                let bytes = images.bytes_in_memory();
                let (pages, stretches) = if bytes <= stretches::WHOLE && rows <= stretches::MOST_ROWS {
                    (Pages::default(), vec![Stretch::whole(rows, bytes)])
                } else {
                    let pages = images.find_pages(&mut file).map_err(in_group)?;
                    let stretches = stretches::divide(&pages, rows).map_err(in_group)?;
                    (pages, stretches)
                };
                opening.groups.push((images, pages, stretches));
            }
        }
        Ok(opening)
    }
}

impl Opening {
    /// Takes the rows as unlabeled.
    fn drop_labels(&mut self, reason: &str) {
        (self.labels, self.layout.label) = (Labels::default(), None);
        self.layout.no_label = Some(reason.to_owned());
    }

    /// Images and labeled images.
    fn counts(&self) -> (usize, usize) {
        let rows = self.groups.iter().flat_map(|(_, _, stretches)| stretches).map(|stretch| stretch.rows).sum();
        (rows, self.labels.labeled())
    }
}

impl ParquetShards {
    fn new(files: &[PathBuf], opened: Vec<Opening>, classes: &[String]) -> DataResult<Self> {
        let (mut rows, mut spans, mut labels, mut most) = (Spans::default(), Spans::default(), Vec::new(), 0);
        let (mut row_groups, mut parts) = (Vec::new(), Vec::new());
        for (number, (opening, file)) in opened.into_iter().zip(files).enumerate() {
            let too_many = || DataError::format(file, "more images than 32 bits can number");
            labels.extend(opening.labels.numbered(classes).map_err(|reason| DataError::format(file, reason))?);
            let before = spans.total();
            for (images, pages, stretches) in opening.groups {
                let row_group = row_groups.len() as u32;
                row_groups.push(RowGroup { file: number as u32, images, pages });
                for stretch in stretches {
                    most = most.max(stretch.bytes);
                    spans.push(stretch.rows).ok_or_else(too_many)?;
                    parts.push(Part { row_group, stretch });
                }
            }
            rows.push((spans.total() - before) as usize).ok_or_else(too_many)?;
        }
        if spans.total() == 0 {
            return Err(DataError::format(&files[0], "no rows, expected at least one image"));
        }
        labels.shrink_to_fit();
        let blocks = Blocks::new(spans, most);
        let cache = BlockCache::new(blocks.window);
        Ok(Self { files: files.to_vec(), rows, row_groups, parts, labels, blocks, cache })
    }

    /// Reads the images of a part from its file.
    fn load(&self, part: usize) -> Result<Images, Fault> {
        let Part { row_group, stretch } = &self.parts[part];
        let RowGroup { file, images, pages } = &self.row_groups[*row_group as usize];
        let file = &self.files[*file as usize];
        let bytes = match pages.data.is_empty() {
            true => images.read_bytes(file)?,
            false => images.read_pages(file, pages, &pages.data[stretch.pages.clone()])?,
        };
        Ok(images.images(bytes, stretch.skip, stretch.rows)?)
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
        let part = self.blocks.spans.group_of(i as u32);
        let (slot, _) = self.cache.slot(part);
        let images = slot.get_or_init(|| self.load(part)).as_ref().map_err(|fault| {
            if fault.is_of_system() {
                self.cache.forget(part);
            }
            fault.clone().of_image(self.path(i))
        })?;
        let row = i - self.blocks.spans.range(part).start as usize;
        match images.get(row) {
            Some(bytes) => Ok(Stored::File(Cow::Owned(bytes.to_vec()))),
            None => Err(DataError::image(self.path(i), "the row holds no bytes, expected those of an image file")),
        }
    }

    fn blocks(&self) -> Option<&Blocks> {
        Some(&self.blocks)
    }
}
