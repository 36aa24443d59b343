//! Downloading the files of a data set, with a bar on the terminal; a broken connection goes on where it broke.

use std::path::Path;
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiError, ApiRepo};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::error::{DataError, DataResult};
use super::{Listed, RepoName, refused};

/// Attempts at a file that bring nothing new, until it is given up.
const ATTEMPTS: u32 = 5;

/// Brings every file to `folder`, the snapshot of the commit that was listed.
pub(super) fn all(repo: &ApiRepo, name: &RepoName, files: &[Listed], folder: &Path, pause: Duration) -> DataResult<()> {
    let is_there =
        |file: &&Listed| std::fs::metadata(folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.size);
    let bar = bar(files.iter().map(|file| file.size).sum());
    bar.inc(files.iter().filter(is_there).map(|file| file.size).sum());
    for file in files.iter().filter(|file| !is_there(file)) {
        bar.set_message(file.name.clone());
        one(repo, name, file, folder, pause, &bar)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Brings one file.
fn one(
    repo: &ApiRepo,
    name: &RepoName,
    file: &Listed,
    folder: &Path,
    pause: Duration,
    bar: &ProgressBar,
) -> DataResult<()> {
    let (mut attempt, mut most) = (0, 0);
    loop {
        let mut shown = Shown { bar, before: bar.position(), current: 0 };
        let error = match repo.download_with_progress(&file.name, &mut shown) {
            Ok(path) => return check(name, file, &path, folder),
            Err(error) => error,
        };
        if is_useless_part(&error) {
            drop_parts(folder, file.size);
        }
        let reached = shown.current;
        bar.set_position(shown.before);
        if let denied @ DataError::HubRefused { .. } = refused(name, &error) {
            return Err(denied);
        }
        // Each attempt goes on where the one before broke off; only those that bring nothing are counted.
        attempt = if reached > most { 0 } else { attempt + 1 };
        most = most.max(reached);
        if attempt >= ATTEMPTS {
            let reason = format!("{}: {}; given up at byte {most} of {}", file.name, plain(&error), file.size);
            return Err(DataError::Hub { name: name.to_string(), reason });
        }
        tracing::debug!("{}: {error}; trying again", file.name);
        std::thread::sleep(pause * 2u32.pow(attempt.min(ATTEMPTS)));
    }
}

/// Whether the part of a file that an earlier attempt left is as long as the file, or longer: nothing more can be asked for.
fn is_useless_part(error: &ApiError) -> bool {
    match error {
        ApiError::InvalidResume => true,
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(416)),
        _ => false,
    }
}

/// Takes away the parts that are `size` bytes or more; hf-hub names them by what we cannot know.
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

/// The reason without hf-hub's frame around it.
fn plain(error: &ApiError) -> String {
    match error {
        ApiError::RequestError(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// One file's share of the bar.
struct Shown<'a> {
    bar: &'a ProgressBar,
    before: u64,
    current: u64,
}

impl Progress for &mut Shown<'_> {
    fn init(&mut self, _: usize, _: &str) {
        self.current = 0;
    }

    fn update(&mut self, size: usize) {
        self.current += size as u64;
        self.bar.set_position(self.before + self.current);
    }

    fn finish(&mut self) {}
}

/// A bar on stderr where that is a terminal.
fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:20} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}  {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
