//! Which image stands at which place: a pure function of (seed, epoch, place), so that the whole data position of a run
//! is one number, `step * batch_size`.
//!
//! Position p belongs to epoch `p / len`. Each epoch is a permutation of all images, drawn from its own stream; batches run
//! across the border between two epochs.

use super::draw::shuffle;
use crate::seed::{Purpose, stream};

/// The order of a data set's images, for ever. Keeps the permutation of the epoch that was asked for last.
pub(super) struct Order {
    len: usize,
    seed: Option<u64>, // None is the order of the data set
    epoch: u64,
    permutation: Vec<u32>, // of `epoch`; empty until the first question
}

/// Where a position leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: u64,
    /// Number of the image in the data set.
    pub(super) index: usize,
}

impl Order {
    /// A fresh permutation for every epoch. `len` is at least 1.
    pub(super) fn shuffled(len: usize, seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::sequential(len) }
    }

    /// The images as they stand. `len` is at least 1.
    pub(super) fn sequential(len: usize) -> Self {
        Self { len, seed: None, epoch: 0, permutation: Vec::new() }
    }

    /// The image at `position`.
    pub(super) fn at(&mut self, position: u64) -> Place {
        let epoch = position / self.len as u64;
        let rank = (position % self.len as u64) as usize;
        let Some(seed) = self.seed else {
            return Place { epoch, index: rank };
        };
        if self.permutation.is_empty() || self.epoch != epoch {
            self.epoch = epoch;
            self.permutation.clear();
            self.permutation.extend(0..self.len as u32);
            shuffle(&mut self.permutation, &mut stream(seed, Purpose::ImageOrder, epoch, 0));
        }
        let index = self.permutation[rank] as usize;
        Place { epoch, index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_visits_each_image_once_in_its_own_order() {
        let mut order = Order::shuffled(50, 3);
        let mut seen = Vec::new();
        for epoch in 0..4 {
            let places: Vec<_> = (epoch * 50..(epoch + 1) * 50).map(|p| order.at(p)).collect();
            assert!(places.iter().all(|p| p.epoch == epoch));
            let indices: Vec<_> = places.iter().map(|p| p.index).collect();
            let mut sorted = indices.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
            assert!(!seen.contains(&indices));
            seen.push(indices);
        }
    }

    #[test]
    fn a_place_does_not_depend_on_what_was_asked_before() {
        let mut straight = Order::shuffled(7, 9);
        let straight: Vec<_> = (0..40).map(|p| straight.at(p)).collect();
        for p in [39, 0, 13, 14, 6, 7] {
            assert_eq!(Order::shuffled(7, 9).at(p as u64), straight[p]);
        }
        assert_ne!(straight[0..7], (0..7).map(|p| Order::shuffled(7, 10).at(p)).collect::<Vec<_>>());
    }

    #[test]
    fn sequential_counts() {
        let mut order = Order::sequential(3);
        let places: Vec<_> = (0..5).map(|p| (order.at(p).epoch, order.at(p).index)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    }
}
