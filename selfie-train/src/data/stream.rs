//! Random numbers of the data part: one ChaCha8 stream per (seed, purpose, a, b), so that what is drawn for an image
//! depends neither on the number of threads nor on where a run was restarted.
//!
//! Bounded numbers and permutations are drawn by the few lines below, not by `rand`'s, whose values may change from
//! one version to the next.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is used for; eight bytes of ASCII.
#[derive(Clone, Copy)]
pub(super) struct Purpose(u64);

/// The order of an epoch: a = epoch.
pub(super) const ORDER: Purpose = Purpose(u64::from_le_bytes(*b"dataordr"));
/// The augmentation of an image: a = epoch, b = number of the image in the data set.
pub(super) const AUGMENT: Purpose = Purpose(u64::from_le_bytes(*b"dataaugm"));
/// The choice of labelled images: a = class.
pub(super) const LABELS: Purpose = Purpose(u64::from_le_bytes(*b"datalabl"));

/// The stream whose 32 bytes of seed are the four numbers, little-endian.
pub(super) fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    for (to, from) in bytes.chunks_exact_mut(8).zip([seed, purpose.0, a, b]) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// A number in `0..n`, from the high half of a 128-bit product (its bias is below n / 2^64).
pub(super) fn below(n: usize, rng: &mut impl RngCore) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// A number in [0, 1), from the high 53 bits.
pub(super) fn unit(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Fisher and Yates's shuffle.
pub(super) fn shuffle<T>(items: &mut [T], rng: &mut impl RngCore) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(i + 1, rng));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_changes_the_stream() {
        let first = |seed, purpose, a, b| stream(seed, purpose, a, b).next_u64();
        let streams = [
            first(0, ORDER, 0, 0),
            first(1, ORDER, 0, 0),
            first(0, AUGMENT, 0, 0),
            first(0, ORDER, 1, 0),
            first(0, ORDER, 0, 1),
        ];
        let distinct: std::collections::HashSet<_> = streams.iter().collect();
        assert_eq!(distinct.len(), streams.len());
        assert_eq!(first(1, ORDER, 0, 0), streams[1]);
    }

    #[test]
    fn bounded_numbers_are_even_and_in_range() {
        let rng = &mut stream(0, ORDER, 0, 0);
        let mut counts = [0; 6];
        for _ in 0..6000 {
            counts[below(6, rng)] += 1;
            assert!((0.0..1.0).contains(&unit(rng)));
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }

    #[test]
    fn every_permutation_of_three_is_drawn_equally_often() {
        let rng = &mut stream(0, ORDER, 0, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, rng);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|c| (850..1150).contains(c)),
            "{counts:?}"
        );
    }
}
