//! What a `--data` string was recognized as, before any image is read.
//!
//! Every source fills a [`Recognized`] while it lists its images, so the description costs no second pass over the files.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::source::Split;

/// Number of class names that a [`Recognized`] carries.
const FIRST_CLASSES: usize = 5;

/// Description of the data that a `--data` string names: layout, splits, classes, and everything that is not read.
///
/// ```
/// use selfie_train::{Dataset, Split, SplitRole};
/// let sample = Dataset::open("sample", Split::Train)?;
/// let found = sample.recognized();
/// assert_eq!((found.classes, found.splits.len()), (12, 2));
/// assert_eq!((found.splits[1].role, found.splits[1].images), (SplitRole::Test, Some(48)));
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recognized {
    /// The `--data` string.
    pub data: String,
    /// What holds the images, in words: "folders of images", "parquet files".
    pub layout: String,
    /// All splits that were found, used or not.
    pub splits: Vec<RecognizedSplit>,
    /// Number of classes; 0 if there are no labels.
    pub classes: usize,
    /// Names of the first classes.
    pub first_classes: Vec<String>,
    /// Number of files that are passed over, by lower-case suffix with its dot; `no suffix` for files without one.
    pub passed_over: BTreeMap<String, u64>,
    /// Further remarks, each a sentence without a period.
    pub remarks: Vec<String>,
}

/// One split of the data, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecognizedSplit {
    /// Name by which `data.train_splits` and `data.test_splits` choose the split.
    pub name: String,
    /// What the split is used for.
    pub role: SplitRole,
    /// Its folders or files, relative to the data.
    pub places: Vec<String>,
    /// Number of images, if it is known without reading the split.
    pub images: Option<u64>,
    /// Number of images with a label, if it is known without reading the split.
    pub labeled: Option<u64>,
}

/// What a split is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitRole {
    /// Trained on.
    Train,
    /// Tested on, by commands that ask for it.
    Test,
    /// Not read.
    Unused,
}

impl Recognized {
    /// A description of data in this layout, without splits.
    pub(super) fn new(layout: impl Into<String>) -> Self {
        Self { layout: layout.into(), ..Self::default() }
    }

    /// The same with one more split.
    #[must_use]
    pub(super) fn with(mut self, split: RecognizedSplit) -> Self {
        self.splits.push(split);
        self
    }

    /// Counts files that are passed over.
    pub(super) fn pass_over(&mut self, suffix: impl Into<String>, files: u64) {
        *self.passed_over.entry(suffix.into()).or_default() += files;
    }

    /// Enters the classes.
    pub(super) fn name_classes(&mut self, classes: &[String]) {
        self.classes = classes.len();
        self.first_classes = classes.iter().take(FIRST_CLASSES).cloned().collect();
    }

    /// Whether a split has this role.
    pub fn has(&self, role: SplitRole) -> bool {
        self.splits.iter().any(|split| split.role == role)
    }
}

impl RecognizedSplit {
    /// A split in these folders or files, of images that are not counted yet.
    pub(super) fn new(name: impl Into<String>, role: SplitRole, places: Vec<String>) -> Self {
        Self { name: name.into(), role, places, images: None, labeled: None }
    }

    /// The same with its number of images and of labeled images.
    #[must_use]
    pub(super) fn counted(self, images: usize, labeled: usize) -> Self {
        Self { images: Some(images as u64), labeled: Some(labeled as u64), ..self }
    }
}

impl From<Split> for SplitRole {
    fn from(split: Split) -> Self {
        match split {
            Split::Train => Self::Train,
            Split::Test => Self::Test,
        }
    }
}

type Observer = Box<dyn Fn(&Recognized) + Send>;

static OBSERVER: Mutex<Option<Observer>> = Mutex::new(None);

/// Calls `observer` with the description of all data that are opened from now on, before any image is read.
///
/// A program that shows what was recognized sets one observer at its start. Data that are opened for both splits are
/// described twice.
pub fn observe_recognized(observer: impl Fn(&Recognized) + Send + 'static) {
    *OBSERVER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(observer));
}

/// Passes the description of opened data to the observer.
pub(super) fn announce(recognized: &Recognized) {
    if let Some(observer) = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        observer(recognized);
    }
}
