//! The product behind every convolution: rows of activations times a packed panel of weights.
//!
//! Replaces Candle's im2col + matrix product. A convolution in channels-last layout is, for each output pixel,
//! `out[row, :] = Σ_runs Σ_k in[row + run.source + k] · W[run.panel_row + k, :]`: every kernel tap that falls inside
//! the image is one contiguous run of input channels ([`super::taps`]), so nothing is padded, copied or multiplied
//! by a border's zeros. A tile of R rows x V vectors stays in registers over all runs, and the weights are packed
//! once per layer into panels that are read in order.
//!
//! Layout: activations (rows, channels); weights as panels of (k, V·lanes). Vectors are chosen at run time through
//! `pulp` (AVX-512, AVX2, NEON, scalar).
//!
//! Measured: [`super::conv`] has the rates. A panel comes from the second cache, and a profile showed its loads as the
//! one place where the loop waits; panels prefetched and the blocks of [`super::outer`] halved gave 17 % more images/s in
//! 224-pixel fine-tuning, 10 % at width 64 and 3 % at width 16 (means of two runs, on a machine that moves by as much).

// Tiles are indexed by constants once unrolled; iterators over them would live in memory.
#![allow(clippy::needless_range_loop)]

use super::buffers::Buffer;
use super::vectors::vectorised;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Floats of one output channel that are packed together: the block that they are turned into stays in the first cache, so
/// that panels are written a row at a time. With [`transpose`] and [`deal_out`] three times as fast as float by float into the
/// panel for 3x3 kernels, twice for 1x1.
const PACK_FLOATS: usize = 72;

/// Rows of a panel that are asked for ahead of their use: a panel is longer than the first cache.
pub(super) const PREFETCH_ROWS: usize = 8;

/// One contiguous piece of the inner product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Offset in floats from the row's source offset to the run's first input.
    pub source: usize,
    /// Row of the packed weights that meets the run's first input.
    pub panel_row: usize,
    /// Number of inputs.
    pub len: usize,
}

/// A weight matrix (k, n) cut into panels of a few vectors; the last panel is padded with zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    k: usize,
    n: usize,
    lanes: usize,
    width: usize, // floats in a full panel's row
    data: Buffer,
}

impl Packed {
    /// The matrix of a forward pass, from weights (n, c, taps): row `tap · c + channel` meets column n.
    pub(crate) fn forward(weights: &[f32], (n, c, taps): (usize, usize, usize)) -> Self {
        let together = (PACK_FLOATS / taps).max(1);
        Self::new(taps * c, n, |first, columns, width, panel| {
            let mut block = Buffer::zeros(together * taps * width);
            for from in (0..c).step_by(together) {
                let channels = together.min(c - from);
                let weights = &weights[(first * c + from) * taps..];
                transpose(weights, (columns, c * taps), &mut block, (channels * taps, width));
                for tap in 0..taps {
                    let rows = block.chunks_exact(width).skip(tap).step_by(taps);
                    let panel = panel[(tap * c + from) * width..][..channels * width].chunks_exact_mut(width);
                    panel.zip(rows).for_each(|(panel, row)| panel.copy_from_slice(row));
                }
            }
        })
    }

    /// The matrix of an input gradient, from weights (c, n, taps): row `tap · c + channel` meets column n.
    pub(crate) fn backward(weights: &[f32], (c, n, taps): (usize, usize, usize)) -> Self {
        Self::new(taps * c, n, |first, columns, width, panel| {
            for (channel, weights) in weights.chunks_exact(n * taps).enumerate() {
                let weights = &weights[first * taps..][..columns * taps];
                let panel = &mut panel[channel * width..];
                match taps {
                    1 => panel[..columns].copy_from_slice(weights),
                    9 => deal_out::<9>(weights, panel, c * width),
                    _ => transpose(weights, (columns, taps), panel, (taps, c * width)),
                }
            }
        })
    }

    /// A matrix (k, n) whose panels `fill(first column, columns, floats in a row, panel)` writes.
    fn new(k: usize, n: usize, fill: impl Fn(usize, usize, usize, &mut [f32]) + Sync) -> Self {
        let (lanes, full) = panel_shape();
        let mut data = Buffer::new(k * n.next_multiple_of(lanes));
        data.par_chunks_mut(k * full).enumerate().for_each(|(index, panel)| {
            let (first, width) = (index * full, panel.len() / k);
            let columns = width.min(n - first);
            if columns < width {
                panel.chunks_exact_mut(width).for_each(|row| row[columns..].fill(0.0));
            }
            fill(first, columns, width, panel);
        });
        Self { k, n, lanes, width: full, data }
    }
}

/// `target[j · to + i] = source[i · from + j]` for i in 0..columns, j in 0..rows: four by four, which the compiler makes
/// shuffles of vectors of.
#[inline(always)]
fn transpose(source: &[f32], (columns, from): (usize, usize), target: &mut [f32], (rows, to): (usize, usize)) {
    vectorised(
        #[inline(always)]
        || {
            let columns4 = columns / 4 * 4;
            for i in (0..columns4).step_by(4) {
                let lines: [&[f32]; 4] = std::array::from_fn(|r| &source[(i + r) * from..][..rows]);
                let (blocks, rest) = (lines.map(|line| line.as_chunks::<4>().0), rows / 4 * 4);
                let mut at = i;
                for j in 0..rows / 4 {
                    let block: [[f32; 4]; 4] = std::array::from_fn(|r| blocks[r][j]);
                    for q in 0..4 {
                        let column: [f32; 4] = std::array::from_fn(|r| block[r][q]);
                        target[at..at + 4].copy_from_slice(&column);
                        at += to;
                    }
                }
                for j in rest..rows {
                    let column: [f32; 4] = std::array::from_fn(|r| lines[r][j]);
                    target[at..at + 4].copy_from_slice(&column);
                    at += to;
                }
            }
            for i in columns4..columns {
                for (j, x) in source[i * from..][..rows].iter().enumerate() {
                    target[j * to + i] = *x;
                }
            }
        },
    );
}

/// `target[tap · to + i] = source[i · T + tap]`: [`transpose`] where the length of the source's rows is known and short.
#[inline(always)]
fn deal_out<const T: usize>(source: &[f32], target: &mut [f32], to: usize) {
    vectorised(
        #[inline(always)]
        || {
            let columns = source.as_chunks::<T>().0;
            let (fours, rest) = columns.as_chunks::<4>();
            for (i, four) in fours.iter().enumerate() {
                for tap in 0..T {
                    let taps: [f32; 4] = std::array::from_fn(|r| four[r][tap]);
                    target[tap * to + 4 * i..][..4].copy_from_slice(&taps);
                }
            }
            for (i, taps) in (4 * fours.len()..).zip(rest) {
                for (tap, x) in taps.iter().enumerate() {
                    target[tap * to + i] = *x;
                }
            }
        },
    );
}

/// (floats in a vector, floats in a full panel's row) of the processor this runs on.
fn panel_shape() -> (usize, usize) {
    struct Shape;
    impl WithSimd for Shape {
        type Output = (usize, usize);
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Self::Output {
            // Four vectors where there are 32 registers (AVX-512, NEON), two where there are 16.
            (S::F32_LANES, S::F32_LANES * if S::REGISTER_COUNT >= 32 { 4 } else { 2 })
        }
    }
    Arch::new().dispatch(Shape)
}

/// The rows of one call: the same list for each of `images` images, at a fixed distance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// For each row of an image: offset in floats of its source, and of its target.
    pub offsets: &'a [(u32, u32)],
    /// Number of images.
    pub images: usize,
    /// Floats from one image to the next, in the source and in the target.
    pub image_stride: (usize, usize),
}

impl Rows<'_> {
    /// Largest source and target offset, or `None` without rows.
    pub(super) fn last(&self) -> Option<(usize, usize)> {
        let last = self.images.checked_sub(1)?;
        let source = self.offsets.iter().map(|o| o.0).max()? as usize;
        let target = self.offsets.iter().map(|o| o.1).max()? as usize;
        Some((source + last * self.image_stride.0, target + last * self.image_stride.1))
    }
}

/// `target[row, :] (+)= Σ_runs source[row + run] · weights[run, :]` for all rows.
pub(crate) fn product(
    source: &[f32],
    target: &mut [f32],
    weights: &Packed,
    rows: Rows,
    runs: &[Run],
    accumulate: bool,
) {
    let Some((last_source, last_target)) = rows.last() else {
        return;
    };
    let reach = runs.iter().map(|r| r.source + r.len).max().unwrap_or(0);
    assert!(last_source + reach <= source.len(), "product: a run leaves the source");
    assert!(last_target + weights.n <= target.len(), "product: a row leaves the target");
    assert!(runs.iter().all(|r| r.panel_row + r.len <= weights.k), "product: a run leaves the weights");
    Arch::new().dispatch(Job { source: source.as_ptr(), target: target.as_mut_ptr(), weights, rows, runs, accumulate });
}

/// A checked call of [`product`].
struct Job<'a> {
    source: *const f32,
    target: *mut f32,
    weights: &'a Packed,
    rows: Rows<'a>,
    runs: &'a [Run],
    accumulate: bool,
}

/// One panel of the weights and the columns of the target that it makes.
#[derive(Clone, Copy)]
struct Panel {
    data: *const f32,
    column: usize,
    columns: usize,
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let w = self.weights;
        for (index, data) in w.data.chunks(w.k * w.width).enumerate() {
            let column = index * w.width;
            let panel = Panel { data: data.as_ptr(), column, columns: (w.n - column).min(w.width) };
            match panel.columns.div_ceil(w.lanes) {
                1 => self.panel::<S, 1, 8>(simd, panel),
                2 if S::REGISTER_COUNT < 32 => self.panel::<S, 2, 6>(simd, panel),
                2 => self.panel::<S, 2, 8>(simd, panel),
                3 => self.panel::<S, 3, 8>(simd, panel),
                _ => self.panel::<S, 4, 6>(simd, panel),
            }
        }
    }
}

impl Job<'_> {
    /// All rows of all images against one panel, R at a time.
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const R: usize>(&self, simd: S, panel: Panel) {
        let mut at = [(0usize, 0usize); R];
        let mut filled = 0;
        for image in 0..self.rows.images {
            let (source, target) = (image * self.rows.image_stride.0, image * self.rows.image_stride.1);
            for &(a, b) in self.rows.offsets {
                at[filled] = (source + a as usize, target + b as usize);
                filled += 1;
                if filled == R {
                    self.tile::<S, V, R>(simd, panel, &at);
                    filled = 0;
                }
            }
        }
        let mut rest = &at[..filled];
        if let Some((four, left)) = rest.split_first_chunk::<4>() {
            self.tile::<S, V, 4>(simd, panel, four);
            rest = left;
        }
        if let Some((two, left)) = rest.split_first_chunk::<2>() {
            self.tile::<S, V, 2>(simd, panel, two);
            rest = left;
        }
        if let Some((one, _)) = rest.split_first_chunk::<1>() {
            self.tile::<S, V, 1>(simd, panel, one);
        }
    }

    /// One register tile: R rows x V vectors over all runs.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const R: usize>(&self, simd: S, panel: Panel, at: &[(usize, usize); R]) {
        let lanes = S::F32_LANES;
        let mut sum = [[simd.splat_f32s(0.0); V]; R];
        for run in self.runs {
            // SAFETY: `product` has checked that row + run.source + run.len stays inside the source for every row,
            // and that panel_row + len stays inside the panel's k rows of V·lanes floats.
            unsafe {
                let mut weights = panel.data.add(run.panel_row * V * lanes);
                let mut inputs = [self.source; R];
                for r in 0..R {
                    inputs[r] = self.source.add(at[r].0 + run.source);
                }
                for k in 0..run.len {
                    let mut w = [simd.splat_f32s(0.0); V];
                    for v in 0..V {
                        w[v] = weights.add(v * lanes).cast::<S::f32s>().read_unaligned();
                        prefetch(weights.wrapping_add((PREFETCH_ROWS * V + v) * lanes));
                    }
                    for r in 0..R {
                        let x = simd.splat_f32s(*inputs[r].add(k));
                        for v in 0..V {
                            sum[r][v] = simd.mul_add_e_f32s(x, w[v], sum[r][v]);
                        }
                    }
                    weights = weights.add(V * lanes);
                }
            }
        }
        // A copy, so that the tile itself is only indexed by constants and stays in registers.
        let done = sum;
        for r in 0..R {
            // SAFETY: `product` has checked that row + n stays inside the target, and column + columns <= n.
            let out = unsafe { std::slice::from_raw_parts_mut(self.target.add(at[r].1 + panel.column), panel.columns) };
            store::<S, V>(simd, out, &done[r], self.accumulate);
        }
    }
}

/// Asks for a place in memory ahead of its use; any address will do, nothing is read.
#[inline(always)]
pub(super) fn prefetch(ahead: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint without effect on memory, whatever the address; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ahead.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ahead;
}

/// Writes, or adds, `out.len()` floats of a row of V vectors.
#[inline(always)]
pub(super) fn store<S: Simd, const V: usize>(simd: S, out: &mut [f32], sum: &[S::f32s; V], accumulate: bool) {
    let lanes = S::F32_LANES;
    // The index of `sum` must be a constant once unrolled, or the tile would live in memory.
    for v in 0..V {
        if (v + 1) * lanes <= out.len() {
            // SAFETY: the vector v lies inside `out`.
            unsafe {
                let to = out.as_mut_ptr().add(v * lanes).cast::<S::f32s>();
                to.write_unaligned(if accumulate { simd.add_f32s(to.read_unaligned(), sum[v]) } else { sum[v] });
            }
        } else if v * lanes < out.len() {
            let part = &mut out[v * lanes..];
            let old = if accumulate { simd.partial_load_f32s(part) } else { simd.splat_f32s(0.0) };
            simd.partial_store_f32s(part, simd.add_f32s(old, sum[v]));
        }
    }
}
