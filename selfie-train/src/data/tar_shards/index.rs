//! Where the images of tar shards lie, and their labels ([`super::scan`]); kept for the next start.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::error::{DataError, DataResult};
use super::super::index_cache::{self, Packer, Unpacker, file_state};
use super::super::label_words::LabelWords;
use super::super::names::{Names, bytes_of, os_name};
use super::super::source::{NO_LABEL, SUFFIXES};
use super::super::spans::Spans;
use super::scan::{Found, Sample, scan};
use super::unpacked;

/// All images of a set of shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Index {
    pub(super) shards: Vec<Shard>,
    /// Which images are in which shard.
    pub(super) spans: Spans,
    /// The path of each image in its shard.
    pub(super) names: Names,
    offsets: Vec<u64>,
    sizes: Vec<u32>,
    pub(super) words: LabelWords,
    /// Labels that no image lies beside.
    pub(super) labels_apart: u32,
    /// An archive in a shard that is not read.
    unread: Option<String>,
}

/// A shard as it was when it was indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    /// The plain archive: the shard, or what it unpacks to.
    pub(super) plain: PathBuf,
    state: (u64, u64), // size and time
}

impl Index {
    /// The index of `files`: the kept one if no shard has changed, else a new one.
    pub(super) fn open(files: &[PathBuf], cache: Option<&Path>) -> DataResult<Self> {
        let shards: Vec<Shard> = files.iter().map(|path| Shard::open(path, cache)).collect::<DataResult<_>>()?;
        let kept = cache.zip(files.first()).map(|(cache, first)| index_cache::file_for(cache, "shards", first));
        if let Some(index) = kept.as_deref().and_then(|kept| Self::unpack(&index_cache::read(kept)?, &shards)) {
            return Ok(index);
        }
        let mut index = Self::default();
        for shard in shards {
            let file = File::open(&shard.plain).map_err(DataError::io(&shard.plain))?;
            let length = file.metadata().map_err(DataError::io(&shard.plain))?.len();
            index.add(file, length).map_err(|reason| DataError::format(&shard.path, reason))?;
            index.shards.push(shard);
        }
        if index.names.len() == 0 {
            let path = files.first().cloned().unwrap_or_default();
            return Err(match index.unread {
                Some(inner) => {
                    let reason = format!("no images, but archives such as {inner}, expected those unpacked");
                    DataError::format(path, reason)
                }
                None => DataError::NoImages { path, suffixes: SUFFIXES.map(|s| format!(".{s}")).join(" ") },
            });
        }
        index.names.shrink();
        if let Some(kept) = kept.filter(|_| index.names.len() >= index_cache::WORTHWHILE) {
            index_cache::write(&kept, &index.pack());
        }
        Ok(index)
    }

    /// Adds the samples of one shard of `length` bytes.
    pub(in super::super) fn add(&mut self, mut shard: impl Read + Seek, length: u64) -> Result<(), String> {
        let Found { samples, labels_apart, unread, splits } = scan(&mut shard, length)?;
        if let [Some(train), Some(test)] = splits {
            return Err(format!(
                "an archive of the folders {train} and {test}, expected shards of one split each\nhint: unpack it, and use \
                 the folder"
            ));
        }
        let count = samples.len();
        samples.into_iter().try_for_each(|sample| self.push(&sample))?;
        self.labels_apart = self.labels_apart.saturating_add(u32::try_from(labels_apart).unwrap_or(u32::MAX));
        self.unread = self.unread.take().or(unread);
        self.spans.push(count).ok_or_else(|| "more images than 32 bits can number".to_owned())
    }

    /// Images and labeled images of each shard.
    pub(super) fn counts(&self) -> Vec<(usize, usize)> {
        let words = self.words.of_images();
        let of_shard = |shard: usize| {
            let images = self.spans.range(shard).start as usize..self.spans.range(shard).end as usize;
            (images.len(), words[images].iter().filter(|&&word| word != NO_LABEL).count())
        };
        (0..self.spans.groups()).map(of_shard).collect()
    }

    fn push(&mut self, sample: &Sample) -> Result<(), String> {
        let size = u32::try_from(sample.bytes.end - sample.bytes.start);
        let size = size.map_err(|_| {
            format!("the image {} has 4 GiB or more", String::from_utf8_lossy(&sample.path).escape_debug())
        })?;
        self.names.push(&sample.path).ok_or("the names of the images take 4 GiB, expected less")?;
        self.offsets.push(sample.bytes.start);
        self.sizes.push(size);
        self.words.push(sample.label.as_deref());
        Ok(())
    }

    /// The bytes of image `i` in its shard.
    pub(super) fn piece(&self, i: u32) -> Range<u64> {
        let start = self.offsets[i as usize];
        start..start + u64::from(self.sizes[i as usize])
    }

    fn pack(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.number(self.shards.len() as u64);
        for shard in &self.shards {
            packer.bytes(&bytes_of(shard.path.as_os_str()));
            packer.number(shard.state.0);
            packer.number(shard.state.1);
        }
        packer.numbers(self.spans.ends());
        let (bytes, ends) = self.names.parts();
        packer.bytes(bytes);
        packer.numbers(ends);
        let (low, high): (Vec<u32>, Vec<u32>) = self.offsets.iter().map(|o| (*o as u32, (*o >> 32) as u32)).unzip();
        packer.numbers(&low);
        packer.numbers(&high);
        packer.numbers(&self.sizes);
        packer.number(self.words.words().len() as u64);
        self.words.words().iter().for_each(|word| packer.bytes(word.as_bytes()));
        packer.numbers(self.words.of_images());
        packer.number(u64::from(self.labels_apart));
        packer.finish()
    }

    /// The index that is kept, if it is that of `shards` as they are now.
    fn unpack(content: &[u8], shards: &[Shard]) -> Option<Self> {
        let mut unpacker = Unpacker(content);
        if unpacker.number()? != shards.len() as u64 {
            return None;
        }
        for shard in shards {
            let path: PathBuf = os_name(unpacker.bytes()?).into();
            if (&path, unpacker.number()?, unpacker.number()?) != (&shard.path, shard.state.0, shard.state.1) {
                return None;
            }
        }
        let spans = Spans::from_ends(unpacker.numbers()?)?;
        let names = Names::from_parts(unpacker.bytes()?.to_vec(), unpacker.numbers()?)?;
        let (low, high) = (unpacker.numbers()?, unpacker.numbers()?);
        let offsets: Vec<u64> =
            low.iter().zip(&high).map(|(&low, &high)| u64::from(low) | u64::from(high) << 32).collect();
        let sizes = unpacker.numbers()?;
        let mut words = Vec::new();
        for _ in 0..unpacker.number()? {
            words.push(String::from_utf8(unpacker.bytes()?.to_vec()).ok()?);
        }
        let words = LabelWords::from_parts(words, unpacker.numbers()?)?;
        let labels_apart = u32::try_from(unpacker.number()?).ok()?;
        let count = names.len();
        let fits = [spans.total() as usize, offsets.len(), sizes.len(), words.of_images().len()] == [count; 4];
        (fits && spans.groups() == shards.len()).then(|| Self {
            shards: shards.to_vec(),
            spans,
            names,
            offsets,
            sizes,
            words,
            labels_apart,
            unread: None,
        })
    }
}

impl Shard {
    fn open(path: &Path, cache: Option<&Path>) -> DataResult<Self> {
        let state = file_state(path).map_err(DataError::io(path))?;
        Ok(Self { path: path.to_path_buf(), plain: unpacked::plain(path, cache)?, state })
    }
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
