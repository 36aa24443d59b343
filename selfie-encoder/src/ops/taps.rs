//! Which kernel taps meet which pixels: the index arithmetic of a convolution, apart from its arithmetic.
//!
//! A pixel of the result needs only the taps that fall inside the source. Pixels that share the same taps form a
//! [`Class`] (a map has at most a few dozen: corners, edges, inside), and each class is one call of
//! [`super::product::product`]. On the 2x2 maps of a patch network's last stage this leaves 16 of 36 taps.
//! The input gradient of a convolution is the same thing with source and target exchanged, strides included.

use super::product::Run;
use std::ops::Range;

/// The sizes of one convolution over channels-last maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Channels in and out.
    pub channels: (usize, usize),
    /// Kernel side.
    pub kernel: usize,
    /// Distance between outputs, in input pixels.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Input height and width.
    pub input: (usize, usize),
}

impl Geometry {
    /// Output height and width.
    pub(crate) fn output(&self) -> (usize, usize) {
        let out = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        (out(self.input.0), out(self.input.1))
    }

    /// Floats of one image going in, and coming out.
    pub(crate) fn floats(&self) -> (usize, usize) {
        let (oh, ow) = self.output();
        (self.input.0 * self.input.1 * self.channels.0, oh * ow * self.channels.1)
    }

    /// Number of weights.
    pub(crate) fn weights(&self) -> usize {
        self.kernel * self.kernel * self.channels.0 * self.channels.1
    }

    /// Pairs of an output pixel and a kernel tap that falls inside the input.
    pub(crate) fn taps_inside(&self) -> usize {
        let (oh, ow) = self.output();
        let along = |size, outputs| -> usize { self.forward_axis(size, 0..outputs).iter().map(Vec::len).sum() };
        along(self.input.0, oh) * along(self.input.1, ow)
    }

    /// Input rows that the given output rows look at.
    pub(crate) fn input_rows(&self, output: &Range<usize>) -> Range<usize> {
        let first = (output.start * self.stride).saturating_sub(self.padding);
        let last = ((output.end - 1) * self.stride + self.kernel).saturating_sub(self.padding);
        first..last.min(self.input.0)
    }

    /// For each position of one output axis: its taps (kernel index, input position).
    fn forward_axis(&self, size: usize, positions: Range<usize>) -> Vec<Vec<(usize, usize)>> {
        let input = |o: usize, k: usize| (o * self.stride + k).checked_sub(self.padding).filter(|&i| i < size);
        positions.map(|o| (0..self.kernel).filter_map(|k| Some((k, input(o, k)?))).collect()).collect()
    }

    /// For each position of one input axis: its taps (kernel index, output position).
    fn backward_axis(&self, outputs: usize, positions: Range<usize>) -> Vec<Vec<(usize, usize)>> {
        let output = |i: usize, k: usize| {
            let scaled = (i + self.padding).checked_sub(k)?;
            (scaled % self.stride == 0 && scaled / self.stride < outputs).then_some(scaled / self.stride)
        };
        positions.map(|i| (0..self.kernel).filter_map(|k| Some((k, output(i, k)?))).collect()).collect()
    }

    /// Input rows that belong to the given output rows when the input is dealt out among them.
    pub(crate) fn input_band(&self, output: &Range<usize>) -> Range<usize> {
        let last =
            if output.end == self.output().0 { self.input.0 } else { (output.end * self.stride).min(self.input.0) };
        (output.start * self.stride).min(last)..last
    }

    /// Output rows whose taps reach the given input rows.
    pub(crate) fn output_rows(&self, input: &Range<usize>) -> Range<usize> {
        let first = (input.start + self.padding + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        let last = (input.end + self.padding).saturating_sub(1) / self.stride + 1;
        first..last.min(self.output().0).max(first)
    }

    /// The output pixels of some rows, by class. Source offsets count from input row `origin`, target offsets from
    /// the first of `rows`; panel rows are (ky, kx, input channel).
    pub(crate) fn forward(&self, rows: Range<usize>, origin: usize) -> Vec<Class> {
        let ys = self.forward_axis(self.input.0, rows);
        let xs = self.forward_axis(self.input.1, 0..self.output().1);
        classes(&ys, &xs, (origin, self.input.1), self.kernel, self.channels)
    }

    /// The input pixels of some rows, by class, for the input gradient: the source is the output's gradient, its
    /// offsets count from output row `origin`; panel rows are (ky, kx, output channel).
    pub(crate) fn backward(&self, rows: Range<usize>, origin: usize) -> Vec<Class> {
        let (oh, ow) = self.output();
        let ys = self.backward_axis(oh, rows);
        let xs = self.backward_axis(ow, 0..self.input.1);
        classes(&ys, &xs, (origin, ow), self.kernel, (self.channels.1, self.channels.0))
    }

    /// For each tap (ky, kx): the pairs (input offset, output offset) that it connects, for some output rows. Input
    /// offsets count from input row `origin`, output offsets from the first of `rows`.
    pub(crate) fn pairs(&self, rows: Range<usize>, origin: usize) -> Vec<Vec<(u32, u32)>> {
        let ys = self.forward_axis(self.input.0, rows);
        let xs = self.forward_axis(self.input.1, 0..self.output().1);
        let (width, ow) = (self.input.1, xs.len());
        let mut pairs = vec![Vec::new(); self.kernel * self.kernel];
        for (oy, y) in ys.iter().enumerate() {
            for (ox, x) in xs.iter().enumerate() {
                for &(ky, iy) in y {
                    for &(kx, ix) in x {
                        let from = ((iy - origin) * width + ix) * self.channels.0;
                        pairs[ky * self.kernel + kx].push((from as u32, ((oy * ow + ox) * self.channels.1) as u32));
                    }
                }
            }
        }
        pairs
    }
}

/// Pixels of the result that meet the same taps.
#[derive(Debug)]
pub(crate) struct Class {
    /// (source offset, target offset) of each pixel, in floats, within one image.
    pub pixels: Vec<(u32, u32)>,
    /// The taps as runs of source channels; empty where no tap falls inside.
    pub runs: Vec<Run>,
}

/// Groups the pixels of a map by their taps. `source` is (first row, width) of the source; `channels` (source, target).
fn classes(
    ys: &[Vec<(usize, usize)>],
    xs: &[Vec<(usize, usize)>],
    source: (usize, usize),
    kernel: usize,
    channels: (usize, usize),
) -> Vec<Class> {
    let (origin, width) = source;
    let mut found = Vec::new();
    for (rows, y) in groups(ys) {
        for (columns, x) in groups(xs) {
            let mut runs: Vec<Run> = Vec::new();
            // Forward, neighbouring taps are neighbours in the source too, and merge into one run.
            for &(ky, iy) in &y {
                for &(kx, ix) in &x {
                    let run = Run {
                        source: (iy * width + ix) * channels.0,
                        panel_row: (ky * kernel + kx) * channels.0,
                        len: channels.0,
                    };
                    match runs.last_mut() {
                        Some(last)
                            if last.source + last.len == run.source && last.panel_row + last.len == run.panel_row =>
                        {
                            last.len += run.len
                        }
                        _ => runs.push(run),
                    }
                }
            }
            let base = |taps: &[(usize, usize)]| taps.iter().map(|t| t.1).min().unwrap_or(0);
            let mut pixels = Vec::with_capacity(rows.len() * columns.len());
            for &py in &rows {
                for &px in &columns {
                    let from = (base(&ys[py]).saturating_sub(origin) * width + base(&xs[px])) * channels.0;
                    pixels.push((from as u32, ((py * xs.len() + px) * channels.1) as u32));
                }
            }
            found.push(Class { pixels, runs });
        }
    }
    found
}

/// Positions of one axis, and the taps (kernel index, source position) that they share.
type Group = (Vec<usize>, Vec<(usize, usize)>);

/// Positions of an axis grouped by their taps relative to the taps' lowest source position.
fn groups(axis: &[Vec<(usize, usize)>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (position, taps) in axis.iter().enumerate() {
        let base = taps.iter().map(|t| t.1).min().unwrap_or(0);
        let relative: Vec<_> = taps.iter().map(|&(k, i)| (k, i - base)).collect();
        match groups.iter_mut().find(|g| g.1 == relative) {
            Some(group) => group.0.push(position),
            None => groups.push((vec![position], relative)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_by_three(side: usize) -> Geometry {
        Geometry { channels: (4, 8), kernel: 3, stride: 1, padding: 1, input: (side, side) }
    }

    #[test]
    fn a_two_by_two_map_meets_sixteen_of_thirty_six_taps() {
        let taps: usize = three_by_three(2).pairs(0..2, 0).iter().map(Vec::len).sum();
        assert_eq!((taps, three_by_three(2).taps_inside()), (16, 16));
    }

    #[test]
    fn inner_pixels_of_a_row_of_taps_are_one_run() {
        let classes = three_by_three(4).forward(0..4, 0);
        let inside = classes.iter().find(|c| c.runs.iter().map(|r| r.len).sum::<usize>() == 9 * 4).unwrap();
        assert_eq!((inside.runs.len(), inside.runs[0].len, inside.pixels.len()), (3, 12, 4));
    }

    #[test]
    fn every_pixel_belongs_to_one_class() {
        for (side, kernel, stride) in [(1, 3, 1), (2, 3, 2), (7, 3, 2), (8, 7, 2), (5, 1, 2), (9, 5, 3)] {
            let g = Geometry { channels: (1, 1), kernel, stride, padding: kernel / 2, input: (side, side + 1) };
            let (oh, ow) = g.output();
            let count = |classes: Vec<Class>| classes.iter().map(|c| c.pixels.len()).sum::<usize>();
            assert_eq!(count(g.forward(0..oh, 0)), oh * ow);
            assert_eq!(count(g.backward(0..side, 0)), side * (side + 1));
        }
    }
}
