//! The passes of the fused trunk, stem to embedding and back.
//!
//! Forward, a block reads its input x and writes z1, z2, z3 (each convolution's output) and the next block's input
//! `relu(norm3(z3) + shortcut)`. Backward, G is the gradient of that sum behind its ReLU; each convolution's backward
//! pass also masks the gradient that it makes and sums it up for the norm behind it, so the next pass can start.

use super::{Network, Unit, stem};
use crate::config::Stem;
use crate::layers::Mode;
use crate::ops::conv::{self, Source, Target, Upstream, pack_backward, pack_forward};
use crate::ops::norm::{GradientSums, InputGradient, Moments, Norm};
use crate::ops::taps::Geometry;
use crate::ops::tiles::{Tile, Tiling, for_each_part};
use crate::ops::{pool, with_floats};
use candle_core::{Device, Result, Tensor};

/// What the backward pass needs of one unit.
struct SavedUnit {
    geometry: Geometry,
    /// The convolution's output.
    z: Vec<f32>,
    norm: Norm,
}

impl SavedUnit {
    fn behind(&self) -> (&[f32], &Norm) {
        (&self.z, &self.norm)
    }

    fn source(&self) -> Source<'_> {
        Source::Activated(&self.z, &self.norm)
    }
}

struct SavedBlock {
    input: Vec<f32>,
    units: Vec<SavedUnit>,
}

/// What the backward pass needs of a whole trunk.
pub(super) struct SavedTrunk {
    images: usize,
    stem: SavedUnit,
    /// Winners of the stem's max-pool.
    winners: Vec<u8>,
    blocks: Vec<SavedBlock>,
    output: Vec<f32>,
}

impl Unit {
    fn geometry(&self, input: (usize, usize)) -> Result<Geometry> {
        let (o, c, kernel, _) = self.conv.weight.dims4()?;
        Ok(Geometry {
            channels: (c, o),
            kernel,
            stride: self.conv.stride,
            padding: self.conv.padding,
            input,
        })
    }

    /// Settles the norm's statistics: the batch's, which also move the running ones, or the running ones.
    fn norm(&self, moments: &Moments, mode: Mode) -> Result<Norm> {
        let (gamma, beta) = (self.norm.gamma.to_vec1()?, self.norm.beta.to_vec1()?);
        if mode == Mode::Eval {
            let (mean, variance) = (
                self.norm.running_mean.to_vec1()?,
                self.norm.running_var.to_vec1::<f32>()?,
            );
            return Ok(Norm::new(mean, &variance, &gamma, &beta, None));
        }
        let (mean, unbiased) = moments.finish(1);
        let n = mean.len();
        let tensor = |v| Tensor::from_vec(v, n, &Device::Cpu);
        self.norm.update(&tensor(mean)?, &tensor(unbiased)?)?;
        let (mean, variance) = moments.finish(0);
        Ok(Norm::new(
            mean,
            &variance,
            &gamma,
            &beta,
            Some(moments.count),
        ))
    }

    fn forward(
        &self,
        input: (usize, usize),
        images: usize,
        source: Source,
        mode: Mode,
    ) -> Result<SavedUnit> {
        let geometry = self.geometry(input)?;
        let weights = with_floats(&self.conv.weight, |w| pack_forward(&geometry, w))?;
        let mut z = vec![0.0; images * geometry.floats().1];
        let moments = conv::forward(
            &geometry,
            images,
            source,
            &weights,
            &mut z,
            mode == Mode::Train,
        );
        Ok(SavedUnit {
            norm: self.norm(&moments, mode)?,
            geometry,
            z,
        })
    }
}

impl Network {
    /// x (B, C, H, W) to embeddings (B, D); with `keep`, also what the backward pass needs.
    pub(super) fn forward(
        &self,
        x: &[f32],
        (images, _, h, w): (usize, usize, usize, usize),
        mode: Mode,
        keep: bool,
    ) -> Result<(Vec<f32>, Option<SavedTrunk>)> {
        let geometry = self.stem.geometry((h, w))?;
        let mut z = vec![0.0; images * geometry.floats().1];
        let moments = with_floats(&self.stem.conv.weight, |w| {
            stem::forward(&geometry, images, x, w, &mut z, mode == Mode::Train)
        })?;
        let stem = SavedUnit {
            norm: self.stem.norm(&moments, mode)?,
            geometry,
            z,
        };
        let mut side = geometry.output();
        let mut input = vec![0.0; stem.z.len()];
        for_each_part(&mut input, geometry.channels.1, |at, y| {
            stem.norm.apply(&stem.z[at..at + y.len()], y, true)
        });
        let mut winners = Vec::new();
        if self.kind == Stem::ImageNet {
            let c = geometry.channels.1;
            let pooled = (pool::pooled(side.0), pool::pooled(side.1));
            let mut y = vec![0.0; images * pooled.0 * pooled.1 * c];
            winners = vec![0; y.len()];
            pool::max_pool(&input, (side.0, side.1, c), images, &mut y, &mut winners);
            (input, side) = (y, pooled);
        }
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for units in &self.blocks {
            let mut saved = Vec::with_capacity(4);
            saved.push(units[0].forward(side, images, Source::Plain(&input), mode)?);
            saved.push(units[1].forward(side, images, saved[0].source(), mode)?);
            let inner = saved[1].geometry.output();
            saved.push(units[2].forward(inner, images, saved[1].source(), mode)?);
            let mut output = vec![0.0; saved[2].z.len()];
            let (z3, norm3) = saved[2].behind();
            if let Some(unit) = units.get(3) {
                let projection = unit.forward(side, images, Source::Plain(&input), mode)?;
                let (zd, normd) = projection.behind();
                for_each_part(&mut output, norm3.mean.len(), |at, y| {
                    let mut shortcut = vec![0.0; y.len()];
                    normd.apply(&zd[at..at + y.len()], &mut shortcut, false);
                    norm3.apply_add(&z3[at..at + y.len()], &shortcut, y);
                });
                saved.push(projection);
            } else {
                for_each_part(&mut output, norm3.mean.len(), |at, y| {
                    norm3.apply_add(&z3[at..at + y.len()], &input[at..at + y.len()], y);
                });
            }
            let previous = std::mem::replace(&mut input, output);
            side = inner;
            if keep {
                blocks.push(SavedBlock {
                    input: previous,
                    units: saved,
                });
            }
        }
        let pixels = side.0 * side.1;
        let embeddings = pool::mean_pool(&input, pixels, input.len() / (images * pixels));
        Ok((
            embeddings,
            keep.then_some(SavedTrunk {
                images,
                stem,
                winners,
                blocks,
                output: input,
            }),
        ))
    }

    /// Gradients of [`Network::parameters`], in their order, from dh (B, D).
    pub(super) fn backward(
        &self,
        x: &[f32],
        saved: SavedTrunk,
        dh: &[f32],
    ) -> Result<Vec<Vec<f32>>> {
        let SavedTrunk {
            images,
            stem,
            winners,
            mut blocks,
            output,
        } = saved;
        let mut gradients: Vec<[Vec<f32>; 3]> = Vec::new(); // from the last unit to the first
        let mut g = vec![0.0; output.len()];
        let behind = blocks.last().map(|b| behind(&b.units)).unwrap_or_default();
        let mut sums = mean_pool_backward(dh, &output, images, &behind, &mut g);
        drop(output);
        for (index, units) in self.blocks.iter().enumerate().rev() {
            let Some(SavedBlock {
                input,
                units: mut saved,
            }) = blocks.pop()
            else {
                break;
            };
            let projection = if saved.len() == 4 {
                saved.pop().zip(sums.pop())
            } else {
                None
            };
            // Upstream of unit 3 is G; each pass leaves the masked gradient and the sums for the norm before it.
            let mut parts = Vec::with_capacity(4);
            let mut upstream: Option<Vec<f32>> = None;
            for i in [2, 1] {
                let (before, unit) = (&saved[i - 1], &saved[i]);
                let mut gradient = vec![0.0; before.z.len()];
                let norms = [before.behind()];
                let target = Wanted {
                    gradient: &mut gradient,
                    accumulate: false,
                    behind: Some(&norms),
                };
                let passed = units[i].backward(
                    unit,
                    images,
                    before.source(),
                    upstream.as_ref().unwrap_or(&g),
                    &sums[0],
                    Some(target),
                )?;
                parts.push(passed.0);
                sums = passed.1;
                upstream = Some(gradient);
                saved.truncate(i);
            }
            let upstream = upstream.unwrap_or_default();
            // The block's input: the shortcut's part first, in place of G itself where it is the identity.
            let mut projected = None;
            if let Some((unit, sum)) = projection {
                let mut gradient = vec![0.0; input.len()];
                let target = Wanted {
                    gradient: &mut gradient,
                    accumulate: false,
                    behind: None,
                };
                let passed = units[3].backward(
                    &unit,
                    images,
                    Source::Plain(&input),
                    &g,
                    &sum,
                    Some(target),
                )?;
                projected = Some(passed.0);
                g = gradient;
            }
            let previous = match blocks.last() {
                Some(block) => self::behind(&block.units),
                None if self.kind == Stem::Small => vec![stem.behind()],
                None => Vec::new(),
            };
            let norms = (index > 0 || self.kind == Stem::Small).then_some(&previous[..]);
            let target = Wanted {
                gradient: &mut g,
                accumulate: true,
                behind: norms,
            };
            let passed = units[0].backward(
                &saved[0],
                images,
                Source::Plain(&input),
                &upstream,
                &sums[0],
                Some(target),
            )?;
            parts.push(passed.0);
            sums = passed.1;
            gradients.extend(projected);
            gradients.extend(parts);
        }
        if self.kind == Stem::ImageNet {
            let ((h, w), c) = (stem.geometry.output(), stem.geometry.channels.1);
            let mut before = vec![0.0; stem.z.len()];
            pool::max_pool_backward(&g, &winners, (h, w, c), images, &mut before);
            let mut kept = vec![0.0; stem.z.len()];
            for_each_part(&mut kept, c, |at, y| {
                stem.norm.apply(&stem.z[at..at + y.len()], y, true)
            });
            sums = vec![mask_and_sum(&mut before, &kept, &stem)];
            g = before;
        }
        let line = InputGradient::new(&stem.norm, &sums[0]);
        let dw = stem::backward(&stem.geometry, images, x, &stem.z, &g, &line);
        let (gamma, beta) = sums[0].parameters(&stem.norm);
        gradients.push([dw, gamma, beta]);
        gradients.reverse();
        Ok(gradients.into_iter().flatten().collect())
    }
}

/// Where a unit's backward pass leaves its input's gradient; see [`Target`].
struct Wanted<'a> {
    gradient: &'a mut [f32],
    accumulate: bool,
    behind: Option<&'a conv::Behind<'a>>,
}

impl Unit {
    /// [dw, dγ, dβ] of this unit, and the sums for the norms behind its input.
    fn backward(
        &self,
        saved: &SavedUnit,
        images: usize,
        source: Source,
        gradient: &[f32],
        sums: &GradientSums,
        wanted: Option<Wanted>,
    ) -> Result<([Vec<f32>; 3], Vec<GradientSums>)> {
        let line = InputGradient::new(&saved.norm, sums);
        let weights = with_floats(&self.conv.weight, |w| pack_backward(&saved.geometry, w))?;
        let target = wanted.map(
            |Wanted {
                 gradient,
                 accumulate,
                 behind,
             }| Target {
                weights: &weights,
                gradient,
                accumulate,
                behind,
            },
        );
        let upstream = Upstream {
            gradient,
            norm: Some((&saved.z, &line)),
        };
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
fn mean_pool_backward(
    dh: &[f32],
    output: &[f32],
    images: usize,
    behind: &conv::Behind,
    g: &mut [f32],
) -> Vec<GradientSums> {
    let d = dh.len() / images;
    let (image, pixels) = (output.len() / images, output.len() / images / d);
    let tiling = Tiling::new(images, 1, image);
    let (parts, _) = tiling.run(
        g,
        |tile| tile.images.len() * image,
        || (),
        |(), tile: &Tile, g| {
            let at = tile.images.start * image..tile.images.end * image;
            for (map, dh) in g
                .chunks_mut(image)
                .zip(dh[tile.images.start * d..].chunks(d))
            {
                for pixel in map.chunks_mut(d) {
                    pixel
                        .iter_mut()
                        .zip(dh)
                        .for_each(|(g, dh)| *g = dh / pixels as f32);
                }
            }
            let kept = |i| (i == 0).then(|| &output[at.clone()]);
            let sums = |(i, (z, norm)): (usize, &(&[f32], &Norm))| {
                GradientSums::of(g, kept(i), &z[at.clone()], &norm.mean)
            };
            behind.iter().enumerate().map(sums).collect::<Vec<_>>()
        },
    );
    let mut sums: Vec<_> = behind.iter().map(|_| GradientSums::empty(d)).collect();
    parts
        .iter()
        .for_each(|tile| sums.iter_mut().zip(tile).for_each(|(a, t)| a.merge(t)));
    sums
}

/// Masks the stem's gradient behind its pool and sums it up for the stem's norm.
fn mask_and_sum(g: &mut [f32], kept: &[f32], stem: &SavedUnit) -> GradientSums {
    let channels = stem.norm.mean.len();
    let tiling = Tiling::new(g.len() / channels, 1, channels);
    let part = |tile: &Tile| tile.images.len() * channels;
    let (parts, _) = tiling.run(
        g,
        part,
        || (),
        |(), tile, g| {
            let at = tile.images.start * channels..tile.images.end * channels;
            GradientSums::of(g, Some(&kept[at.clone()]), &stem.z[at], &stem.norm.mean)
        },
    );
    let mut sums = GradientSums::empty(channels);
    parts.iter().for_each(|s| sums.merge(s));
    sums
}
