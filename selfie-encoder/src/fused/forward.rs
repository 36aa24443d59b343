//! The fused trunk forwards: a block reads its input x and writes z1, z2, z3 (each convolution's output) and the next
//! block's input `relu(norm3(z3) + shortcut)`. These are kept for the backward pass; nothing else is.

use super::{Network, Unit, stem};
use crate::config::Stem;
use crate::layers::Mode;
use crate::ops::buffers::Buffer;
use crate::ops::conv::{self, Source, pack_forward};
use crate::ops::norm::{Moments, Norm};
use crate::ops::shapes::check_rows;
use crate::ops::taps::Geometry;
use crate::ops::tiles::for_each_part;
use crate::ops::{pool, with_floats};
use candle_core::{Device, Result, Tensor};

/// What the backward pass needs of one unit.
pub(super) struct SavedUnit {
    pub geometry: Geometry,
    /// The convolution's output.
    pub z: Buffer,
    pub norm: Norm,
}

impl SavedUnit {
    /// The convolution's output and the norm behind it.
    pub(super) fn behind(&self) -> (&[f32], &Norm) {
        (&self.z, &self.norm)
    }

    /// `relu(norm(z))` as the next convolution's input.
    pub(super) fn source(&self) -> Source<'_> {
        Source::Activated(&self.z, &self.norm)
    }
}

/// What the backward pass needs of one block.
pub(super) struct SavedBlock {
    /// The block's input.
    pub input: Buffer,
    /// Three units; a fourth is the shortcut's projection.
    pub units: Vec<SavedUnit>,
}

/// What the backward pass needs of a whole trunk.
pub(super) struct SavedTrunk {
    pub images: usize,
    /// None where it is not trained.
    pub stem: Option<SavedUnit>,
    /// Winners of the stem's max-pool.
    pub winners: Vec<u8>,
    /// The trained blocks.
    pub blocks: Vec<SavedBlock>,
    /// The last block's output.
    pub output: Buffer,
}

impl Unit {
    fn geometry(&self, input: (usize, usize)) -> Result<Geometry> {
        let (o, c, kernel, _) = self.conv.weight.dims4()?;
        Ok(Geometry { channels: (c, o), kernel, stride: self.conv.stride, padding: self.conv.padding, input })
    }

    /// Settles the norm's statistics: the batch's, which also move the running ones, or the running ones.
    fn norm(&self, moments: &Moments, mode: Mode) -> Result<Norm> {
        let (gamma, beta) = (self.norm.gamma.to_vec1()?, self.norm.beta.to_vec1()?);
        if mode == Mode::Eval {
            let (mean, variance) = (self.norm.running_mean.to_vec1()?, self.norm.running_var.to_vec1::<f32>()?);
            return Ok(Norm::new(mean, &variance, &gamma, &beta, None));
        }
        let over_all = self.norm.shared.as_ref().map(|reduction| moments.over(reduction.as_ref())).transpose()?;
        over_all.as_ref().map_or(Ok(()), |moments| check_rows(moments.count))?;
        let moments = over_all.as_ref().unwrap_or(moments);
        let (mean, unbiased) = moments.finish(1);
        let n = mean.len();
        let tensor = |v| Tensor::from_vec(v, n, &Device::Cpu);
        self.norm.update(&tensor(mean)?, &tensor(unbiased)?)?;
        let (mean, variance) = moments.finish(0);
        let exact = self.norm.shared.is_some();
        Ok(Norm::new(mean, &variance, &gamma, &beta, Some(moments.count)).exactly(exact))
    }

    fn forward(&self, input: (usize, usize), images: usize, source: Source, mode: Mode) -> Result<SavedUnit> {
        let geometry = self.geometry(input)?;
        let weights = with_floats(&self.conv.weight, |w| pack_forward(&geometry, w))?;
        let mut z = Buffer::new(images * geometry.floats().1);
        let moments = conv::forward(&geometry, images, source, &weights, &mut z, self.norm.moments_of(mode));
        Ok(SavedUnit { norm: self.norm(&moments, mode)?, geometry, z })
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
        let of_part = |frozen: bool| if frozen { Mode::Eval } else { mode };
        let stem_mode = of_part(self.frozen.is_some());
        let geometry = self.stem.geometry((h, w))?;
        let mut z = Buffer::new(images * geometry.floats().1);
        let moments = with_floats(&self.stem.conv.weight, |w| {
            stem::forward(&geometry, images, x, w, &mut z, self.stem.norm.moments_of(stem_mode))
        })?;
        let stem = SavedUnit { norm: self.stem.norm(&moments, stem_mode)?, geometry, z };
        let mut side = geometry.output();
        let mut input = Buffer::new(stem.z.len());
        for_each_part(&mut input, geometry.channels.1, |at, y| stem.norm.apply(&stem.z[at..at + y.len()], y, true));
        let mut winners = Vec::new();
        if self.kind == Stem::ImageNet {
            let c = geometry.channels.1;
            let pooled = (pool::pooled(side.0), pool::pooled(side.1));
            let mut y = Buffer::new(images * pooled.0 * pooled.1 * c);
            winners = vec![0; y.len()];
            pool::max_pool(&input, (side.0, side.1, c), images, &mut y, &mut winners);
            (input, side) = (y, pooled);
        }
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (at, units) in self.blocks.iter().enumerate() {
            let frozen = self.frozen.is_some_and(|frozen| at < frozen);
            let mode = of_part(frozen);
            let mut saved = Vec::with_capacity(4);
            saved.push(units[0].forward(side, images, Source::Plain(&input), mode)?);
            saved.push(units[1].forward(side, images, saved[0].source(), mode)?);
            let inner = saved[1].geometry.output();
            saved.push(units[2].forward(inner, images, saved[1].source(), mode)?);
            let mut output = Buffer::new(saved[2].z.len());
            let (z3, norm3) = saved[2].behind();
            if let Some(unit) = units.get(3) {
                let projection = unit.forward(side, images, Source::Plain(&input), mode)?;
                let (zd, normd) = projection.behind();
                for_each_part(&mut output, norm3.mean.len(), |at, y| {
                    let mut shortcut = Buffer::new(y.len());
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
            if keep && !frozen {
                blocks.push(SavedBlock { input: previous, units: saved });
            }
        }
        let pixels = side.0 * side.1;
        let embeddings = pool::mean_pool(&input, pixels, input.len() / (images * pixels));
        let stem = self.frozen.is_none().then_some(stem);
        Ok((embeddings, keep.then_some(SavedTrunk { images, stem, winners, blocks, output: input })))
    }
}
