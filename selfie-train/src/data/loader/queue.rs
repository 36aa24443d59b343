//! What the loader and its threads share: who prepares which image, and the batches on their way.
//!
//! Threads claim single images in order, at most [`Queue::window`] ahead of what was delivered. The one that finishes the last
//! image of a batch turns its bytes into floats. For an image that cannot be read another is drawn (in training) or nothing
//! is (in an evaluation); which it was is told when the batch is taken, so that nothing depends on the threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::LoaderConfig;
use crate::data::dataset::Dataset;
use crate::data::error::DataResult;
use crate::data::image8::Image8;
use crate::data::normalise::Normalise;
use crate::data::order::{Order, Place, replacements};
use crate::data::transform::Transform;
use crate::seed::{Purpose, hash_name, stream};

/// Images that are drawn for one that cannot be read.
const ATTEMPTS: usize = 20;
/// Images behind it that are tried if none of the drawn ones can be read: all of a small set, such as a few labeled images.
const SCAN: usize = 1000;

/// Everything that decides what the batches hold, but their order.
pub(super) struct Plan {
    pub(super) dataset: Dataset,
    pub(super) transform: Transform,
    pub(super) normalise: Normalise,
    pub(super) config: LoaderConfig,
}

/// A batch whose floats are made.
pub(super) struct Filled {
    pub(super) floats: Vec<f32>, // (B, C, H, W)
    pub(super) labels: Option<Vec<u32>>,
    pub(super) indices: Vec<usize>,
    pub(super) keys: Vec<u64>,
    bad: Vec<Bad>,
}

/// The queue between the loader and its threads.
pub(super) struct Queue {
    plan: Plan,
    /// Whether epochs are shuffled, for training.
    shuffled: bool,
    state: Mutex<State>,
    /// A batch was taken or the loader stops: threads look again.
    room: Condvar,
    /// A batch is complete: the loader looks again.
    ready: Condvar,
}

struct State {
    order: Order,
    /// The position that is claimed next.
    next: u64,
    /// The position after the last batch that was taken.
    taken: u64,
    /// Batches with images missing, by their first position.
    open: BTreeMap<u64, Open>,
    /// Complete batches, by their first position.
    done: BTreeMap<u64, DataResult<Filled>>,
    stopped: bool,
}

/// A batch with images missing.
struct Open {
    missing: usize,
    images: Vec<Option<DataResult<Loaded>>>, // one slot a position
}

/// What came of one position.
struct Loaded {
    image: Option<(usize, Image8)>, // none where it is left out
    bad: Vec<Bad>,
}

/// A part of a batch whose images are all there, with its positions.
type Complete = (Range<u64>, Vec<Option<DataResult<Loaded>>>);

/// An image that could not be read: its number, and why.
type Bad = (usize, String);

impl Queue {
    pub(super) fn new(plan: Plan, order: Order) -> Self {
        let start = plan.config.start_position;
        let shuffled = order.is_shuffled();
        let state =
            State { order, next: start, taken: start, open: BTreeMap::new(), done: BTreeMap::new(), stopped: false };
        Self { plan, shuffled, state: Mutex::new(state), room: Condvar::new(), ready: Condvar::new() }
    }

    /// Waits for the next batch and takes it; `None` after the last one.
    pub(super) fn take(&self) -> Option<DataResult<Filled>> {
        let mut state = self.lock();
        if state.taken >= self.end() {
            return None;
        }
        let first = state.taken;
        loop {
            if let Some(filled) = state.done.remove(&first) {
                state.taken = self.batch_of(first).end;
                self.room.notify_all();
                drop(state);
                return Some(filled.and_then(|filled| self.judge(filled)));
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lists the bad images of a batch; returns an error if there are too many of them by now.
    fn judge(&self, filled: Filled) -> DataResult<Filled> {
        let dataset = &self.plan.dataset;
        for (index, reason) in &filled.bad {
            dataset.bad_images().report(&dataset.name(*index), reason)?;
        }
        Ok(filled)
    }

    /// The position after the last batch that was taken, with all images that were left out.
    pub(super) fn position(&self) -> u64 {
        self.lock().taken
    }

    /// Makes every thread end after the image it is at.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
    }

    /// A thread's life: claims, prepares and hands in images until there are no more.
    pub(super) fn work(&self) {
        while let Some((position, place)) = self.claim() {
            let loaded = self.prepare(place);
            if let Some((positions, images)) = self.hand_in(position, loaded) {
                let first = self.batch_of(position).start;
                let filled = self.fill(positions, images);
                self.lock().done.insert(first, filled);
                self.ready.notify_all();
            }
        }
    }

    /// The next image to prepare, when there is room for it; `None` when the thread may end.
    fn claim(&self) -> Option<(u64, Place)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.end() {
                return None;
            }
            // On to this rank's part of the batch, or of the next one.
            let batch = self.batch_of(state.next);
            let part = self.plan.config.part_of(batch.clone());
            if !part.contains(&state.next) {
                state.next = if state.next < part.start { part.start } else { batch.end };
                continue;
            }
            if state.next < state.taken.saturating_add(self.window()) {
                let position = state.next;
                state.next += 1;
                return Some((position, state.order.at(position)));
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Loads and transforms the image of a place, or what stands for it.
    fn prepare(&self, place: Place) -> DataResult<Loaded> {
        let Plan { dataset, config, .. } = &self.plan;
        let mut bad = Vec::new();
        let drawn = replacements(config.seed, place, dataset.len()).take(ATTEMPTS);
        let behind = (1..dataset.len().min(SCAN)).map(|n| (place.index + n) % dataset.len());
        let mut others = drawn.chain(behind);
        let mut index = place.index;
        loop {
            let error = match self.load(Place { index, ..place }) {
                Ok(image) => return Ok(Loaded { image: Some((index, image)), bad }),
                Err(error) => error,
            };
            if !dataset.bad_images().skips(&error) {
                return Err(error);
            }
            bad.push((index, error.reason()));
            match others.next() {
                _ if !self.shuffled => return Ok(Loaded { image: None, bad }),
                Some(other) => index = other,
                None => return Err(error),
            }
        }
    }

    fn load(&self, place: Place) -> DataResult<Image8> {
        let Plan { dataset, transform, config, .. } = &self.plan;
        dataset.guarded(place.index, || {
            let image = dataset.load(place.index)?;
            let mut rng = stream(config.seed, Purpose::Augmentation, place.epoch, place.index as u64);
            transform.apply(&image, &mut rng)
        })
    }

    /// Puts an image in its place; returns the whole batch if it was the last one.
    fn hand_in(&self, position: u64, loaded: DataResult<Loaded>) -> Option<Complete> {
        let positions = self.plan.config.part_of(self.batch_of(position));
        let count = (positions.end - positions.start) as usize;
        let mut state = self.lock();
        let open = state
            .open
            .entry(positions.start)
            .or_insert_with(|| Open { missing: count, images: (0..count).map(|_| None).collect() });
        open.images[(position - positions.start) as usize] = Some(loaded);
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let open = state.open.remove(&positions.start)?;
        Some((positions, open.images))
    }

    /// Bytes to floats, (H, W, C) to (C, H, W), image after image. The first error stands for the batch.
    fn fill(&self, positions: Range<u64>, slots: Vec<Option<DataResult<Loaded>>>) -> DataResult<Filled> {
        let Plan { dataset, transform, normalise, .. } = &self.plan;
        let (mut images, mut keys, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        for (position, loaded) in positions.zip(slots.into_iter().flatten()) {
            let loaded = loaded?;
            bad.extend(loaded.bad);
            if let Some((index, image)) = loaded.image {
                keys.push(if self.shuffled { position } else { hash_name(&dataset.name(index)) });
                images.push((index, image));
            }
        }
        let length = transform.size() * transform.size() * normalise.channels();
        let mut floats = Vec::with_capacity(images.len() * length);
        for (_, image) in &images {
            normalise.append(image, &mut floats); // (C, H, W)
        }
        Ok(Filled {
            floats,
            labels: images.iter().map(|(index, _)| dataset.label(*index)).collect(),
            keys,
            indices: images.into_iter().map(|(index, _)| index).collect(),
            bad,
        })
    }

    /// The positions of the batch that holds `position`.
    fn batch_of(&self, position: u64) -> Range<u64> {
        let (start, size) = (self.plan.config.start_position, self.plan.config.batch_size as u64);
        let first = position - (position - start) % size;
        first..first.saturating_add(size).min(self.end())
    }

    fn end(&self) -> u64 {
        self.plan.config.end_position.unwrap_or(u64::MAX)
    }

    /// How many images may be on their way: two batches, and enough for every thread where batches are tiny.
    fn window(&self) -> u64 {
        let config = &self.plan.config;
        let ahead = config.batch_size.saturating_mul(2);
        ahead.max(config.workers.saturating_mul(4)) as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
