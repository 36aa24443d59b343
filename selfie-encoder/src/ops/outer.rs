//! The weight gradient's product: `gradient[o, c] += Σ_rows upstream[row, o] · input[row, c]`.
//!
//! Replaces the transposed im2col product of Candle's convolution backward. The reduction runs over pixels: a tile of
//! R output channels x V vectors of input channels stays in registers while a block of rows streams past. Where rows
//! are longer than the tile is wide, the block's part of the input is first copied side by side, since rows a power of
//! two apart would fight for the same few places of the first cache. Rows are pairs of offsets, one list per kernel
//! tap.
//!
//! Layout: both operands (rows, channels); the gradient (out_channels, in_channels), row-major. Measured together with
//! [`super::product`].

// Tiles are indexed by constants once unrolled; iterators over them would live in memory.
#![allow(clippy::needless_range_loop)]

use super::buffers::Buffer;
use super::product::{PREFETCH_ROWS, Rows, prefetch, store};
use pulp::{Arch, Simd, WithSimd};

/// Rows that are streamed before the next register tile begins: side by side (24 KB) they stay in the first cache.
const BLOCK_ROWS: usize = 96;

/// Floats of the widest tile of any processor: four vectors of sixteen.
const WIDEST: usize = 64;

/// Adds the outer products of all rows to `gradient` (out_channels, in_channels).
///
/// `rows` pairs offsets into `input` (in_channels floats each) with offsets into `upstream` (out_channels floats).
pub(crate) fn outer(input: &[f32], upstream: &[f32], gradient: &mut [f32], channels: (usize, usize), rows: Rows) {
    let (c_in, c_out) = channels;
    let Some((last_input, last_upstream)) = rows.last() else {
        return;
    };
    assert!(last_input + c_in <= input.len(), "outer: a row leaves the input");
    assert!(last_upstream + c_out <= upstream.len(), "outer: a row leaves the upstream gradient");
    assert!(c_in * c_out <= gradient.len(), "outer: the gradient is too short");
    let mut side_by_side = Buffer::new(BLOCK_ROWS * WIDEST);
    let all = (0..rows.images).flat_map(|image| {
        let from = (image * rows.image_stride.0, image * rows.image_stride.1);
        rows.offsets.iter().map(move |&(x, g)| (from.0 + x as usize, from.1 + g as usize))
    });
    let mut at = Vec::with_capacity(BLOCK_ROWS);
    let mut left = rows.images * rows.offsets.len();
    for row in all {
        at.push(row);
        left -= 1;
        if at.len() == BLOCK_ROWS || left == 0 {
            let side_by_side = &mut side_by_side[..];
            Arch::new().dispatch(Block { input, upstream, gradient, channels, rows: &at, side_by_side });
            at.clear();
        }
    }
}

/// A checked call over a block of rows.
struct Block<'a> {
    input: &'a [f32],
    upstream: &'a [f32],
    gradient: &'a mut [f32],
    channels: (usize, usize),
    rows: &'a [(usize, usize)],
    side_by_side: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (c_in, lanes) = (self.channels.0, S::F32_LANES);
        let width = lanes * if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
        // `tile` reads a line of up to `width` floats for every row of the block without looking at the buffer's length.
        const {
            assert!(4 * S::F32_LANES <= WIDEST, "outer: a vector holds more floats than the copied lines have room for")
        };
        for column in (0..c_in).step_by(width) {
            let columns = width.min(c_in - column);
            match columns.div_ceil(lanes) {
                1 => self.panel::<S, 1, 8>(simd, column, columns),
                2 if S::REGISTER_COUNT < 32 => self.panel::<S, 2, 6>(simd, column, columns),
                2 => self.panel::<S, 2, 8>(simd, column, columns),
                3 => self.panel::<S, 3, 8>(simd, column, columns),
                _ => self.panel::<S, 4, 6>(simd, column, columns),
            }
        }
    }
}

impl Block<'_> {
    /// All output channels against up to V vectors of input channels.
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const R: usize>(&mut self, simd: S, column: usize, columns: usize) {
        let width = V * S::F32_LANES;
        let as_it_is = columns == width && columns == self.channels.0;
        if !as_it_is {
            for (line, row) in self.side_by_side.chunks_exact_mut(width).zip(self.rows) {
                line[..columns].copy_from_slice(&self.input[row.0 + column..][..columns]);
                line[columns..].fill(0.0);
            }
        }
        let c_out = self.channels.1;
        let mut o = 0;
        while o + R <= c_out {
            self.tile::<S, V, R>(simd, o, column, columns, as_it_is);
            o += R;
        }
        while o + 4 <= c_out {
            self.tile::<S, V, 4>(simd, o, column, columns, as_it_is);
            o += 4;
        }
        while o < c_out {
            self.tile::<S, V, 1>(simd, o, column, columns, as_it_is);
            o += 1;
        }
    }

    /// One register tile: output channels o..o+R x input channels column..column+columns, over the block's rows.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const R: usize>(
        &mut self,
        simd: S,
        o: usize,
        column: usize,
        columns: usize,
        as_it_is: bool,
    ) {
        let lanes = S::F32_LANES;
        let upstream = self.upstream.as_ptr();
        let (input, copy) = (self.input.as_ptr(), self.side_by_side.as_ptr());
        let mut sum = [[simd.splat_f32s(0.0); V]; R];
        for (i, row) in self.rows.iter().enumerate() {
            // SAFETY: `outer` has checked that every row's c_in and c_out floats lie inside the two slices, o + R is at
            // most c_out, and `panel` has filled a line of V vectors for every row that is not read as it is.
            unsafe {
                let line = if as_it_is { input.add(row.0) } else { copy.add(i * V * lanes) };
                let upstream = upstream.add(row.1 + o);
                let mut x = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    x[v] = line.add(v * lanes).cast::<S::f32s>().read_unaligned();
                    prefetch(line.wrapping_add((PREFETCH_ROWS * V + v) * lanes));
                }
                for r in 0..R {
                    let g = simd.splat_f32s(*upstream.add(r));
                    for v in 0..V {
                        sum[r][v] = simd.mul_add_e_f32s(g, x[v], sum[r][v]);
                    }
                }
            }
        }
        // A copy, so that the tile itself is only indexed by constants and stays in registers.
        let done = sum;
        for r in 0..R {
            let start = (o + r) * self.channels.0 + column;
            store::<S, V>(simd, &mut self.gradient[start..start + columns], &done[r], true);
        }
    }
}
