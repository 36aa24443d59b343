//! The weight gradient's product: `gradient[o, c] += Σ_rows upstream[row, o] · input[row, c]`.
//!
//! Replaces the transposed im2col product of Candle's convolution backward. The reduction runs over pixels, so a tile
//! of R output channels x V vectors of input channels stays in registers while blocks of rows that fit the first
//! cache stream past; nothing is transposed or copied. Rows are pairs of offsets, one list per kernel tap.
//!
//! Layout: both operands (rows, channels); the gradient (out_channels, in_channels), row-major.

// Tiles are indexed by constants once unrolled; iterators over them would live in memory.
#![allow(clippy::needless_range_loop)]

use super::product::{Rows, store};
use pulp::{Arch, Simd, WithSimd};

/// Rows that are streamed before the next register tile begins.
const BLOCK_ROWS: usize = 128;

/// Adds the outer products of all rows to `gradient` (out_channels, in_channels).
///
/// `rows` pairs offsets into `input` (in_channels floats each) with offsets into `upstream` (out_channels floats).
pub(crate) fn outer(
    input: &[f32],
    upstream: &[f32],
    gradient: &mut [f32],
    channels: (usize, usize),
    rows: Rows,
) {
    let (c_in, c_out) = channels;
    let Some((last_input, last_upstream)) = rows.last() else {
        return;
    };
    assert!(
        last_input + c_in <= input.len(),
        "outer: a row leaves the input"
    );
    assert!(
        last_upstream + c_out <= upstream.len(),
        "outer: a row leaves the upstream gradient"
    );
    assert!(
        c_in * c_out <= gradient.len(),
        "outer: the gradient is too short"
    );
    let (per_block, pixels) = (
        (BLOCK_ROWS / rows.offsets.len()).max(1),
        BLOCK_ROWS.max(rows.offsets.len().min(2 * BLOCK_ROWS)),
    );
    for first in (0..rows.images).step_by(per_block) {
        let images = per_block.min(rows.images - first);
        for offsets in rows.offsets.chunks(pixels) {
            Arch::new().dispatch(Block {
                input: &input[first * rows.image_stride.0..],
                upstream: &upstream[first * rows.image_stride.1..],
                gradient,
                channels,
                rows: Rows {
                    offsets,
                    images,
                    ..rows
                },
            });
        }
    }
}

/// A checked call over a block of rows.
struct Block<'a> {
    input: &'a [f32],
    upstream: &'a [f32],
    gradient: &'a mut [f32],
    channels: (usize, usize),
    rows: Rows<'a>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (c_in, lanes) = (self.channels.0, S::F32_LANES);
        let panel = lanes * if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
        for column in (0..c_in).step_by(panel) {
            let columns = panel.min(c_in - column);
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
    fn panel<S: Simd, const V: usize, const R: usize>(
        &mut self,
        simd: S,
        column: usize,
        columns: usize,
    ) {
        let c_out = self.channels.1;
        let mut o = 0;
        while o + R <= c_out {
            self.tile::<S, V, R>(simd, o, column, columns);
            o += R;
        }
        while o + 4 <= c_out {
            self.tile::<S, V, 4>(simd, o, column, columns);
            o += 4;
        }
        while o < c_out {
            self.tile::<S, V, 1>(simd, o, column, columns);
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
    ) {
        let lanes = S::F32_LANES;
        let full = columns == V * lanes;
        let mut sum = [[simd.splat_f32s(0.0); V]; R];
        for image in 0..self.rows.images {
            let from = (
                image * self.rows.image_stride.0 + column,
                image * self.rows.image_stride.1 + o,
            );
            for &(input, upstream) in self.rows.offsets {
                let mut x = [simd.splat_f32s(0.0); V];
                // SAFETY: `outer` has checked that every row's c_in and c_out floats lie inside the two slices, and
                // column + columns <= c_in, o + R <= c_out.
                unsafe {
                    let input = self.input.as_ptr().add(from.0 + input as usize);
                    let upstream = self.upstream.as_ptr().add(from.1 + upstream as usize);
                    for v in 0..V {
                        x[v] = if full || (v + 1) * lanes <= columns {
                            input.add(v * lanes).cast::<S::f32s>().read_unaligned()
                        } else {
                            simd.partial_load_f32s(std::slice::from_raw_parts(
                                input.add(v * lanes),
                                columns - v * lanes,
                            ))
                        };
                    }
                    for r in 0..R {
                        let g = simd.splat_f32s(*upstream.add(r));
                        for v in 0..V {
                            sum[r][v] = simd.mul_add_e_f32s(g, x[v], sum[r][v]);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            let start = (o + r) * self.channels.0 + column;
            store::<S, V>(
                simd,
                &mut self.gradient[start..start + columns],
                &sum[r],
                true,
            );
        }
    }
}
