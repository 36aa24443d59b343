//! What is summed up between two lines of metrics: loss and accuracy on the device, images and time here.

use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::pass::{Pass, add};
use crate::error::Result;

/// Time that the loop has stood still so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    /// For images.
    pub(super) images: Duration,
    /// With the other ranks.
    pub(super) ranks: Duration,
}

/// The steps since the last line, and the whole session.
pub(super) struct Window {
    loss: Option<Tensor>,
    accuracy: Option<Tensor>,
    steps: u64,
    images: usize,
    /// What had been waited when the window began.
    waited_before: Waited,
    /// Time spent training, up to the last pause.
    busy: Duration,
    running_since: Instant,
    session_images: usize,
    session_busy: Duration,
    session_ranks: Duration,
}

impl Window {
    pub(super) fn new(waited: Waited) -> Self {
        Self {
            loss: None,
            accuracy: None,
            steps: 0,
            images: 0,
            waited_before: waited,
            busy: Duration::ZERO,
            running_since: Instant::now(),
            session_images: 0,
            session_busy: Duration::ZERO,
            session_ranks: Duration::ZERO,
        }
    }

    /// Adds a step. Nothing is read from the device.
    pub(super) fn add(&mut self, pass: &Pass) -> Result<()> {
        add(&mut self.loss, pass.loss.clone())?;
        add(&mut self.accuracy, pass.accuracy.clone())?;
        self.images += pass.images;
        self.steps += 1;
        Ok(())
    }

    /// Stops the clock while something else than training is done.
    pub(super) fn pause(&mut self) {
        self.busy += self.running_since.elapsed();
    }

    /// Starts the clock again.
    pub(super) fn resume(&mut self) {
        self.running_since = Instant::now();
    }

    /// Begins the next window.
    pub(super) fn restart(&mut self, waited: Waited) {
        let session_images = self.session_images + self.images;
        let session_busy = self.session_busy + self.elapsed();
        let session_ranks = self.session_ranks + waited.ranks.saturating_sub(self.waited_before.ranks);
        *self = Self { session_images, session_busy, session_ranks, ..Self::new(waited) };
    }

    /// Mean loss so far; none before the first step.
    pub(super) fn loss(&self) -> Result<Option<f64>> {
        self.mean(self.loss.as_ref())
    }

    /// Mean accuracy so far; none before the first step.
    pub(super) fn accuracy(&self) -> Result<Option<f64>> {
        self.mean(self.accuracy.as_ref())
    }

    pub(super) fn images_per_second(&self) -> f64 {
        self.images as f64 / seconds(self.elapsed())
    }

    /// Speed over all windows that are complete.
    pub(super) fn session_images_per_second(&self) -> f64 {
        self.session_images as f64 / seconds(self.session_busy)
    }

    /// Share of all windows' time that was spent with the other ranks.
    pub(super) fn session_communication(&self) -> f64 {
        self.session_ranks.as_secs_f64() / seconds(self.session_busy)
    }

    /// Shares of the window's time that were spent waiting for images and with the other ranks, which have added up to `waited`.
    pub(super) fn share(&self, waited: Waited) -> (f64, f64) {
        let of = |now: Duration, before| (now.saturating_sub(before).as_secs_f64() / seconds(self.elapsed())).min(1.0);
        (of(waited.images, self.waited_before.images), of(waited.ranks, self.waited_before.ranks))
    }

    fn mean(&self, sum: Option<&Tensor>) -> Result<Option<f64>> {
        let sum = sum.map(Tensor::to_scalar::<f32>).transpose()?;
        Ok(sum.map(|sum| f64::from(sum) / self.steps.max(1) as f64))
    }

    fn elapsed(&self) -> Duration {
        self.busy + self.running_since.elapsed()
    }
}

/// Never 0, so that a speed is a number.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64().max(1e-9)
}
