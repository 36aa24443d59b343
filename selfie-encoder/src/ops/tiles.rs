//! Work cut into tiles that stay in the second-level cache, and dealt out to threads.
//!
//! A tile is some whole images (the many small maps of a patch network) or a band of rows of one large image. Tiles
//! follow each other in memory, so results are cut at their borders and no two threads write the same place. Each
//! thread takes one contiguous part of the tiles, parts as equal as may be, since a layer waits for its slowest thread:
//! what a thread computes does not depend on scheduling, only on the number of threads, and results come back in the
//! order of the tiles.

use super::buffers::Buffer;
use super::vectors::vectorised;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Floats of the larger side of a tile: input and output together stay inside a second-level cache of 1 MB. Measured.
const TILE_FLOATS: usize = 80 * 1024;

/// The most that a tile grows to where a layer has more weights than that: every tile reads them all.
const LARGEST_TILE_FLOATS: usize = 128 * 1024;

/// Images for each thread from which on one image more or less does not matter; fewer, and images are cut into bands where that
/// makes the threads' parts equal.
const MANY_IMAGES: usize = 16;

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
    /// How many of them each thread takes, one after the other.
    parts: Vec<usize>,
}

impl Tiling {
    /// Cuts maps that take `floats` floats an image on their larger side, for work that reads `weights` floats a tile.
    pub(crate) fn new(images: usize, rows: usize, floats: usize, weights: usize) -> Self {
        let threads = rayon::current_num_threads();
        let tile_floats = weights.clamp(TILE_FLOATS, LARGEST_TILE_FLOATS);
        let equal = images.is_multiple_of(threads) || images >= MANY_IMAGES * threads || rows == 1;
        if floats <= tile_floats && equal {
            // Multiples of 24 images fill the register tiles of 1x1 and 2x2 maps (6 or 8 rows at a time).
            let fit = (tile_floats / floats.max(1)).max(1);
            let fit = if fit >= 24 { fit / 24 * 24 } else { fit };
            let part = |part: Range<usize>| -> Vec<Tile> {
                let tiles = part.clone().step_by(fit);
                tiles.map(|i| Tile { images: i..(i + fit).min(part.end), band: 0 }).collect()
            };
            let parts: Vec<_> = cut(images, threads).map(part).collect();
            let lengths = parts.iter().map(Vec::len).collect();
            return Self { bands: vec![Range { start: 0, end: rows }], parts: lengths, tiles: parts.concat() };
        }
        let per_band = (rows * tile_floats / floats).clamp(1, rows);
        let least = rows.div_ceil(per_band);
        // Of the next few numbers one gives every thread as many bands as the others.
        let count = (least..least + threads).find(|n| (images * n).is_multiple_of(threads)).unwrap_or(least).min(rows);
        let bands: Vec<_> = cut(rows, count).collect();
        let tiles: Vec<_> =
            (0..images).flat_map(|i| (0..bands.len()).map(move |band| Tile { images: i..i + 1, band })).collect();
        Self { bands, parts: cut(tiles.len(), threads).map(|part| part.len()).collect(), tiles }
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
        let mut rest = &mut items[..];
        let mut parts = Vec::with_capacity(self.parts.len());
        for &part in &self.parts {
            let (own, left) = rest.split_at_mut(part);
            parts.push(own);
            rest = left;
        }
        let done: Vec<(Vec<R>, W)> = parts
            .into_par_iter()
            .map(|items| {
                let mut state = start();
                (items.iter_mut().map(|(tile, part)| work(&mut state, tile, part)).collect(), state)
            })
            .collect();
        let (results, states): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        (results.into_iter().flatten().collect(), states)
    }
}

/// `0..len` in at most `parts` pieces that differ by at most one, none of them empty.
fn cut(len: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = parts.min(len);
    (0..parts).map(move |part| len * part / parts..len * (part + 1) / parts)
}

/// Runs `work(offset, part)` on equal contiguous parts of a buffer, cut at multiples of `unit` floats.
pub(crate) fn for_each_part(target: &mut [f32], unit: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let per_part = part_of(target.len(), unit);
    target.par_chunks_mut(per_part).enumerate().for_each(|(i, part)| work(i * per_part, part));
}

/// A vector that `work(offset, part)` fills: contiguous parts of `per_part` floats, each cleared by the thread that takes it,
/// where `vec![0.0; len]` would keep the others waiting.
pub(crate) fn vec_by_parts(len: usize, per_part: usize, work: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut data = Vec::with_capacity(len);
    data.spare_capacity_mut()[..len].par_chunks_mut(per_part).enumerate().for_each(|(i, part)| {
        part.fill(MaybeUninit::new(0.0));
        // SAFETY: every float of the part has just been written.
        work(i * per_part, unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) });
    });
    // SAFETY: the parts are all of `..len`, and each was cleared.
    unsafe { data.set_len(len) };
    data
}

/// Length of equal parts of `len` floats, cut at multiples of `unit`: a few for each thread.
pub(crate) fn part_of(len: usize, unit: usize) -> usize {
    let unit = unit.max(1);
    len.div_ceil(unit).div_ceil(4 * rayon::current_num_threads()).max(1) * unit
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

    /// Some sizes: (images, rows, floats an image).
    const SIZES: [(usize, usize, usize); 8] = [
        (1, 1, 1),
        (7, 2, 100),
        (100, 8, 16384),
        (1024, 2, 1024),
        (3, 56, 200_704),
        (5, 7, 50_000),
        (1, 14, 300_000),
        (2, 5, 1 << 20),
    ];

    fn on(threads: usize, test: impl FnOnce() + Send) {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(test);
    }

    #[test]
    fn tiles_cover_everything_once_in_order() {
        for (images, rows, floats) in SIZES {
            for threads in [1, 2, 3, 8] {
                on(threads, || {
                    let tiling = Tiling::new(images, rows, floats, 0);
                    let rows_of = |t: &Tile| tiling.bands[t.band].clone();
                    let seen: Vec<_> = tiling
                        .tiles
                        .iter()
                        .flat_map(|t| t.images.clone().flat_map(move |i| rows_of(t).map(move |r| (i, r))))
                        .collect();
                    let all: Vec<_> = (0..images).flat_map(|i| (0..rows).map(move |r| (i, r))).collect();
                    assert_eq!(seen, all);
                    assert_eq!(tiling.parts.iter().sum::<usize>(), tiling.tiles.len());
                });
            }
        }
    }

    #[test]
    fn no_thread_has_much_more_to_do_than_another() {
        for (images, rows, floats) in SIZES {
            for threads in [2, 3, 8] {
                on(threads, || {
                    let tiling = Tiling::new(images, rows, floats, 0);
                    let mut tiles = tiling.tiles.iter();
                    let mut rows_of_part = |&part: &usize| -> usize {
                        tiles.by_ref().take(part).map(|t| t.images.len() * tiling.bands[t.band].len()).sum()
                    };
                    let most = tiling.parts.iter().map(&mut rows_of_part).max().unwrap();
                    let mean = (images * rows) as f64 / threads as f64;
                    // A whole image more, or a band of one.
                    let one_more = tiling.bands.iter().map(Range::len).max().unwrap();
                    assert!(
                        most as f64 <= mean + one_more as f64,
                        "{images} x {rows} on {threads}: {most}, mean {mean}"
                    );
                });
            }
        }
    }

    #[test]
    fn a_vector_by_parts_is_clear_where_nothing_was_written() {
        let written = vec_by_parts(10, 4, |at, part| part[0] = at as f32 + 1.0);
        assert_eq!(written, [1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 9.0, 0.0]);
    }
}
