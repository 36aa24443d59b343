//! Work cut into tiles that stay in the second-level cache, and dealt out to threads.
//!
//! A tile is some whole images (the many small maps of a patch network) or a band of rows of one large image. Tiles
//! follow each other in memory, so results are cut at their borders and no two threads write the same place. Each
//! thread takes one contiguous part of the tiles: what it computes does not depend on scheduling, only on the number
//! of threads, and results come back in the order of the tiles.

use super::buffers::Buffer;
use super::vectors::vectorised;
use rayon::prelude::*;
use std::ops::Range;

/// Floats of the larger side of a tile: input and output together stay inside a second-level cache of 1 MB. Measured.
const TILE_FLOATS: usize = 80 * 1024;

/// The most that a tile grows to where a layer has more weights than that: every tile reads them all.
const LARGEST_TILE_FLOATS: usize = 128 * 1024;

/// Some images, and some output rows of each.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    /// The images.
    pub images: Range<usize>,
    /// Which of [`Tiling::bands`] its output rows are.
    pub band: usize,
}

/// A cut of `images` maps of `rows` output rows.
#[derive(Debug)]
pub(crate) struct Tiling {
    /// The different ranges of output rows; a single one where tiles are whole images.
    pub bands: Vec<Range<usize>>,
    /// The tiles, in the order of memory.
    pub tiles: Vec<Tile>,
}

impl Tiling {
    /// Cuts maps that take `floats` floats an image on their larger side, for work that reads `weights` floats a tile.
    pub(crate) fn new(images: usize, rows: usize, floats: usize, weights: usize) -> Self {
        let tile_floats = weights.clamp(TILE_FLOATS, LARGEST_TILE_FLOATS);
        if floats <= tile_floats {
            // Multiples of 24 images fill the register tiles of 1x1 and 2x2 maps (6 or 8 rows at a time).
            let fit = (tile_floats / floats.max(1)).max(1);
            let fit = if fit >= 24 { fit / 24 * 24 } else { fit };
            let per_tile = fit.min(images.div_ceil(rayon::current_num_threads())).max(1);
            let tiles = (0..images).step_by(per_tile).map(|i| Tile { images: i..(i + per_tile).min(images), band: 0 });
            return Self { bands: std::iter::once(0..rows).collect(), tiles: tiles.collect() };
        }
        let per_band = (rows * tile_floats / floats).max(1);
        let bands: Vec<_> = (0..rows).step_by(per_band).map(|r| r..(r + per_band).min(rows)).collect();
        let tiles =
            (0..images).flat_map(|i| (0..bands.len()).map(move |band| Tile { images: i..i + 1, band })).collect();
        Self { bands, tiles }
    }

    /// Runs `work` on every tile with its part of `target` (`floats(tile)` long) and the thread's own state from
    /// `start`. Returns the results in the order of the tiles, and the states in the order of the threads.
    pub(crate) fn run<W: Send, R: Send>(
        &self,
        target: &mut [f32],
        floats: impl Fn(&Tile) -> usize,
        start: impl Fn() -> W + Sync,
        work: impl Fn(&mut W, &Tile, &mut [f32]) -> R + Sync,
    ) -> (Vec<R>, Vec<W>) {
        let mut rest = target;
        let mut items = Vec::with_capacity(self.tiles.len());
        for tile in &self.tiles {
            let (part, left) = rest.split_at_mut(floats(tile));
            items.push((tile, part));
            rest = left;
        }
        let per_thread = items.len().div_ceil(rayon::current_num_threads()).max(1);
        let done: Vec<(Vec<R>, W)> = items
            .par_chunks_mut(per_thread)
            .map(|items| {
                let mut state = start();
                (items.iter_mut().map(|(tile, part)| work(&mut state, tile, part)).collect(), state)
            })
            .collect();
        let (results, states): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        (results.into_iter().flatten().collect(), states)
    }
}

/// Runs `work(offset, part)` on equal contiguous parts of a buffer, cut at multiples of `unit` floats.
pub(crate) fn for_each_part(target: &mut [f32], unit: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let units = target.len().div_ceil(unit.max(1));
    let per_part = units.div_ceil(4 * rayon::current_num_threads()).max(1) * unit.max(1);
    target.par_chunks_mut(per_part).enumerate().for_each(|(i, part)| work(i * per_part, part));
}

/// `sum += x`, as far as `sum` goes.
pub(crate) fn add(sum: &mut [f32], x: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (s, x) in sum.iter_mut().zip(x) {
                *s += x;
            }
        },
    );
}

/// The sum of the threads' buffers, in their order.
pub(crate) fn sum_in_order(parts: Vec<Buffer>) -> Buffer {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for_each_part(&mut sum, 1024, |at, sum| add(sum, &part[at..]));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything_once_in_order() {
        for (images, rows, floats) in [(1, 1, 1), (7, 2, 100), (100, 8, 16384), (3, 56, 200_704), (2, 5, 1 << 20)] {
            let tiling = Tiling::new(images, rows, floats, 0);
            let seen: Vec<_> = tiling
                .tiles
                .iter()
                .flat_map(|t| t.images.clone().flat_map(|i| tiling.bands[t.band].clone().map(move |r| (i, r))))
                .collect();
            let all: Vec<_> = (0..images).flat_map(|i| (0..rows).map(move |r| (i, r))).collect();
            assert_eq!(seen, all);
        }
    }
}
