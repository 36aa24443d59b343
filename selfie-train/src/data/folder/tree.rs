//! The image files below a folder, listed once: names in one allocation, about thirty bytes a file.
//!
//! Folders come in the order of their paths, each with its own files sorted by name, so neither the file system nor the way there
//! matters. Files and folders whose name begins with a dot and `__MACOSX` are ignored; links are followed, but not back to a
//! folder above. Other files are counted by suffix.

mod passed_over;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use walkdir::{DirEntry, WalkDir};

use super::super::error::{DataError, DataResult};
use super::super::index_cache::{self, Packer, Unpacker, nanoseconds};
use super::super::names::{Names, bytes_of, os_name};
use super::super::shards::{SHARD_LEVELS, ShardKind};
use super::super::source::{has_image_suffix, is_hidden};
use super::super::spans::Spans;
use super::super::storage::is_of_file;
use passed_over::PassedOver;

/// A folder that changed this shortly before it was listed may change again without its time showing it.
const SETTLED: Duration = Duration::from_secs(2);

/// All folders below a root and the image files in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    /// Folders, relative to the root, which is the first; sorted.
    pub(super) dirs: Vec<Dir>,
    /// Which files are in which folder.
    pub(super) files: Spans,
    names: Names,
    /// Files that are not images, by folder and suffix.
    pub(super) passed_over: PassedOver,
    /// Shards near the root, relative to it; sorted.
    pub(super) shards: Vec<PathBuf>,
}

/// A folder, and when it was changed last: nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    changed: u64,
}

impl Tree {
    /// What is below `root`: as it was found last time where no folder has changed since, else by looking.
    pub(super) fn open(root: &Path) -> DataResult<Self> {
        Self::open_cached(root, index_cache::folder().as_deref())
    }

    /// As [`Tree::open`], with the index in `cache`.
    pub(super) fn open_cached(root: &Path, cache: Option<&Path>) -> DataResult<Self> {
        let real = root.canonicalize().map_err(DataError::io(root))?;
        let file = cache.map(|folder| index_cache::file_for(folder, "folder", &real));
        if let Some(tree) = file.as_deref().and_then(|file| Self::unpack(&index_cache::read(file)?, &real)) {
            return Ok(tree);
        }
        let started = SystemTime::now();
        let tree = Self::scan(root)?;
        if let Some(file) = file.filter(|_| tree.names.len() >= index_cache::WORTHWHILE && tree.is_settled(started)) {
            index_cache::write(&file, &tree.pack(&real));
        }
        Ok(tree)
    }

    /// Lists everything below `root`.
    fn scan(root: &Path) -> DataResult<Self> {
        let mut dirs: Vec<Dir> = Vec::new();
        let mut found: Vec<(u32, u32)> = Vec::new(); // folder and name of each file
        let mut names = Names::default();
        let mut above: Vec<u32> = Vec::new(); // the folders on the way to the current entry
        let (mut passed_over, mut shards) = (PassedOver::default(), Vec::new());
        for entry in entries(root) {
            let (path, depth, dir_changed) = entry?;
            above.truncate(depth);
            let relative = path.strip_prefix(root).unwrap_or(&path);
            if let Some(changed) = dir_changed {
                above.push(dirs.len() as u32);
                dirs.push(Dir { path: relative.to_path_buf(), changed });
            } else if let (Some(dir), Some(name)) = (above.last(), path.file_name()) {
                if has_image_suffix(&path) {
                    found.push((*dir, names.len() as u32));
                    names.push(&bytes_of(name)).ok_or_else(|| too_many(root))?;
                    continue;
                }
                if depth <= SHARD_LEVELS + 1 && ShardKind::of(&path).is_some() {
                    shards.push(relative.to_path_buf());
                }
                passed_over.add(*dir, &path);
            }
        }
        shards.sort_unstable();
        let mut order: Vec<u32> = (0..dirs.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| dirs[a as usize].path.cmp(&dirs[b as usize].path));
        let mut rank = vec![0; dirs.len()];
        order.iter().enumerate().for_each(|(place, &dir)| rank[dir as usize] = place as u32);
        found.iter_mut().for_each(|(dir, _)| *dir = rank[*dir as usize]);
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| names.get(a.1 as usize).cmp(names.get(b.1 as usize))));

        passed_over.renumber(&rank);
        let dirs = order.iter().map(|&dir| dirs[dir as usize].clone()).collect();
        let mut tree = Self { dirs, passed_over, shards, ..Self::default() };
        let mut rest = &found[..];
        for dir in 0..tree.dirs.len() as u32 {
            let (here, further) = rest.split_at(rest.partition_point(|file| file.0 == dir));
            for (_, name) in here {
                tree.names.push(names.get(*name as usize)).ok_or_else(|| too_many(root))?;
            }
            tree.files.push(here.len()).ok_or_else(|| too_many(root))?;
            rest = further;
        }
        tree.names.shrink();
        Ok(tree)
    }

    /// The name of file `i` without its folder.
    pub(super) fn file_name(&self, i: u32) -> PathBuf {
        os_name(self.names.get(i as usize)).into()
    }

    /// File `i`, relative to the root.
    pub(super) fn path(&self, i: u32) -> PathBuf {
        self.dirs[self.files.group_of(i)].path.join(os_name(self.names.get(i as usize)))
    }

    /// Folders `dir` and below, by number.
    pub(super) fn below(&self, dir: &Path) -> std::ops::Range<usize> {
        let start = self.dirs.partition_point(|d| d.path.as_path() < dir);
        let count = self.dirs[start..].partition_point(|d| d.path.starts_with(dir));
        start..start + count
    }

    /// The files in these folders.
    pub(super) fn files_in(&self, dirs: std::ops::Range<usize>) -> std::ops::Range<u32> {
        if dirs.is_empty() {
            return 0..0;
        }
        self.files.range(dirs.start).start..self.files.range(dirs.end - 1).end
    }

    fn is_settled(&self, started: SystemTime) -> bool {
        let latest = started.checked_sub(SETTLED).map_or(0, nanoseconds);
        self.dirs.iter().all(|dir| dir.changed != 0 && dir.changed < latest)
    }

    fn pack(&self, real: &Path) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.bytes(&bytes_of(real.as_os_str()));
        packer.number(self.dirs.len() as u64);
        for dir in &self.dirs {
            packer.bytes(&bytes_of(dir.path.as_os_str()));
            packer.number(dir.changed);
        }
        packer.numbers(self.files.ends());
        let (bytes, ends) = self.names.parts();
        packer.bytes(bytes);
        packer.numbers(ends);
        self.passed_over.pack(&mut packer);
        packer.number(self.shards.len() as u64);
        self.shards.iter().for_each(|shard| packer.bytes(&bytes_of(shard.as_os_str())));
        packer.finish()
    }

    /// The tree in an index, if it is that of `real` and no folder has changed.
    fn unpack(content: &[u8], real: &Path) -> Option<Self> {
        let mut unpacker = Unpacker(content);
        if os_name(unpacker.bytes()?) != real.as_os_str() {
            return None;
        }
        let mut dirs = Vec::new();
        for _ in 0..unpacker.number()? {
            let dir = Dir { path: os_name(unpacker.bytes()?).into(), changed: unpacker.number()? };
            let now = std::fs::metadata(real.join(&dir.path)).ok()?.modified().ok()?;
            if nanoseconds(now) != dir.changed {
                return None;
            }
            dirs.push(dir);
        }
        let files = Spans::from_ends(unpacker.numbers()?)?;
        let names = Names::from_parts(unpacker.bytes()?.to_vec(), unpacker.numbers()?)?;
        let passed_over = PassedOver::unpack(&mut unpacker)?;
        let shards = (0..unpacker.number()?).map(|_| Some(os_name(unpacker.bytes()?).into())).collect::<Option<_>>()?;
        let fits = files.groups() == dirs.len() && files.total() as usize == names.len();
        fits.then_some(Self { dirs, files, names, passed_over, shards })
    }
}

type Found = (PathBuf, usize, Option<u64>);

/// Folders (with their time) and files below `root`, a folder before what is in it. Whatever is called like an image and is not a
/// folder is listed, also a link that leads nowhere or in a circle, so that loading it shows what is wrong. Other such links are
/// passed over, as is a link back to a folder above. A folder that cannot be listed is an error, for its images would be missing.
fn entries(root: &Path) -> impl Iterator<Item = DataResult<Found>> {
    // `lost+found` belongs to the file system, and only its administrator may look inside.
    let passed = |name: &OsStr| is_hidden(name) || name == "lost+found";
    let visible = move |entry: &DirEntry| entry.depth() == 0 || !passed(entry.file_name());
    let walk = WalkDir::new(root).follow_links(true).into_iter();
    walk.filter_entry(visible).filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => {
            let changed = entry.metadata().ok().and_then(|meta| meta.modified().ok()).map_or(0, nanoseconds);
            Some(Ok((entry.path().to_path_buf(), entry.depth(), Some(changed))))
        }
        Ok(entry) => Some(Ok((entry.path().to_path_buf(), entry.depth(), None))),
        Err(error) if error.loop_ancestor().is_some() => None,
        Err(error) => {
            let (path, depth) = (error.path().unwrap_or(Path::new("")).to_path_buf(), error.depth());
            let source = error.into_io_error()?;
            let is_link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
            match is_of_file(&source) && (is_link || source.kind() == ErrorKind::NotFound) {
                true => has_image_suffix(&path).then_some(Ok((path, depth, None))),
                false => Some(Err(DataError::io(path)(source))),
            }
        }
    })
}

fn too_many(root: &Path) -> DataError {
    DataError::format(root, "more files than 32-bit numbers, or more than 4 GiB of names; expected less of both")
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
