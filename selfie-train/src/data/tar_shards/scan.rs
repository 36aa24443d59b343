//! The samples of one tar archive, in the order of their bytes.
//!
//! A member's key is its path up to the first dot of its file name; members of one key that follow each other make a sample, as in
//! the library `webdataset`. Suffixes are compared in lower case. Of several images in a sample (`0001.jpg`, `0001.seg.png`) the
//! one with the shortest suffix counts; `cls` holds the label. Members with a hidden name or folder are passed over: macOS writes
//! `._NAME` beside each NAME, and folders called `__MACOSX`.
//!
//! An archive of archives, as ImageNet's `ILSVRC2012_img_train.tar` is, is read one level deep. The name of the inner archive is
//! the label of its images if several of them hold no labels of their own.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use tar::Archive;

use super::super::label_words::some_word;
use super::super::names::os_name;
use super::super::source::has_image_suffix;
use super::super::splits::{TEST_NAMES, TRAIN_NAMES};

/// The longest label that is read.
const LONGEST_LABEL: u64 = 4096;

/// An image and its label.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) path: Vec<u8>,
    pub(super) bytes: Range<u64>,
    pub(super) label: Option<String>,
}

/// Content of an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) samples: Vec<Sample>,
    /// Labels without an image beside them.
    pub(super) labels_apart: usize,
    /// The first archive in the archive that is not read: a compressed one, or one two levels deep.
    pub(super) unread: Option<String>,
    /// Folders of images that are called like a split to train on, and like one to test on.
    pub(super) splits: [Option<String>; 2],
}

/// A member's path and the place of its content.
type Member = (Vec<u8>, Range<u64>);

/// The members of one key.
#[derive(Default)]
struct Members {
    key: Vec<u8>,
    image: Option<Member>,
    label: Option<String>,
}

/// Finds the samples of an archive of `length` bytes.
pub(super) fn scan(archive: &mut (impl Read + Seek), length: u64) -> Result<Found, String> {
    let mut found = Found::default();
    let inner = found.level(archive, 0..length, b"")?;
    let before = found.samples.len();
    let mut names = Vec::new();
    for (path, place) in inner {
        let start = found.samples.len();
        let deeper = found.level(archive, place, &path).map_err(|reason| format!("in {}: {reason}", shown(&path)))?;
        if let Some((path, _)) = deeper.first() {
            found.unread.get_or_insert_with(|| shown(path));
        }
        names.push((String::from_utf8_lossy(stem(&path)).into_owned(), start..found.samples.len()));
    }
    let is_labeled = found.samples[before..].iter().any(|sample| sample.label.is_some());
    if names.len() > 1 && !is_labeled {
        for (name, samples) in names {
            found.samples[samples].iter_mut().for_each(|sample| sample.label = some_word(&name).map(str::to_owned));
        }
    }
    found.samples.sort_by_key(|sample| sample.bytes.start); // inner archives stand among the images
    Ok(found)
}

impl Found {
    /// Adds the samples of the archive at `place`, whose members' names get `within` in front; returns the archives in it.
    fn level(
        &mut self,
        archive: &mut (impl Read + Seek),
        place: Range<u64>,
        within: &[u8],
    ) -> Result<Vec<Member>, String> {
        let length = place.end - place.start;
        let mut archive = Archive::new(Part::new(archive, place.clone())?);
        let (mut members, mut inner) = (Members::default(), Vec::new());
        for member in archive.entries_with_seek().map_err(no_tar)? {
            let mut member = member.map_err(no_tar)?;
            if !member.header().entry_type().is_file() {
                continue;
            }
            let name = member.path_bytes().into_owned();
            if is_hidden(&name) {
                continue;
            }
            let start = member.raw_file_position();
            let end = start.checked_add(member.size()).filter(|&end| end <= length).ok_or_else(|| {
                let (name, size) = (shown(&name), member.size());
                format!(
                    "cut off in the member {name}: {size} bytes at {start}, expected them below the end at {length}"
                )
            })?;
            let bytes = place.start + start..place.start + end;
            let path = if within.is_empty() { name } else { [within, b"/", &name].concat() };
            let (key, suffix) = key_and_suffix(&path);
            let suffix = suffix.to_ascii_lowercase();
            if members.key != key {
                self.push(std::mem::take(&mut members));
                members.key = key.to_vec();
            }
            if suffix == b"cls" {
                let mut text = Vec::new();
                let read = member.by_ref().take(LONGEST_LABEL).read_to_end(&mut text);
                read.map_err(|error| format!("the label {}: {error}", shown(&path)))?;
                let text = std::str::from_utf8(&text).map_err(|_| {
                    format!("the label {}: {} bytes, expected a number or a word", shown(&path), text.len())
                })?;
                members.label = some_word(text).map(str::to_owned);
            } else if has_image_suffix(Path::new(&os_name(&path))) {
                let dots = |path: &[u8]| path.iter().filter(|&&byte| byte == b'.').count();
                if members.image.as_ref().is_none_or(|(known, _)| dots(&path) < dots(known)) {
                    members.image = Some((path, bytes));
                }
            } else if suffix == b"tar" {
                inner.push((path, bytes));
            } else if [&b"tar.gz"[..], b"tgz", b"tar.bz2", b"tar.xz", b"tar.zst"].contains(&suffix.as_slice()) {
                self.unread.get_or_insert_with(|| shown(&path));
            }
        }
        self.push(members);
        Ok(inner)
    }

    fn push(&mut self, members: Members) {
        match members.image {
            Some((path, bytes)) => {
                self.look_for_splits(&path);
                self.samples.push(Sample { path, bytes, label: members.label });
            }
            None => self.labels_apart += usize::from(members.label.is_some()),
        }
    }

    /// Remembers folders of an image that are called like splits.
    fn look_for_splits(&mut self, path: &[u8]) {
        let folders = path.split(|&byte| byte == b'/').rev().skip(1);
        for name in folders.map(|part| key_and_suffix(part).0) {
            for (found, words) in self.splits.iter_mut().zip([&TRAIN_NAMES[..], &TEST_NAMES]) {
                if found.is_none() && words.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes())) {
                    *found = Some(shown(name));
                }
            }
        }
    }
}

/// Whether a member's name or one of its folders is hidden, or macOS's own.
fn is_hidden(path: &[u8]) -> bool {
    let mut parts = path.split(|&byte| byte == b'/');
    parts.any(|part| (part.starts_with(b".") && part != b"." && part != b"..") || part == b"__MACOSX")
}

/// A path up to the first dot of its file name, and what follows that dot.
fn key_and_suffix(path: &[u8]) -> (&[u8], &[u8]) {
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    match path[name..].iter().position(|&byte| byte == b'.') {
        Some(dot) => (&path[..name + dot], &path[name + dot + 1..]),
        None => (path, b""),
    }
}

/// The file name without its suffix.
fn stem(path: &[u8]) -> &[u8] {
    let (key, _) = key_and_suffix(path);
    key.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// A member's name for a message, without control characters.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

fn no_tar(error: std::io::Error) -> String {
    format!("not a tar archive, or a damaged one: {}", error.to_string().escape_debug())
}

/// A part of a file, addressed from 0.
struct Part<'a, R> {
    whole: &'a mut R,
    place: Range<u64>,
    at: u64,
}

impl<'a, R: Seek> Part<'a, R> {
    fn new(whole: &'a mut R, place: Range<u64>) -> Result<Self, String> {
        whole.seek(SeekFrom::Start(place.start)).map_err(|error| error.to_string())?;
        Ok(Self { whole, place, at: 0 })
    }
}

impl<R: Read> Read for Part<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = (self.place.end - self.place.start).saturating_sub(self.at);
        let most = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.whole.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Part<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let outside = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a place outside of the archive");
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => (self.place.end - self.place.start).checked_add_signed(by),
        };
        let at = at.ok_or_else(outside)?;
        let place = self.place.start.checked_add(at).ok_or_else(outside)?;
        self.whole.seek(SeekFrom::Start(place))?;
        self.at = at;
        Ok(at)
    }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
