//! Dropout without a generator's state: a mask entry is a hash of (seed, site, row, column).
//!
//! A counter-based hash needs no storage (backward computes the same mask again), no order (any thread may compute any
//! row) and no device (the masks of both code paths agree). The row's key comes from splitmix64 (Steele, Lea, Flood
//! 2014), the entry's bits from a 32-bit multiply-xorshift finaliser, which vectorises.

use candle_core::{DType, Device, Result, Shape, Tensor};
use rayon::prelude::*;

/// Whether a forward pass trains or evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is on. The masks of an image are a function of the seed and its number, so they do not depend on how a batch
    /// is cut: derive a fresh seed for every step, or count images over all steps.
    Train {
        /// The seed of all dropout masks of this pass.
        seed: u64,
        /// The number of the first image; the others follow.
        first_image: u64,
    },
    /// Dropout is off.
    Eval,
}

/// The four places of a block where PyTorch's `TransformerEncoderLayer` has dropout.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    /// On the attention weights.
    Attention = 0,
    /// On the output of the attention, before the residual sum.
    AttentionOutput = 1,
    /// On the hidden units of the feed-forward part, after GELU.
    Hidden = 2,
    /// On the output of the feed-forward part, before the residual sum.
    FeedForwardOutput = 3,
}

/// The dropout of one site in one pass: entry (row, column) is kept, and divided by 1 - rate, or cleared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    /// Hashes below this are cleared: rate * 2^32.
    threshold: u32,
    /// 1 / (1 - rate).
    scale: f32,
    key: u64,
    /// Rows of the images before the first one.
    first_row: u64,
}

impl Dropout {
    /// Of a site where each image has `rows_per_image` rows.
    pub(crate) fn new(rate: f64, mode: Mode, layer: usize, site: Site, rows_per_image: usize) -> Self {
        match mode {
            Mode::Train { seed, first_image } if rate > 0.0 => Self {
                threshold: (rate * 2f64.powi(32)) as u32,
                scale: (1.0 / (1.0 - rate)) as f32,
                key: splitmix(splitmix(seed) ^ (4 * layer as u64 + site as u64)),
                first_row: first_image.wrapping_mul(rows_per_image as u64),
            },
            _ => Self { threshold: 0, scale: 1.0, key: 0, first_row: 0 },
        }
    }

    /// Whether nothing is dropped.
    pub(crate) fn is_identity(&self) -> bool {
        self.threshold == 0
    }

    /// Writes the factors of one row, counted from the first image's first, each 0 or 1 / (1 - rate).
    #[inline(always)]
    pub(crate) fn factors(&self, row: usize, out: &mut [f32]) {
        if self.is_identity() {
            return out.fill(1.0);
        }
        let key = splitmix(self.key.wrapping_add(self.first_row).wrapping_add(row as u64));
        // Blocks of a known length vectorise also where a row is short.
        let (blocks, rest) = out.as_chunks_mut::<8>();
        let mut column = 0u32;
        for block in blocks {
            for (lane, out) in (0u32..).zip(block) {
                *out = self.factor(key, column.wrapping_add(lane));
            }
            column = column.wrapping_add(8);
        }
        for (lane, out) in (0u32..).zip(rest) {
            *out = self.factor(key, column.wrapping_add(lane));
        }
    }

    #[inline(always)]
    fn factor(&self, key: u64, column: u32) -> f32 {
        let mut hash = column.wrapping_mul(0x9E37_79B9) ^ key as u32;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x7FEB_352D);
        hash = (hash ^ (hash >> 15) ^ (key >> 32) as u32).wrapping_mul(0x846C_A68B);
        hash ^= hash >> 16;
        if hash >= self.threshold { self.scale } else { 0.0 }
    }

    /// `x` times its factors, by Candle's own ops; `x` counts as `rows` rows of equal length, in the order of its entries.
    pub(crate) fn apply(&self, x: &Tensor, rows: usize) -> Result<Tensor> {
        if self.is_identity() {
            return Ok(x.clone());
        }
        x * self.mask(rows, x.shape(), x.dtype(), x.device())?
    }

    fn mask(&self, rows: usize, shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut factors = vec![0f32; shape.elem_count()];
        let row_len = (shape.elem_count() / rows).max(1);
        factors.par_chunks_mut(row_len).enumerate().for_each(|(row, factors)| self.factors(row, factors));
        // One byte an entry travels to the device, the scale is applied there.
        let kept: Vec<u8> = factors.into_iter().map(|factor| u8::from(factor != 0.0)).collect();
        Tensor::from_vec(kept, shape, device)?.to_dtype(dtype)?.affine(self.scale as f64, 0.0)
    }
}

/// The output function of splitmix64.
#[inline(always)]
fn splitmix(counter: u64) -> u64 {
    let z = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(seed: u64, site: Site, rows: usize, columns: usize) -> Vec<f32> {
        let dropout = Dropout::new(0.1, Mode::Train { seed, first_image: 0 }, 0, site, 1);
        let mut out = vec![0.0; rows * columns];
        out.chunks_mut(columns).enumerate().for_each(|(row, out)| dropout.factors(row, out));
        out
    }

    #[test]
    fn the_rate_and_the_expectation_are_kept() {
        for (rows, columns) in [(1000, 1000), (50_000, 13), (1, 1_000_000)] {
            let mask = masks(7, Site::Hidden, rows, columns);
            let n = mask.len() as f64;
            let dropped = mask.iter().filter(|&&f| f == 0.0).count() as f64 / n;
            let mean = mask.iter().map(|&f| f as f64).sum::<f64>() / n;
            // Four standard deviations of a share of 0.1.
            let bound = 4.0 * (0.09 / n).sqrt();
            assert!((dropped - 0.1).abs() < bound, "{rows}x{columns}: {dropped}");
            assert!((mean - 1.0).abs() < bound / 0.9, "{rows}x{columns}: {mean}");
        }
    }

    #[test]
    fn columns_rows_seeds_and_sites_are_uncorrelated() {
        let (rows, columns) = (1000, 1000);
        let drops = |m: &[f32]| m.iter().map(|&f| f64::from(u8::from(f == 0.0)) - 0.1).collect::<Vec<_>>();
        let base = drops(&masks(7, Site::Hidden, rows, columns));
        let correlation =
            |other: &[f64]| base.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() / 0.09 / base.len() as f64;
        let bound = 5.0 / (base.len() as f64).sqrt();
        assert!(correlation(&base[1..]).abs() < bound, "neighbouring columns");
        assert!(correlation(&base[columns..]).abs() < bound, "neighbouring rows");
        assert!(correlation(&drops(&masks(8, Site::Hidden, rows, columns))).abs() < bound, "seeds");
        assert!(correlation(&drops(&masks(7, Site::Attention, rows, columns))).abs() < bound, "sites");
    }

    #[test]
    fn eval_mode_and_rate_zero_drop_nothing() {
        assert!(Dropout::new(0.1, Mode::Eval, 0, Site::Hidden, 1).is_identity());
        assert!(Dropout::new(0.0, Mode::Train { seed: 1, first_image: 0 }, 0, Site::Hidden, 1).is_identity());
    }
}
