//! A set of images, seen whole or in part; cheap to clone and shared between threads.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::bad_images::BadImages;
use super::blocks::Blocks;
use super::decode::decode;
use super::error::{DataError, DataResult};
use super::image8::Image8;
use super::open;
use super::recognized::{Recognized, RecognizedSplit, SplitRole, announce};
use super::source::{Opened, Source, Split, Stored};
use super::spans::Spans;
use super::splits::Chosen;

/// Images that are numbered, named, maybe labelled, and loaded one at a time.
///
/// ```
/// use selfie_train::{Dataset, Image8};
/// let images = vec![Image8::new(1, 1, vec![1, 2, 3])?, Image8::new(1, 1, vec![4, 5, 6])?];
/// let all = Dataset::from_images(images, &[1, 0], &["cat", "dog"])?;
/// let part = all.select(&[1])?;
/// assert_eq!((part.len(), part.label(0)), (1, Some(0)));
/// assert_eq!(part.load(0)?.pixels(), [4, 5, 6]);
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
    view: Option<Arc<[u32]>>, // numbers within the source; None is all of it
    channels: usize,
    bad: BadImages,
}

/// Channels of colour.
const RGB: usize = 3;

struct Inner {
    given: String,
    opened: Opened,
}

impl Dataset {
    /// Opens one split of the data that a `--data` string names: `sample`, a path, or one of `folder:DIR`, `list:FILE`,
    /// `cifar10:DIR`, `imagenet32:DIR`, `mnist:DIR` and `fashion-mnist:DIR` (both with the feature `candle-datasets`),
    /// `parquet:GLOB`, `tar:GLOB`, `hf:OWNER/NAME`.
    ///
    /// Images are only listed, with their labels; CIFAR-10's binary files are read into memory and checked. An image that
    /// cannot be read is an error, unless [`Dataset::with_bad_images`] says otherwise.
    ///
    /// # Errors
    /// [`DataError`] names the folder, file or scheme and what was expected.
    pub fn open(source: &str, split: Split) -> DataResult<Self> {
        Self::open_chosen(source, split, &Chosen::default())
    }

    /// Opens one split of the data, with the splits that a configuration chooses.
    pub(super) fn open_chosen(source: &str, split: Split, chosen: &Chosen) -> DataResult<Self> {
        let opened = Self::from_opened(source, open::open(source, split, chosen)?);
        announce(opened.recognized());
        Ok(opened)
    }

    /// What the data were recognized as: their layout, all their splits, and what is not read.
    pub fn recognized(&self) -> &Recognized {
        &self.inner.opened.recognized
    }

    /// All images of a source, loaded as RGB.
    pub(super) fn from_opened(given: &str, mut opened: Opened) -> Self {
        opened.recognized.data = given.to_owned();
        let inner = Inner { given: given.to_string(), opened };
        Self { inner: Arc::new(inner), view: None, channels: RGB, bad: BadImages::default() }
    }

    /// A data set of images in memory, named by their numbers. `labels` is empty or has one entry per image.
    ///
    /// # Errors
    /// [`DataError::Config`] if there are no images, or labels do not fit images or classes.
    pub fn from_images(images: Vec<Image8>, labels: &[u32], classes: &[&str]) -> DataResult<Self> {
        if images.is_empty() {
            return Err(DataError::config("images", "none, expected at least one"));
        }
        if !labels.is_empty() && labels.len() != images.len() {
            let reason = format!("{} of {} images", labels.len(), images.len());
            return Err(DataError::config("labels", format!("{reason}, expected one each or none")));
        }
        if let Some(label) = labels.iter().find(|&&l| l as usize >= classes.len()) {
            let reason = format!("{label}, expected below the {} classes", classes.len());
            return Err(DataError::config("labels", reason));
        }
        let channels = images[0].channels();
        if let Some(other) = images.iter().find(|image| image.channels() != channels) {
            let reason = format!("{} channels, expected {channels} as in the first image", other.channels());
            return Err(DataError::config("images", reason));
        }
        let memory = Memory { images, labels: labels.to_vec() };
        let labeled = memory.labels.len();
        let train = RecognizedSplit::new("train", SplitRole::Train, Vec::new()).counted(memory.images.len(), labeled);
        let classes = classes.iter().map(ToString::to_string).collect();
        let opened = Opened::new(memory, classes, Recognized::new("images in memory").with(train));
        Ok(Self::from_opened("images in memory", opened).with_channels(channels))
    }

    /// The same images, loaded with `channels` channels: RGB and gray are made of each other, any other number must be
    /// the source's own.
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Channels C of the images that [`Dataset::load`] gives; 3 unless [`Dataset::with_channels`] says otherwise.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of images; a [`Dataset::select`]ion may be empty.
    pub fn len(&self) -> usize {
        self.view.as_ref().map_or(self.source().len(), |view| view.len())
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `--data` string that this was opened from.
    pub fn given(&self) -> &str {
        &self.inner.given
    }

    /// Class of image `i`, an index into [`Dataset::classes`].
    ///
    /// # Panics
    /// If `i` is not below [`Dataset::len`], as indexing does; so do `name` and `load`.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.source().label(self.at(i))
    }

    /// Names of the classes, the same in every split; empty where there are no labels.
    pub fn classes(&self) -> &[String] {
        &self.inner.opened.classes
    }

    /// A name that stays with image `i` in any order or selection: its path relative to the data, or split and record.
    pub fn name(&self, i: usize) -> String {
        self.source().name(self.at(i))
    }

    /// Reads and decodes image `i`.
    ///
    /// # Errors
    /// [`DataError::Image`] with the file and the decoder's reason.
    pub fn load(&self, i: usize) -> DataResult<Image8> {
        let (source, i) = (self.source(), self.at(i));
        match source.read(i)? {
            Stored::File(bytes) => decode(&bytes, source.path(i), self.channels),
            Stored::Pixels(image) => {
                let converted = image.into_owned().with_channels(self.channels);
                converted.map_err(|reason| DataError::image(source.path(i), reason))
            }
        }
    }

    /// Runs what loads image `i`; a decoder that panics becomes that image's error.
    pub(super) fn guarded<T>(&self, i: usize, load: impl FnOnce() -> DataResult<T>) -> DataResult<T> {
        let panicked = |_| Err(DataError::image(self.source().path(self.at(i)), "its decoder panicked"));
        catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(panicked)
    }

    /// Returns the same images, of which `bad` lists those that cannot be read and says what is done about them. The images join
    /// those that `bad` judges the share of bad ones over, so a run's splits share one `bad`.
    #[must_use]
    pub fn with_bad_images(self, bad: &BadImages) -> Self {
        bad.cover(self.len());
        Self { bad: bad.clone(), ..self }
    }

    /// What is done about images that cannot be read.
    pub(super) fn bad_images(&self) -> &BadImages {
        &self.bad
    }

    /// The images with these numbers, in this order.
    ///
    /// # Errors
    /// [`DataError::Config`] if a number is not below [`Dataset::len`].
    pub fn select(&self, indices: &[usize]) -> DataResult<Self> {
        if let Some(i) = indices.iter().find(|&&i| i >= self.len()) {
            let reason = format!("{i}, expected below the {} images", self.len());
            return Err(DataError::config("indices", reason));
        }
        Ok(self.part(indices.iter().map(|&i| i as u32)))
    }

    /// The images with these numbers, which are below [`Dataset::len`].
    pub(super) fn part(&self, numbers: impl IntoIterator<Item = u32>) -> Self {
        let view = numbers.into_iter().map(|i| self.at(i as usize) as u32).collect();
        Self { view: Some(view), ..self.clone() }
    }

    /// The blocks of the source, as far as they are part of this set; none where its order is another.
    pub(super) fn blocks(&self) -> Option<Blocks> {
        let Blocks { spans, window } = self.source().blocks()?;
        let Some(view) = &self.view else {
            return Some(Blocks { spans: spans.clone(), window: *window });
        };
        let before = |end: &u32| view.partition_point(|i| i < end) as u32;
        let spans = Spans::from_ends(spans.ends().iter().map(before).collect()).filter(|_| view.is_sorted())?;
        Some(Blocks { spans, window: *window })
    }

    /// At most `most` images that stand for all, by number: evenly spaced ones, or those of evenly spaced blocks.
    pub(super) fn sample(&self, most: usize) -> Vec<u32> {
        let (len, most) = (self.len(), most.min(self.len()));
        let blocks = self.blocks().map(|blocks| blocks.spans).filter(|spans| spans.groups() > 0 && most < len);
        let Some(spans) = blocks else {
            return (0..most).map(|i| (i * len / most) as u32).collect();
        };
        let count = (spans.groups() * most).div_ceil(len).max(1);
        let chosen = (0..count).map(|i| i * spans.groups() / count);
        chosen.flat_map(|block| spans.range(block)).take(most).collect()
    }

    /// Returns the numbers of at most `most` evenly spaced images that can be read, ascending. One that cannot is replaced by the
    /// next that can and is not chosen yet; after the last image comes the first.
    ///
    /// # Errors
    /// The error of an image that must not be passed over ([`Dataset::with_bad_images`]); [`DataError::TooManyBad`].
    pub fn readable(&self, most: usize) -> DataResult<Vec<usize>> {
        let (len, most) = (self.len(), most.min(self.len()));
        let (mut chosen, mut bad) = (BTreeSet::new(), BTreeSet::new());
        for start in (0..most).map(|at| at * len / most) {
            for i in (start..len).chain(0..start) {
                if chosen.contains(&i) || bad.contains(&i) {
                    continue;
                }
                if self.is_readable(i)? {
                    chosen.insert(i);
                    break;
                }
                bad.insert(i);
            }
        }
        Ok(chosen.into_iter().collect())
    }

    fn is_readable(&self, i: usize) -> DataResult<bool> {
        match self.guarded(i, || self.load(i)) {
            Ok(_) => Ok(true),
            Err(error) if self.bad.skips(&error) => self.bad.report(&self.name(i), &error.reason()).map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// Whether the data that this was opened from have a test split.
    pub fn has_test_split(&self) -> bool {
        self.recognized().has(SplitRole::Test)
    }

    fn source(&self) -> &dyn Source {
        self.inner.opened.source.as_ref()
    }

    fn at(&self, i: usize) -> usize {
        self.view.as_ref().map_or(i, |view| view[i] as usize)
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dataset({}: {} images)", self.inner.given, self.len())
    }
}

/// Images that a program made or loaded itself.
struct Memory {
    images: Vec<Image8>,
    labels: Vec<u32>, // empty or one per image
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels.get(i).copied()
    }

    fn name(&self, i: usize) -> String {
        i.to_string()
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        Ok(Stored::Pixels(Cow::Borrowed(&self.images[i])))
    }
}
