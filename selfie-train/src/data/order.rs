//! Which image stands at which place: a pure function of (seed, epoch, place), so that the whole data position of a run
//! is one number, `step * batch_size`.
//!
//! Position p belongs to epoch `p / len`. Each epoch is a permutation of all images, drawn from its own stream; batches run
//! across the border between two epochs. Where images lie in blocks ([`Blocks`]), an epoch permutes the blocks, then the images
//! of each window of blocks: what is read at a time stays together, and every block is read once.

use super::blocks::Blocks;
use super::draw::{below, shuffle};
use crate::seed::{Purpose, stream};

/// The order of a data set's images, for ever. Keeps the permutation of the epoch that was asked for last.
pub(super) struct Order {
    len: usize,
    seed: Option<u64>, // None is the order of the data set
    blocks: Option<Blocks>,
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
    pub(super) fn shuffled(len: usize, seed: u64, blocks: Option<Blocks>) -> Self {
        Self { seed: Some(seed), blocks, ..Self::sequential(len) }
    }

    /// The images as they stand. `len` is at least 1.
    pub(super) fn sequential(len: usize) -> Self {
        Self { len, seed: None, blocks: None, epoch: 0, permutation: Vec::new() }
    }

    /// Whether each epoch is a permutation, for training.
    pub(super) fn is_shuffled(&self) -> bool {
        self.seed.is_some()
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
            self.permute(seed);
        }
        let index = self.permutation[rank] as usize;
        Place { epoch, index }
    }

    fn permute(&mut self, seed: u64) {
        let mut rng = stream(seed, Purpose::ImageOrder, self.epoch, 0);
        self.permutation.clear();
        let Some(Blocks { spans, window }) = &self.blocks else {
            self.permutation.extend(0..self.len as u32);
            shuffle(&mut self.permutation, &mut rng);
            return;
        };
        let mut blocks: Vec<u32> = (0..spans.groups() as u32).collect();
        shuffle(&mut blocks, &mut rng);
        for window in blocks.chunks(*window) {
            let start = self.permutation.len();
            self.permutation.extend(window.iter().flat_map(|&block| spans.range(block as usize)));
            shuffle(&mut self.permutation[start..], &mut rng);
        }
    }
}

/// The images that are drawn in turn for one that cannot be read: a function of (seed, epoch, index, attempt).
pub(super) fn replacements(seed: u64, place: Place, len: usize) -> impl Iterator<Item = usize> {
    let mut rng = stream(seed, Purpose::Replacement, place.epoch, place.index as u64);
    std::iter::repeat_with(move || below(len, &mut rng))
}

#[cfg(test)]
mod tests {
    use super::super::spans::Spans;
    use super::*;

    fn blocks(sizes: &[usize], window: usize) -> Blocks {
        let mut spans = Spans::default();
        sizes.iter().for_each(|&size| spans.push(size).unwrap());
        Blocks { spans, window }
    }

    #[test]
    fn every_epoch_visits_each_image_once_in_its_own_order() {
        for blocks in [None, Some(blocks(&[7, 0, 13, 30], 2))] {
            let mut order = Order::shuffled(50, 3, blocks);
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
    }

    #[test]
    fn a_window_holds_whole_blocks_and_mixes_them() {
        let mut order = Order::shuffled(120, 1, Some(blocks(&[10; 12], 3)));
        for epoch in 0..3 {
            let indices: Vec<_> = (0..120).map(|p| order.at(epoch * 120 + p).index).collect();
            let mut met = Vec::new();
            for window in indices.chunks(30) {
                let mut in_window: Vec<_> = window.iter().map(|i| i / 10).collect();
                assert!(in_window[..10].iter().any(|block| *block != in_window[0]), "{in_window:?}");
                in_window.sort_unstable();
                in_window.dedup();
                assert_eq!(in_window.len(), 3);
                met.extend(in_window);
            }
            assert!(!met.is_sorted());
            met.sort_unstable();
            assert_eq!(met, (0..12).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_place_does_not_depend_on_what_was_asked_before() {
        for blocks in [None, Some(blocks(&[3, 4], 1))] {
            let mut straight = Order::shuffled(7, 9, blocks.clone());
            let straight: Vec<_> = (0..40).map(|p| straight.at(p)).collect();
            for p in [39, 0, 13, 14, 6, 7] {
                assert_eq!(Order::shuffled(7, 9, blocks.clone()).at(p as u64), straight[p]);
            }
            let other: Vec<_> = (0..7).map(|p| Order::shuffled(7, 10, blocks.clone()).at(p)).collect();
            assert_ne!(straight[0..7], other);
        }
    }

    #[test]
    fn sequential_counts() {
        let mut order = Order::sequential(3);
        let places: Vec<_> = (0..5).map(|p| (order.at(p).epoch, order.at(p).index)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    }

    #[test]
    fn replacements_depend_on_seed_epoch_index_and_attempt() {
        let draw =
            |seed, epoch, index| -> Vec<usize> { replacements(seed, Place { epoch, index }, 1000).take(4).collect() };
        let first = draw(1, 2, 3);
        assert_eq!(first, draw(1, 2, 3));
        assert!(first.iter().all(|&i| i < 1000) && first[0] != first[1]);
        assert!([draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)].iter().all(|other| *other != first));
    }
}
