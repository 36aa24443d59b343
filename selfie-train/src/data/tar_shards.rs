//! WebDataset shards: tar archives whose members `KEY.jpg` and `KEY.cls` make one labelled image.
//!
//! Where each image lies is found out once and kept ([`index`]); images are then read straight out of the shards, whole stretches
//! at a time where they are read in order.

mod index;
mod scan;
mod unpacked;

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;

use super::blocks::{Blocks, PieceReader};
use super::error::DataResult;
use super::index_cache;
use super::label_words::class_names;
use super::source::{Opened, Source, Split, Stored, some_label};
use super::spans::Spans;
use super::splits::{Sides, missing};
pub(super) use index::Index;

/// Bytes that are read in one go.
const STRETCH: u64 = 4 << 20;

/// The images of one split.
struct TarShards {
    index: Index,
    labels: Vec<u32>, // empty where no image has one
    blocks: Blocks,
    reader: PieceReader,
}

/// Opens one split of the shards.
pub(super) fn open(given: &str, shards: &Sides<PathBuf>, split: Split) -> DataResult<Opened> {
    let cache = index_cache::folder();
    let index_of = |files: &[PathBuf]| match files.is_empty() {
        true => Ok(None),
        false => Index::open(files, cache.as_deref()).map(Some),
    };
    let (train, test) = (index_of(&shards.train)?, index_of(&shards.test)?);
    let sets: Vec<_> = train.iter().chain(&test).map(|index| &index.words).collect();
    let classes = class_names(&sets);
    let mut recognized = shards.recognized("tar shards");
    for (split, index) in [(Split::Train, &train), (Split::Test, &test)] {
        if let Some(index) = index {
            Sides::<PathBuf>::count(&mut recognized, split, &index.counts());
            if index.labels_apart > 0 {
                recognized.remarks.push(format!(
                    "{} labels do not lie beside an image of the same name, and are not used",
                    index.labels_apart
                ));
            }
        }
    }
    let wanted = if split == Split::Train { train } else { test };
    let mut index = wanted.ok_or_else(|| {
        let expected = match split {
            Split::Train => "shards called train...",
            Split::Test => "shards called val..., validation... or test... beside those to train on",
        };
        missing(given, split, &recognized.splits, expected)
    })?;
    let labels = std::mem::take(&mut index.words).numbered(&classes);
    let blocks = blocks(&index);
    let reader = PieceReader::new(&blocks);
    Ok(Opened::new(TarShards { index, labels, blocks, reader }, classes, recognized))
}

/// Stretches of about [`STRETCH`] bytes, none across two shards.
fn blocks(index: &Index) -> Blocks {
    let (mut spans, mut most) = (Spans::default(), 0);
    for shard in 0..index.spans.groups() {
        let images = index.spans.range(shard);
        let mut start = images.start;
        for i in images.clone() {
            let length = index.piece(i).end - index.piece(start).start;
            if i + 1 == images.end || length >= STRETCH {
                // Their sum is that of the index, which fits.
                let _ = spans.push((i + 1 - start) as usize);
                most = most.max(length);
                start = i + 1;
            }
        }
    }
    Blocks::new(spans, most)
}

impl TarShards {
    /// The bytes from the first image of a block to the end of the last.
    fn stretch(&self, block: usize) -> Range<u64> {
        let images = self.blocks.spans.range(block);
        self.index.piece(images.start).start..self.index.piece(images.end - 1).end
    }
}

impl Source for TarShards {
    fn len(&self) -> usize {
        self.index.names.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        some_label(self.labels.get(i).copied()?)
    }

    fn name(&self, i: usize) -> String {
        let shard = &self.index.shards[self.index.spans.group_of(i as u32)].path;
        format!("{}/{}", shard.file_name().unwrap_or_default().to_string_lossy(), self.index.names.text(i))
    }

    fn path(&self, i: usize) -> PathBuf {
        self.index.shards[self.index.spans.group_of(i as u32)].path.join(&*self.index.names.text(i))
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        let number = i as u32;
        let shard = &self.index.shards[self.index.spans.group_of(number)];
        let block = self.blocks.spans.group_of(number);
        let bytes = self.reader.read(block, self.stretch(block), &shard.plain, self.index.piece(number));
        Ok(Stored::File(Cow::Owned(bytes.map_err(|fault| fault.of_image(self.path(i)))?)))
    }

    fn blocks(&self) -> Option<&Blocks> {
        Some(&self.blocks)
    }
}
