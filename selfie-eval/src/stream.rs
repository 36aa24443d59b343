//! Random streams of this crate: ChaCha8 keyed by (seed, purpose, a, b), as everywhere in the workspace.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is for; eight bytes of ASCII.
#[derive(Clone, Copy)]
pub(crate) struct Purpose(u64);

/// The hold-out that the strength of the regularisation is chosen on: a = class.
pub(crate) const HOLDOUT: Purpose = Purpose(u64::from_le_bytes(*b"evalhold"));
/// Images of the benchmark: a = step.
pub(crate) const BENCH: Purpose = Purpose(u64::from_le_bytes(*b"evalbnch"));

/// The generator of (seed, purpose, a, b).
pub(crate) fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (to, from) in key.chunks_exact_mut(8).zip([seed, purpose.0, a, b]) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A number in `0..n`, from the high half of a 128-bit product (its bias is below n / 2^64).
pub(crate) fn below(n: usize, rng: &mut impl RngCore) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}
