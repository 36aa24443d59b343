//! Random streams: every draw of a run comes from a generator that is a function of what it is for, never of when or where it is drawn.
//!
//! A stream is ChaCha8 keyed by four words (seed, purpose, a, b). Neither the number of threads nor a restart can
//! change what it yields, which is what makes a resumed run equal to one that was never stopped.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for; two purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The first values of a parameter: `a` is the hash of its name.
    Parameter = 1,
    /// Masks of training batches: `a` is the step where one mask serves the whole batch, else 0.
    Mask = 2,
    /// Dropout: `a` is the step.
    Dropout = 3,
    /// Subsets of distractors during training.
    Distractors = 4,
    /// Masks of an evaluation: `a` counts the masks of an image.
    Evaluation = 5,
    /// The order of the training images: `a` is the epoch.
    ImageOrder = 6,
    /// The augmentation of an image: `a` is the epoch, `b` the number of the image in the data set.
    Augmentation = 7,
    /// The choice of labelled images: `a` is the class.
    LabelSubset = 8,
    /// The images drawn for one that cannot be read: `a` is the epoch, `b` its number in the data set.
    Replacement = 9,
}

/// The generator of (seed, purpose, a, b).
///
/// ```
/// use rand::RngCore;
/// use selfie_train::{Purpose, stream};
/// assert_eq!(stream(1, Purpose::Mask, 2, 3).next_u64(), stream(1, Purpose::Mask, 2, 3).next_u64());
/// assert_ne!(stream(1, Purpose::Mask, 2, 3).next_u64(), stream(1, Purpose::Dropout, 2, 3).next_u64());
/// ```
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (word, bytes) in [seed, purpose as u64, a, b].iter().zip(key.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A seed for somebody else's generator: the first word of the stream.
#[must_use]
pub fn derive(seed: u64, purpose: Purpose, a: u64, b: u64) -> u64 {
    stream(seed, purpose, a, b).next_u64()
}

/// FNV-1a, 64 bits: a hash of a name that no release of the standard library can change.
pub(crate) fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hash_is_the_published_fnv1a() {
        assert_eq!(hash_name(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_name("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash_name("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn each_word_of_the_key_changes_the_stream() {
        let base = derive(1, Purpose::Mask, 2, 3);
        let others = [
            derive(9, Purpose::Mask, 2, 3),
            derive(1, Purpose::Dropout, 2, 3),
            derive(1, Purpose::Mask, 9, 3),
            derive(1, Purpose::Mask, 2, 9),
        ];
        assert!(others.iter().all(|&other| other != base));
    }
}
