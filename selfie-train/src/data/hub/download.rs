//! Downloading the files of a data set, with a bar on the terminal; a broken connection goes on where it broke.

use std::path::Path;
use std::time::Duration;

use hf_hub::{CacheRepo, Repo};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::error::{DataError, DataResult};
use super::transfer::{Failure, Transfer};
use super::{Listed, RepoName, refused};

/// Attempts at a file that bring nothing new, until it is given up.
const ATTEMPTS: u32 = 5;

/// Where the files of a repository come from, and where they go.
pub(super) struct Source<'a> {
    pub(super) transfer: Transfer,
    pub(super) repo: Repo,
    pub(super) cache: CacheRepo,
    pub(super) name: &'a RepoName,
    /// The snapshot of the commit that was listed.
    pub(super) folder: &'a Path,
    /// How long to wait after a broken connection; doubled each time.
    pub(super) pause: Duration,
}

impl Source<'_> {
    /// Downloads every file that is not complete in the snapshot.
    pub(super) fn download(&self, files: &[Listed]) -> DataResult<()> {
        let is_there =
            |file: &&Listed| std::fs::metadata(self.folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.size);
        let bar = bar(files.iter().map(|file| file.size).sum());
        bar.inc(files.iter().filter(is_there).map(|file| file.size).sum());
        for file in files.iter().filter(|file| !is_there(file)) {
            bar.set_message(file.name.clone());
            self.one(file, &bar)?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Downloads one file.
    fn one(&self, file: &Listed, bar: &ProgressBar) -> DataResult<()> {
        let (before, mut attempt, mut most) = (bar.position(), 0, 0);
        let path = format!("{}/resolve/{}/{}", self.repo.url(), self.repo.url_revision(), file.name);
        loop {
            let mut reached = 0;
            let mut show = |bytes| {
                reached = bytes;
                bar.set_position(before + bytes);
            };
            let error = match self.transfer.download(&path, &self.cache, &file.name, &mut show) {
                Ok(path) => return check(self.name, file, &path, self.folder),
                Err(error) => error,
            };
            if is_useless_part(&error) {
                drop_parts(self.folder, file.size);
            }
            bar.set_position(before);
            if let denied @ DataError::HubRefused { .. } = refused(self.name, &error) {
                return Err(denied);
            }
            // Each attempt goes on where the one before broke off; only those that bring nothing are counted.
            attempt = if reached > most { 0 } else { attempt + 1 };
            most = most.max(reached);
            if attempt >= ATTEMPTS {
                let reason = format!("{}: {error}; given up at byte {most} of {}", file.name, file.size);
                return Err(DataError::Hub { name: self.name.to_string(), reason });
            }
            tracing::debug!("{}: {error}; trying again", file.name);
            std::thread::sleep(self.pause * 2u32.pow(attempt.min(ATTEMPTS)));
        }
    }
}

/// Returns whether the part of a file that an earlier attempt left is as long as the file, or longer: nothing more can be asked for.
fn is_useless_part(error: &Failure) -> bool {
    matches!(error, Failure::UselessPart | Failure::Request(ureq::Error::StatusCode(416)))
}

/// Takes away the parts that are `size` bytes or more; they are named by what is not known here.
fn drop_parts(folder: &Path, size: u64) {
    let blobs = folder.ancestors().nth(2).map(|repo| repo.join("blobs")); // REPO/snapshots/COMMIT
    for entry in blobs.and_then(|blobs| std::fs::read_dir(blobs).ok()).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_part = path.extension().is_some_and(|suffix| suffix == "part");
        if is_part && entry.metadata().is_ok_and(|meta| meta.len() >= size) {
            let _ = std::fs::remove_file(path); // if it stays, the next attempt says so
        }
    }
}

/// A file of another size than was listed is no use, and would stay in the cache.
fn check(name: &RepoName, file: &Listed, path: &Path, folder: &Path) -> DataResult<()> {
    let size = std::fs::metadata(path).map_err(DataError::io(path))?.len();
    let fail = |reason: String| Err(DataError::Hub { name: name.to_string(), reason });
    if size != file.size {
        let blob = path.canonicalize().map_err(DataError::io(path))?;
        for wrong in [path, &blob] {
            let _ = std::fs::remove_file(wrong); // the wrong size is the error to tell
        }
        return fail(format!("{}: {size} bytes, expected {} as listed", file.name, file.size));
    }
    if path != folder.join(&file.name) {
        return fail(format!("{}: the data set changed while it was downloaded; try again", file.name));
    }
    Ok(())
}

/// A bar on stderr where that is a terminal.
fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:20} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}  {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
