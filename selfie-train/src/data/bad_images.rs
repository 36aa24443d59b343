//! What is done about images that cannot be read: replaced or left out and listed once, or an error; and never too many.
//!
//! Too many are more than a share of all images that the list is of ([`Dataset::with_bad_images`]), which are those of a whole run:
//! a few bad images within a small evaluation set, or at the beginning of a large set, end nothing.
//!
//! [`Dataset::with_bad_images`]: super::dataset::Dataset::with_bad_images
//!
//! The list is a text file, a name and a reason a line. Images enter it when their batch is delivered, in the order of the
//! positions, so neither the loader's threads nor its prefetch change it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::{DataError, DataResult};
use super::escape::escape_field;

/// What is done about an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadImage {
    /// Another one is drawn for it in training; an evaluation leaves it out. It is listed.
    #[default]
    Skip,
    /// The run ends with its error.
    Fail,
}

/// The bad images of a run; clones share their list.
///
/// ```
/// use selfie_train::{BadImages, OnBadImage};
/// let bad = BadImages::new(OnBadImage::Skip, 0.05);
/// assert_eq!(bad.count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct BadImages {
    policy: OnBadImage,
    limit: f64,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    reasons: BTreeMap<String, String>, // by name
    /// Names of those that this process could not read; the list may hold others, from before a restart.
    met: BTreeSet<String>,
    /// Number of images that the share is of.
    images: usize,
    list: Option<PathBuf>,
}

impl Default for BadImages {
    /// The first bad image is an error.
    fn default() -> Self {
        Self::new(OnBadImage::Fail, 0.0)
    }
}

impl BadImages {
    /// A policy, and the largest share of the images that may be bad.
    pub fn new(policy: OnBadImage, limit: f64) -> Self {
        Self { policy, limit, known: Arc::default() }
    }

    /// Keeps the list in `file` from now on. What it lists already, from before a restart, is not listed again.
    ///
    /// # Errors
    /// [`DataError::Io`] where the file cannot be read or written.
    pub fn list_in(&self, file: &Path) -> DataResult<()> {
        let listed = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(DataError::io(file)(error)),
        };
        let mut known = self.lock();
        let before: BTreeMap<_, _> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        for (name, reason) in known.reasons.iter().filter(|(name, _)| !before.contains_key(name.as_str())) {
            append(file, name, reason)?;
        }
        for (name, reason) in before {
            known.reasons.entry(name.to_owned()).or_insert_with(|| reason.to_owned());
        }
        known.list = Some(file.to_path_buf());
        Ok(())
    }

    /// Number of bad images so far.
    pub fn count(&self) -> usize {
        self.lock().reasons.len()
    }

    /// Names and reasons so far, sorted by name.
    pub fn all(&self) -> Vec<(String, String)> {
        self.lock().reasons.clone().into_iter().collect()
    }

    /// Whether this error of an image is passed over.
    pub(super) fn skips(&self, error: &DataError) -> bool {
        self.policy == OnBadImage::Skip && matches!(error, DataError::Image { .. })
    }

    /// Counts `images` more images among those that the share of bad ones is of.
    pub(super) fn cover(&self, images: usize) {
        self.lock().images += images;
    }

    /// Lists an image, unless it is listed.
    ///
    /// # Errors
    /// [`DataError::TooManyBad`] if there are too many by now; [`DataError::Io`] if the list cannot be written.
    pub(super) fn report(&self, name: &str, reason: &str) -> DataResult<()> {
        let name = &*escape_field(name); // as it stands in the list
        let mut known = self.lock();
        if !known.reasons.contains_key(name) {
            known.list(name, reason)?;
        }
        known.met.insert(name.to_owned());
        let (bad, seen) = (known.met.len(), known.images);
        if bad as f64 <= self.limit * seen as f64 {
            return Ok(());
        }
        let (last, list) = (format!("{name}: {reason}"), known.list.clone());
        Err(DataError::TooManyBad { bad, seen, limit: self.limit, last, list })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn list(&mut self, name: &str, reason: &str) -> DataResult<()> {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        // The first one is worth a line on the screen; all of them are in the list.
        match self.reasons.is_empty() {
            true => tracing::warn!("{name} cannot be read and is passed over, as will be others: {reason}"),
            false => tracing::info!("{name} cannot be read: {reason}"),
        }
        if let Some(file) = &self.list {
            append(file, name, &reason)?;
        }
        self.reasons.insert(name.to_owned(), reason);
        Ok(())
    }
}

fn append(file: &Path, name: &str, reason: &str) -> DataResult<()> {
    let open = OpenOptions::new().create(true).append(true).open(file);
    let line = format!("{name}\t{reason}\n");
    open.and_then(|mut list| list.write_all(line.as_bytes())).map_err(DataError::io(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_listed_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad-images.txt");
        let bad = many();
        bad.report("early.jpg", "before there\nwas a file").unwrap();
        bad.list_in(&file).unwrap();
        bad.report("b.jpg", "broken").unwrap();
        bad.report("b.jpg", "broken").unwrap();
        let again = many();
        again.report("early.jpg", "met again").unwrap();
        again.list_in(&file).unwrap();
        again.report("b.jpg", "broken").unwrap();
        again.report("c.jpg", "gone").unwrap();
        let listed = std::fs::read_to_string(&file).unwrap();
        assert_eq!(listed, "early.jpg\tbefore there was a file\nb.jpg\tbroken\nc.jpg\tgone\n");
        assert_eq!((bad.count(), again.count()), (2, 3));
    }

    fn many() -> BadImages {
        let bad = BadImages::new(OnBadImage::Skip, 0.05);
        bad.cover(1000);
        bad
    }

    #[test]
    fn five_in_a_hundred_are_allowed_and_six_are_not() {
        let bad = BadImages::new(OnBadImage::Skip, 0.05);
        bad.cover(60);
        bad.cover(40); // its test split, say
        for _ in 0..2 {
            (0..5).for_each(|i| bad.report(&format!("{i}.jpg"), "broken").unwrap());
        }
        let text = bad.report("x.jpg", "broken").unwrap_err().to_string();
        assert!(text.contains("6 of 100 images") && text.contains("data.max_bad_images = 0.05"), "{text}");
        assert!(text.contains("x.jpg: broken"), "{text}");
    }

    #[test]
    fn images_that_were_mended_since_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad-images.txt");
        let bad = BadImages::new(OnBadImage::Skip, 0.05);
        bad.cover(20);
        std::fs::write(&file, "a.jpg\tbroken\nb.jpg\tbroken\n").unwrap();
        bad.list_in(&file).unwrap();
        bad.report("c.jpg", "broken").unwrap();
        assert_eq!(bad.count(), 3);
        assert!(bad.report("a.jpg", "broken").is_err());
    }
}
