//! Where the images of tar shards lie, and their labels.
//!
//! A member's key is its path up to the first dot of its file name; members of one key that follow each other make a sample. Of
//! several images in it (`0001.jpg`, `0001.seg.png`) the one with the shortest suffix counts; `cls` holds the label.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tar::Archive;

use super::super::error::{DataError, DataResult};
use super::super::index_cache::{self, Packer, Unpacker, file_state};
use super::super::label_words::LabelWords;
use super::super::names::{Names, bytes_of, os_name};
use super::super::source::{SUFFIXES, has_image_suffix};
use super::super::spans::Spans;

/// The longest label that is read.
const LONGEST_LABEL: u64 = 4096;

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
}

/// A shard as it was when it was indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    state: (u64, u64), // size and time
}

/// The members of the sample at hand.
#[derive(Default)]
struct Sample {
    key: Vec<u8>,
    image: Option<(Vec<u8>, Range<u64>)>,
    label: Option<String>,
}

impl Index {
    /// The index of `files`: that of last time where no shard has changed, else a new one.
    pub(super) fn open(files: &[PathBuf], cache: Option<&Path>) -> DataResult<Self> {
        let shards: Vec<Shard> = files
            .iter()
            .map(|path| Ok(Shard { path: path.clone(), state: file_state(path).map_err(DataError::io(path))? }))
            .collect::<DataResult<_>>()?;
        let kept = cache.zip(files.first()).map(|(cache, first)| index_cache::file_for(cache, "tar", first));
        if let Some(index) = kept.as_deref().and_then(|kept| Self::unpack(&index_cache::read(kept)?, &shards)) {
            return Ok(index);
        }
        let mut index = Self::default();
        for shard in shards {
            let file = File::open(&shard.path).map_err(DataError::io(&shard.path))?;
            index.add(file, shard.state.0).map_err(|reason| DataError::format(&shard.path, reason))?;
            index.shards.push(shard);
        }
        if index.names.len() == 0 {
            let suffixes = SUFFIXES.map(|s| format!(".{s}")).join(" ");
            let path = files.first().cloned().unwrap_or_default();
            return Err(DataError::NoImages { path, suffixes });
        }
        index.names.shrink();
        if let Some(kept) = kept.filter(|_| index.names.len() >= index_cache::WORTHWHILE) {
            index_cache::write(&kept, &index.pack());
        }
        Ok(index)
    }

    /// Adds the samples of one shard of `length` bytes.
    pub(in super::super) fn add(&mut self, shard: impl Read + Seek, length: u64) -> Result<(), String> {
        let before = self.names.len();
        let mut archive = Archive::new(shard);
        let mut sample = Sample::default();
        for member in archive.entries_with_seek().map_err(no_tar)? {
            let mut member = member.map_err(no_tar)?;
            if !member.header().entry_type().is_file() {
                continue;
            }
            let path = member.path_bytes().into_owned();
            let start = member.raw_file_position();
            let end = start.checked_add(member.size()).filter(|&end| end <= length).ok_or_else(|| {
                let (name, size) = (String::from_utf8_lossy(&path).into_owned(), member.size());
                format!(
                    "cut off in the member {name}: {size} bytes at {start}, expected them below the end at {length}"
                )
            })?;
            let (key, suffix) = key_and_suffix(&path);
            if sample.key != key {
                self.push(std::mem::take(&mut sample))?;
                sample.key = key.to_vec();
            }
            if suffix == b"cls" {
                let mut text = String::new();
                member.by_ref().take(LONGEST_LABEL).read_to_string(&mut text).map_err(|error| {
                    format!("the label {}: {error}, expected a number or a word", String::from_utf8_lossy(&path))
                })?;
                sample.label = Some(text.trim().to_owned()).filter(|label| !label.is_empty());
            } else if has_image_suffix(Path::new(&os_name(&path))) {
                let dots = |path: &[u8]| path.iter().filter(|&&byte| byte == b'.').count();
                if sample.image.as_ref().is_none_or(|(known, _)| dots(&path) < dots(known)) {
                    sample.image = Some((path, start..end));
                }
            }
        }
        self.push(sample)?;
        let count = self.names.len() - before;
        self.spans.push(count).ok_or_else(|| "more images than 32 bits can number".to_owned())
    }

    fn push(&mut self, sample: Sample) -> Result<(), String> {
        let Some((path, at)) = sample.image else { return Ok(()) };
        let size = u32::try_from(at.end - at.start);
        let size = size.map_err(|_| format!("the image {} has 4 GiB or more", String::from_utf8_lossy(&path)))?;
        self.names.push(&path).ok_or("the names of the images take 4 GiB, expected less")?;
        self.offsets.push(at.start);
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
            let state = (unpacker.number()?, unpacker.number()?);
            if *shard != (Shard { path, state }) {
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
        let count = names.len();
        let fits = [spans.total() as usize, offsets.len(), sizes.len(), words.of_images().len()] == [count; 4];
        (fits && spans.groups() == shards.len()).then(|| Self {
            shards: shards.to_vec(),
            spans,
            names,
            offsets,
            sizes,
            words,
        })
    }
}

/// A path up to the first dot of its file name, and what follows that dot.
fn key_and_suffix(path: &[u8]) -> (&[u8], &[u8]) {
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    match path[name..].iter().position(|&byte| byte == b'.') {
        Some(dot) => (&path[..name + dot], &path[name + dot + 1..]),
        None => (path, b""),
    }
}

fn no_tar(error: std::io::Error) -> String {
    format!("no tar archive, or a damaged one: {error}; expected plain tar, not compressed")
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
