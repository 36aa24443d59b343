//! The fused trunk backwards, block by block; a block's maps are freed once it is done.
//!
//! Between blocks flows G, the gradient of the sum before a block's last ReLU, and with it the sums that the norms of
//! that sum need. Inside a block each convolution's pass makes the gradient of its input, masks it (ReLU) and sums it
//! up for the norm behind it, all while the tile is in the cache, so the next pass can start.

use super::forward::{SavedBlock, SavedTrunk, SavedUnit};
use super::{Network, Unit, stem};
use crate::config::Stem;
use crate::ops::buffers::Buffer;
use crate::ops::conv::{self, Behind, Source, Target, Upstream, pack_backward};
use crate::ops::norm::{GradientSums, InputGradient, Norm};
use crate::ops::tiles::{Tile, Tiling, for_each_part};
use crate::ops::{pool, with_floats};
use candle_core::Result;

/// [dw, dγ, dβ] of one unit.
type Gradients = [Vec<f32>; 3];

/// What goes from one pass to the one before it: a masked gradient, and its sums for the norms that it came through.
struct Flow {
    gradient: Buffer,
    sums: Vec<GradientSums>,
}

impl Network {
    /// Gradients of [`Network::parameters`], in their order, from dh (B, D).
    pub(super) fn backward(&self, x: &[f32], saved: SavedTrunk, dh: &[f32]) -> Result<Vec<Vec<f32>>> {
        let SavedTrunk { images, stem, winners, mut blocks, output } = saved;
        let mut gradients: Vec<Gradients> = Vec::new(); // from the last unit to the first
        let last = blocks.last().map(|b| behind(&b.units)).unwrap_or_default();
        let mut flow = mean_pool_backward(dh, &output, images, &last);
        drop(output);
        for units in self.blocks.iter().rev() {
            let Some(block) = blocks.pop() else { break }; // what is before is frozen
            let before = match (blocks.last(), &stem) {
                (Some(previous), _) => Before::Norms(behind(&previous.units)),
                (None, Some(stem)) if self.kind == Stem::Small => Before::Norms(vec![stem.behind()]),
                (None, Some(_)) => Before::Pool,
                (None, None) => Before::Frozen,
            };
            flow = block_backward(units, block, images, flow, &before, &mut gradients)?;
        }
        if let Some(stem) = &stem {
            gradients.push(self.stem_backward(x, images, stem, &winners, flow)?);
        }
        gradients.reverse();
        Ok(gradients.into_iter().flatten().collect())
    }

    /// The stem's gradients, from G of its output.
    fn stem_backward(
        &self,
        x: &[f32],
        images: usize,
        stem: &SavedUnit,
        winners: &[u8],
        mut flow: Flow,
    ) -> Result<Gradients> {
        if self.kind == Stem::ImageNet {
            flow = max_pool_backward(&flow.gradient, winners, images, stem);
        }
        let line = self.stem.input_gradient(stem, &flow.sums[0])?;
        let dw = stem::backward(&stem.geometry, images, x, &stem.z, &flow.gradient, &line);
        let (gamma, beta) = flow.sums[0].parameters(&stem.norm);
        Ok([dw, gamma, beta])
    }
}

/// What a block's input comes from, and so what its gradient is made for.
enum Before<'a> {
    /// Norms, which need it masked and summed.
    Norms(Vec<(&'a [f32], &'a Norm)>),
    /// The stem's max-pool, which needs it as it is.
    Pool,
    /// What is not trained and needs none.
    Frozen,
}

/// One block, from G of its output to G of its input, as what is `before` it needs that.
fn block_backward(
    units: &[Unit],
    block: SavedBlock,
    images: usize,
    mut flow: Flow,
    before: &Before,
    gradients: &mut Vec<Gradients>,
) -> Result<Flow> {
    let SavedBlock { input, units: mut saved } = block;
    let projection = if saved.len() == 4 { saved.pop().zip(flow.sums.pop()) } else { None };
    let mut g = flow.gradient;

    // Units 3 and 2: z3 <- y2 <- z2 <- y1.
    let mut made = Vec::with_capacity(4);
    let mut inner: Option<Buffer> = None;
    let mut sums = flow.sums;
    for i in [2, 1] {
        let previous = &saved[i - 1];
        let mut gradient = Buffer::new(previous.z.len());
        let upstream = inner.as_deref().unwrap_or(&g);
        let norms = [previous.behind()];
        let target = Destination { gradient: &mut gradient, accumulate: false, behind: Some(&norms) };
        let (made_here, passed) =
            units[i].backward(&saved[i], images, previous.source(), (upstream, &sums[0]), Some(target))?;
        made.push(made_here);
        sums = passed;
        inner = Some(gradient);
        saved.truncate(i);
    }

    // The block's input: the shortcut's part first, in place of G itself where the shortcut is the identity.
    let wanted = !matches!(before, Before::Frozen);
    let mut projected = None;
    if let Some((unit, sums)) = projection {
        let mut gradient = Buffer::new(if wanted { input.len() } else { 0 });
        let target = wanted.then_some(Destination { gradient: &mut gradient, accumulate: false, behind: None });
        projected = Some(units[3].backward(&unit, images, Source::Plain(&input), (&g, &sums), target)?.0);
        g = gradient;
    }
    let upstream = inner.unwrap_or_default();
    let norms = if let Before::Norms(norms) = before { Some(norms.as_slice()) } else { None };
    let target = wanted.then_some(Destination { gradient: &mut g, accumulate: true, behind: norms });
    let (made_here, passed) =
        units[0].backward(&saved[0], images, Source::Plain(&input), (&upstream, &sums[0]), target)?;
    made.push(made_here);
    gradients.extend(projected);
    gradients.extend(made);
    Ok(Flow { gradient: g, sums: passed })
}

/// Where a unit's input gradient goes; see [`Target`].
struct Destination<'a> {
    gradient: &'a mut [f32],
    accumulate: bool,
    behind: Option<&'a Behind<'a>>,
}

impl Unit {
    /// What makes the gradient of the norm's input, from the sums over one's own rows.
    fn input_gradient(&self, saved: &SavedUnit, sums: &GradientSums) -> Result<InputGradient> {
        match &self.norm.shared {
            // Running statistics have no gradient, so nothing is asked of the others.
            Some(reduction) if saved.norm.count.is_some() => {
                Ok(InputGradient::new(&saved.norm, &sums.over(reduction.as_ref())?))
            }
            _ => Ok(InputGradient::new(&saved.norm, sums)),
        }
    }

    /// This unit's gradients, and the sums for the norms behind its input, from the masked gradient of its norm's
    /// output and its sums. Without a destination the input's gradient is not made.
    fn backward(
        &self,
        saved: &SavedUnit,
        images: usize,
        source: Source,
        (gradient, sums): (&[f32], &GradientSums),
        destination: Option<Destination>,
    ) -> Result<(Gradients, Vec<GradientSums>)> {
        let line = self.input_gradient(saved, sums)?;
        let pack = || with_floats(&self.conv.weight, |w| pack_backward(&saved.geometry, w));
        let weights = destination.is_some().then(pack).transpose()?;
        let target = destination.zip(weights.as_ref()).map(|(destination, weights)| {
            let Destination { gradient, accumulate, behind } = destination;
            Target { weights, gradient, accumulate, behind }
        });
        let upstream = Upstream { gradient, norm: Some((&saved.z, &line)) };
        let (dw, before) = conv::backward(&saved.geometry, images, source, upstream, target);
        let (gamma, beta) = sums.parameters(&saved.norm);
        Ok(([dw, gamma, beta], before))
    }
}

/// The norms that a block's output comes from: its third, and its projection's.
fn behind(units: &[SavedUnit]) -> Vec<(&[f32], &Norm)> {
    units[2..].iter().map(SavedUnit::behind).collect()
}

/// G from dh (B, D): spread over the pixels, masked where the last block's output is not positive, and summed up.
fn mean_pool_backward(dh: &[f32], output: &[f32], images: usize, behind: &Behind) -> Flow {
    let d = dh.len() / images;
    let pixels = output.len() / dh.len();
    masked_sums(Buffer::new(output.len()), d, behind, |at, g| {
        for (i, pixel) in g.chunks_mut(d).enumerate() {
            let from = (at / d + i) / pixels * d;
            pixel.iter_mut().zip(&dh[from..]).for_each(|(g, dh)| *g = dh / pixels as f32);
        }
        &output[at..at + g.len()]
    })
}

/// G of the stem's norm, from the gradient behind its max-pool.
fn max_pool_backward(gradient: &[f32], winners: &[u8], images: usize, stem: &SavedUnit) -> Flow {
    let ((h, w), c) = (stem.geometry.output(), stem.geometry.channels.1);
    let mut g = Buffer::new(stem.z.len());
    pool::max_pool_backward(gradient, winners, (h, w, c), images, &mut g);
    let mut active = Buffer::new(stem.z.len());
    for_each_part(&mut active, c, |at, y| stem.norm.apply(&stem.z[at..at + y.len()], y, true));
    masked_sums(g, c, &[stem.behind()], |at, g| &active[at..at + g.len()])
}

/// Masks a gradient (rows, channels) where the activation that `fill(offset, part)` returns is not positive, after
/// `fill` has had its chance to write the part, and sums it up for the norms behind it.
fn masked_sums<'a>(
    mut gradient: Buffer,
    channels: usize,
    behind: &Behind,
    fill: impl Fn(usize, &mut [f32]) -> &'a [f32] + Sync,
) -> Flow {
    let tiling = Tiling::new(gradient.len() / channels, 1, channels, 0);
    let floats = |tile: &Tile| tile.images.len() * channels;
    let work = |(): &mut (), tile: &Tile, g: &mut [f32]| {
        let at = tile.images.start * channels;
        let kept = fill(at, g);
        let sums = |(i, (z, norm)): (usize, &(&[f32], &Norm))| {
            GradientSums::of(g, (i == 0).then_some(kept), &z[at..at + g.len()], norm)
        };
        behind.iter().enumerate().map(sums).collect::<Vec<_>>()
    };
    let (parts, _) = tiling.run(&mut gradient, floats, || (), work);
    let mut sums: Vec<_> = behind.iter().map(|_| GradientSums::empty(channels)).collect();
    parts.iter().for_each(|tile| sums.iter_mut().zip(tile).for_each(|(sum, part)| sum.merge(part)));
    Flow { gradient, sums }
}
