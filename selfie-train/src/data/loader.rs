//! Batches, prepared ahead by threads of their own and delivered strictly in order.
//!
//! What a batch holds is a function of the data, the seed and the position alone: every image's augmentation comes from its
//! own random stream, so neither the number of threads nor a restart in the middle changes a bit. Images wait as bytes; floats
//! are made when a batch is complete. The threads are the loader's own, never those of the compute pool.

mod batch;
mod queue;

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::Device;

pub use batch::Batch;
use queue::{Plan, Queue};

use super::dataset::Dataset;
use super::error::{DataError, DataResult};
use super::normalise::Normalise;
use super::order::Order;
use super::transform::Transform;

/// Which batches a [`Loader`] delivers, and with how many threads.
///
/// ```
/// use selfie_train::LoaderConfig;
/// // The second of four processes that share batches of 256: 64 images each.
/// let config = LoaderConfig { batch_size: 256, rank: 1, ranks: 4, ..Default::default() };
/// assert_eq!(config.part_of(512..768), 576..640);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Images a batch, those of all ranks together.
    pub batch_size: usize,
    /// Threads that prepare images, at least 1.
    pub workers: usize,
    /// Drives the order and the augmentation.
    pub seed: u64,
    /// Number of the first image, counted over all epochs: `step * batch_size` resumes a run.
    pub start_position: u64,
    /// One past the last image; the last batch is short if it must be. `None` never ends.
    pub end_position: Option<u64>,
    /// Which part of each batch is delivered here, counted from 0.
    pub rank: usize,
    /// Number of parts; 1 delivers whole batches. Together the parts are the batch, and none shares an image with another.
    pub ranks: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self { batch_size: 1, workers: 1, seed: 0, start_position: 0, end_position: None, rank: 0, ranks: 1 }
    }
}

impl LoaderConfig {
    /// This rank's part of a batch at these positions.
    pub fn part_of(&self, batch: Range<u64>) -> Range<u64> {
        let (rank, ranks) = (self.rank as u64, self.ranks as u64);
        let at = |rank: u64| batch.start + (batch.end - batch.start) * rank / ranks;
        at(rank)..at(rank + 1)
    }

    fn validate(&self) -> DataResult<()> {
        for (field, value) in [("batch_size", self.batch_size), ("data.workers", self.workers), ("ranks", self.ranks)] {
            if value == 0 {
                return Err(DataError::config(field, "0, expected at least 1"));
            }
        }
        if self.rank >= self.ranks {
            return Err(DataError::config("rank", format!("{}, expected below the {} ranks", self.rank, self.ranks)));
        }
        let last = self.end_position.map_or(0, |end| end.saturating_sub(self.start_position) % self.batch_size as u64);
        let smallest = if last == 0 { self.batch_size as u64 } else { last };
        if smallest < self.ranks as u64 {
            let reason =
                format!("a batch of {smallest} images, expected one for each of {} ranks at least", self.ranks);
            return Err(DataError::config("batch_size", reason));
        }
        Ok(())
    }
}

/// Delivers the batches of a data set in order, prepared ahead by its threads.
///
/// ```
/// use candle_core::Device;
/// use selfie_train::{Dataset, Image8, Loader, Normalise, Transform};
/// let images = (0..5).map(|i| Image8::new(2, 2, vec![i; 12])).collect::<Result<_, _>>()?;
/// let data = Dataset::from_images(images, &[], &[])?;
/// let normalise = Normalise::new(&[0.5; 3], &[0.5; 3])?;
/// let mut loader = Loader::once(data, Transform::eval(2), normalise, 3, 1, &Device::Cpu)?;
/// let mut sizes = Vec::new();
/// while let Some(batch) = loader.next()? {
///     sizes.push(batch.images.dims4()?);
/// }
/// assert_eq!(sizes, [(3, 3, 2, 2), (2, 3, 2, 2)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Loader {
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
    device: Device,
    shape: (usize, usize, usize), // (C, H, W)
    waited: Duration,
}

impl Loader {
    /// Starts to prepare shuffled batches, epoch after epoch, for training. Images get as many channels as `normalise` has.
    ///
    /// # Errors
    /// [`DataError::Config`] if there are no images or a setting is out of range; [`DataError::Thread`].
    pub fn new(
        dataset: Dataset,
        transform: Transform,
        normalise: Normalise,
        config: LoaderConfig,
        device: &Device,
    ) -> DataResult<Self> {
        Self::start(dataset, transform, normalise, config, device, true)
    }

    /// Starts to prepare all images of `dataset` once, in its order, for evaluation; the last batch may be short, and so is
    /// one with images that cannot be read and are left out ([`Dataset::with_bad_images`]): [`Batch::indices`] are those of the
    /// others.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn once(
        dataset: Dataset,
        transform: Transform,
        normalise: Normalise,
        batch_size: usize,
        workers: usize,
        device: &Device,
    ) -> DataResult<Self> {
        let config =
            LoaderConfig { batch_size, workers, end_position: Some(dataset.len() as u64), ..LoaderConfig::default() };
        Self::start(dataset, transform, normalise, config, device, false)
    }

    fn start(
        dataset: Dataset,
        transform: Transform,
        normalise: Normalise,
        config: LoaderConfig,
        device: &Device,
        shuffled: bool,
    ) -> DataResult<Self> {
        if dataset.is_empty() || u32::try_from(dataset.len()).is_err() {
            let reason = format!("{} images, expected 1 to {}", dataset.len(), u32::MAX);
            return Err(DataError::config("data.source", reason));
        }
        config.validate()?;
        if transform.size() == 0 {
            return Err(DataError::config("image_size", "0, expected at least 1"));
        }
        let order = match shuffled {
            true => Order::shuffled(dataset.len(), config.seed, dataset.blocks()),
            false => Order::sequential(dataset.len()),
        };
        let workers = config.workers;
        let (size, channels) = (transform.size(), normalise.channels());
        let dataset = dataset.with_channels(channels);
        let plan = Plan { dataset, transform, normalise, config };
        // Threads that could be started are joined by Drop if a later one fails.
        let mut loader = Self {
            queue: Arc::new(Queue::new(plan, order)),
            workers: Vec::new(),
            device: device.clone(),
            shape: (channels, size, size),
            waited: Duration::ZERO,
        };
        for i in 0..workers {
            let queue = Arc::clone(&loader.queue);
            let thread = std::thread::Builder::new().name(format!("selfie-loader-{i}"));
            let worker = thread.spawn(move || queue.work()).map_err(DataError::Thread)?;
            loader.workers.push(worker);
        }
        Ok(loader)
    }

    /// The next batch; `None` after the last one.
    ///
    /// # Errors
    /// The error of the first image of the batch that could not be loaded and must not be passed over, with its file;
    /// [`DataError::TooManyBad`]. The call after it goes on with the batch that follows.
    #[expect(clippy::should_implement_trait, reason = "`loader.next()?` reads better than a transposed iterator item")]
    pub fn next(&mut self) -> DataResult<Option<Batch>> {
        let start = Instant::now();
        let filled = loop {
            match self.queue.take().transpose() {
                Ok(Some(filled)) if filled.indices.is_empty() => {} // every image of it was left out
                filled => break filled,
            }
        };
        self.waited += start.elapsed();
        filled?.map(|filled| Batch::new(filled, self.shape, &self.device)).transpose()
    }

    /// The position after the last batch that [`Loader::next`] returned or passed over, images that were left out included: where
    /// another loader goes on.
    pub fn position(&self) -> u64 {
        self.queue.position()
    }

    /// Time that [`Loader::next`] has waited for its threads so far (the share of it in a run's time is `data_wait`).
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Loader {
    /// Stops the threads, each after the image it is at, and waits for them.
    fn drop(&mut self) {
        self.queue.stop();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of decoders; nothing is left to report from here.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::image8::Image8;
    use super::super::recognized::Recognized;
    use super::super::source::{Opened, Source, Stored};
    use super::*;

    /// Fifty black pixels; counts what is loaded, and panics at image 4 as a broken decoder would.
    struct Counted(Arc<AtomicUsize>);

    impl Source for Counted {
        fn len(&self) -> usize {
            50
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn name(&self, i: usize) -> String {
            format!("image {i}")
        }
        fn read(&self, i: usize) -> DataResult<Stored<'_>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert_ne!(i, 4, "a decoder's panic");
            Ok(Stored::Pixels(Cow::Owned(Image8::new(1, 1, vec![0; 3])?)))
        }
    }

    fn loader(loaded: &Arc<AtomicUsize>, batch_size: usize) -> Loader {
        let opened = Opened::new(Counted(Arc::clone(loaded)), Vec::new(), Recognized::default());
        let data = Dataset::from_opened("counted", opened);
        let normalise = Normalise::new(&[0.5; 3], &[0.5; 3]).unwrap();
        Loader::once(data, Transform::eval(1), normalise, batch_size, 2, &Device::Cpu).unwrap()
    }

    #[test]
    fn at_most_two_batches_are_prepared_ahead() {
        let loaded = Arc::default();
        let mut loader = loader(&loaded, 10);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(loaded.load(Ordering::SeqCst), 20);
        assert!(loader.next().is_err()); // the batch of image 4
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(loaded.load(Ordering::SeqCst), 30);
    }

    #[test]
    fn a_decoder_that_panics_is_the_error_of_its_image() {
        let mut loader = loader(&Arc::default(), 3);
        assert_eq!(loader.next().unwrap().unwrap().len(), 3);
        let error = loader.next().unwrap_err().to_string();
        assert!(error.contains("image 4") && error.contains("panicked"), "{error}");
        assert_eq!(loader.next().unwrap().unwrap().indices, [6, 7, 8]);
    }
}
