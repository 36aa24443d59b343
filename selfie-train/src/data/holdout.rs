//! Held-out images: chosen by a hash of their names, so that they stay the same in any order, on any machine, and when
//! other images join or leave.

use super::dataset::Dataset;
use super::error::{DataError, DataResult};
use crate::seed::hash_name;

impl Dataset {
    /// Cuts off about `fraction` of the images; returns the rest and the held-out ones, both in the order of this set.
    ///
    /// An image is held out where the hash of its name, as a number in [0, 1), lies below `fraction`: a larger fraction
    /// holds out the same images and more. Where there are at least two images and `fraction` is above 0, neither side
    /// stays empty: the image with the smallest (or largest) hash moves.
    ///
    /// # Errors
    /// [`DataError::Config`] if `fraction` does not lie in [0, 1).
    pub fn split_holdout(&self, fraction: f64) -> DataResult<(Dataset, Dataset)> {
        if !(0.0..1.0).contains(&fraction) {
            let reason = format!("{fraction}, expected a share in [0, 1)");
            return Err(DataError::config("data.holdout", reason));
        }
        let mut hashes: Vec<(f64, usize)> = (0..self.len()).map(|i| (unit_hash(&self.name(i)), i)).collect();
        hashes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut count = hashes.partition_point(|(hash, _)| *hash < fraction);
        if fraction > 0.0 && self.len() > 1 {
            count = count.clamp(1, self.len() - 1);
        }
        let (held_out, train) = hashes.split_at(count);
        let in_order = |part: &[(f64, usize)]| {
            let mut indices: Vec<usize> = part.iter().map(|(_, i)| *i).collect();
            indices.sort_unstable();
            self.select(&indices)
        };
        Ok((in_order(train)?, in_order(held_out)?))
    }
}

/// A hash of `name` in [0, 1).
fn unit_hash(name: &str) -> f64 {
    (mix(hash_name(name)) >> 11) as f64 / (1u64 << 53) as f64
}

/// MurmurHash3's finaliser: FNV's last bytes hardly reach the high bits, which a threshold reads.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_are_spread_evenly() {
        let names = (0..50_000).map(|i| format!("train/{i}"));
        let mut counts = [0; 50];
        for name in names {
            counts[(unit_hash(&name) * 50.0) as usize] += 1;
        }
        // 1000 each, standard deviation 31.
        assert!(counts.iter().all(|c| (860..1140).contains(c)), "{counts:?}");
    }
}
