//! Convolution as a Candle op: [`super::conv`] on tensors.

use super::composed::padded;
use super::conv::{self, Source, Target, Upstream, pack_backward, pack_forward};
use super::taps::Geometry;
use super::{floats, with_floats};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

struct Conv2d {
    stride: usize,
    padding: usize,
}

pub(super) fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    // The kernels' index lists expect every window to overlap the map, so padding beyond that becomes part of the map.
    let beyond = (padding + 1).saturating_sub(w.dim(2)?);
    let (x, padding) = match beyond {
        0 => (x.contiguous()?, padding),
        _ => (padded(x, beyond)?.contiguous()?, padding - beyond),
    };
    x.apply_op2(&w.contiguous()?, Conv2d { stride, padding })
}

impl Conv2d {
    /// (images, geometry) from the shapes of x (B, H, W, C) and w (O, C, k, k).
    fn geometry(&self, x: &Shape, w: &Shape) -> Result<(usize, Geometry)> {
        let ((b, h, width, c), (o, i, k, k2)) = (x.dims4()?, w.dims4()?);
        let (stride, padding) = (self.stride, self.padding);
        if i != c || k != k2 || h.min(width) + 2 * padding < k {
            bail!("conv2d: image {x:?} (B, H, W, C) does not fit kernel {w:?} (O, C, k, k) with padding {padding}");
        }
        Ok((b, Geometry { channels: (c, o), kernel: k, stride, padding, input: (h, width) }))
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "selfie-conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, g) = self.geometry(lx.shape(), lw.shape())?;
        let mut z = vec![0.0; b * g.floats().1];
        let weights = pack_forward(&g, floats(w, lw)?);
        conv::forward(&g, b, Source::Plain(floats(x, lx)?), &weights, &mut z, None);
        let (h, width) = g.output();
        Ok((CpuStorage::F32(z), (b, h, width, g.channels.1).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dz: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, g) = self.geometry(x.shape(), w.shape())?;
        let wanted = x.track_op();
        let mut dx = vec![0.0; if wanted { b * g.floats().0 } else { 0 }];
        let weights = if wanted { Some(with_floats(w, |w| pack_backward(&g, w))?) } else { None };
        let target =
            weights.as_ref().map(|weights| Target { weights, gradient: &mut dx, accumulate: false, behind: None });
        let dz = dz.contiguous()?;
        let (dw, _) = with_floats(x, |x| {
            with_floats(&dz, |dz| {
                conv::backward(&g, b, Source::Plain(x), Upstream { gradient: dz, norm: None }, target)
            })
        })??;
        let dx = if wanted { Some(Tensor::from_vec(dx, x.shape(), x.device())?) } else { None };
        Ok((dx, Some(Tensor::from_vec(dw, w.shape(), w.device())?)))
    }
}
