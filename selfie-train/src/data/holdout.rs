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
        // One pass, and nothing is kept but the numbers of the few: there may be millions of images.
        let (mut held_out, mut least, mut most) = (Vec::new(), (f64::INFINITY, 0), (f64::NEG_INFINITY, 0));
        for i in 0..self.len() {
            let (hash, i) = (unit_hash(&self.name(i)), i as u32);
            if hash < fraction {
                held_out.push(i);
            }
            least = if hash < least.0 { (hash, i) } else { least };
            most = if hash >= most.0 { (hash, i) } else { most };
        }
        if fraction > 0.0 && self.len() > 1 {
            if held_out.is_empty() {
                held_out.push(least.1);
            } else if held_out.len() == self.len() {
                held_out.remove(most.1 as usize); // all are in it, in their order
            }
        }
        let mut held = held_out.iter().copied().peekable();
        let train = (0..self.len() as u32).filter(|i| held.next_if_eq(i).is_none());
        Ok((self.part(train), self.part(held_out.iter().copied())))
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
