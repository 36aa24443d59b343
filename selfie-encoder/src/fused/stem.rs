//! The stem inside the fused trunk: its input has so few channels that a tile of columns (im2col) pays, made from the
//! image (C, H, W) as it comes and thrown away with the tile. Columns are in the order (channel, ky, kx), that of the
//! weights, so neither these nor their gradient need reordering.

use crate::ops::buffers::Buffer;
use crate::ops::norm::{InputGradient, Moments, MomentsOf};
use crate::ops::taps::Geometry;
use crate::ops::tiles::{Tile, Tiling, sum_in_order};
use crate::ops::{Packed, Rows, Run, outer, product};
use std::ops::Range;

/// Length of a column: channels · k · k.
fn column(g: &Geometry) -> usize {
    g.channels.0 * g.kernel * g.kernel
}

fn tiling(g: &Geometry, images: usize) -> Tiling {
    let (oh, ow) = g.output();
    Tiling::new(images, oh, oh * ow * column(g).max(g.channels.1), 0)
}

/// For each pixel of a tile, where its column begins and where its output does.
fn pixels(count: usize, g: &Geometry) -> Vec<(u32, u32)> {
    (0..count).map(|i| ((i * column(g)) as u32, (i * g.channels.1) as u32)).collect()
}

/// Writes the columns of some output rows of one image (C, H, W).
fn columns(image: &[f32], g: &Geometry, rows: Range<usize>, out: &mut [f32]) {
    let ((h, w), k) = (g.input, g.kernel);
    let mut lines = out.chunks_exact_mut(k);
    for oy in rows {
        for ox in 0..g.output().1 {
            let left = (ox * g.stride) as isize - g.padding as isize;
            for map in image.chunks_exact(h * w) {
                for ky in 0..k {
                    let Some(line) = lines.next() else { return };
                    let row =
                        (oy * g.stride + ky).checked_sub(g.padding).filter(|&y| y < h).map(|y| &map[y * w..][..w]);
                    match row {
                        Some(row) if left >= 0 && left as usize + k <= w => {
                            line.copy_from_slice(&row[left as usize..][..k]);
                        }
                        Some(row) => {
                            for (kx, x) in line.iter_mut().enumerate() {
                                let at = left + kx as isize;
                                *x = if at >= 0 && (at as usize) < w { row[at as usize] } else { 0.0 };
                            }
                        }
                        None => line.fill(0.0),
                    }
                }
            }
        }
    }
}

/// The columns of all images of a tile.
fn tile_columns<'s>(x: &[f32], g: &Geometry, tile: &Tile, rows: &Range<usize>, buffer: &'s mut Buffer) -> &'s [f32] {
    let (image, part) = (g.floats().0, rows.len() * g.output().1 * column(g));
    let out = buffer.at_least(tile.images.len() * part);
    for (i, out) in tile.images.clone().zip(out.chunks_exact_mut(part)) {
        columns(&x[i * image..][..image], g, rows.clone(), out);
    }
    out
}

/// `z = conv(x)`, x (images, C, H, W), z channels-last; with `statistics`, the moments of each channel.
pub(super) fn forward(
    g: &Geometry,
    images: usize,
    x: &[f32],
    w: &[f32],
    z: &mut [f32],
    statistics: Option<MomentsOf>,
) -> Moments {
    let (k, c_out) = (column(g), g.channels.1);
    let weights = Packed::forward(w, (c_out, k, 1));
    let tiling = tiling(g, images);
    let target = |tile: &Tile| tile.images.len() * tiling.bands[tile.band].len() * g.output().1 * c_out;
    let (moments, _) = tiling.run(z, target, Buffer::default, |buffer, tile, z| {
        let columns = tile_columns(x, g, tile, &tiling.bands[tile.band], buffer);
        let offsets = pixels(z.len() / c_out, g);
        let rows = Rows { offsets: &offsets, images: 1, image_stride: (0, 0) };
        product(columns, z, &weights, rows, &[Run { source: 0, panel_row: 0, len: k }], false);
        statistics.map(|of| of(z, c_out))
    });
    let mut all = Moments::empty(c_out);
    moments.iter().flatten().for_each(|m| all.merge(m));
    all
}

/// The weights' gradient (out, in, k, k), from the gradient of the norm's output.
pub(super) fn backward(
    g: &Geometry,
    images: usize,
    x: &[f32],
    z: &[f32],
    gradient: &[f32],
    line: &InputGradient,
) -> Vec<f32> {
    let (k, c_out, row) = (column(g), g.channels.1, g.output().1 * g.channels.1);
    let tiling = tiling(g, images);
    let image = g.floats().1;
    let start = || (Buffer::zeros(k * c_out), Buffer::default(), Buffer::default());
    let (_, states) = tiling.run(
        &mut [],
        |_| 0,
        start,
        |(dw, column_buffer, dz_buffer), tile, _| {
            let rows = &tiling.bands[tile.band];
            let columns = tile_columns(x, g, tile, rows, column_buffer);
            let at = tile.images.start * image + rows.start * row..(tile.images.end - 1) * image + rows.end * row;
            let dz = dz_buffer.at_least(at.len());
            line.apply(&gradient[at.clone()], &z[at], dz);
            let offsets = pixels(dz.len() / c_out, g);
            outer(columns, dz, dw, (k, c_out), Rows { offsets: &offsets, images: 1, image_stride: (0, 0) });
        },
    );
    sum_in_order(states.into_iter().map(|s| s.0).collect()).to_vec()
}
