//! Bounded numbers and permutations from a random stream, by the few lines below and not by `rand`'s, whose values may
//! change from one version to the next.

use rand::RngCore;

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
    use crate::seed::{Purpose, stream};

    #[test]
    fn bounded_numbers_are_even_and_in_range() {
        let rng = &mut stream(0, Purpose::ImageOrder, 0, 0);
        let mut counts = [0; 6];
        for _ in 0..6000 {
            counts[below(6, rng)] += 1;
            assert!((0.0..1.0).contains(&unit(rng)));
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }

    #[test]
    fn every_permutation_of_three_is_drawn_equally_often() {
        let rng = &mut stream(0, Purpose::ImageOrder, 0, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, rng);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
