//! An update on the CPU in `f32`: one pass that reads gradient, parameter and moments and writes the latter two.
//!
//! Candle lets an in-place operation write one tensor only, so the moments live in plain memory inside the operation. The
//! arithmetic of an element does not depend on how the tensor is cut, so neither do the bits on the number of threads.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var, bail};
use rayon::prelude::*;

use super::rule::{AdamUpdate, SgdUpdate, Update};
use crate::error::Result;

/// Elements that one task covers: 64 KB of each array stays in a core's own cache.
const CHUNK: usize = 1 << 14;

/// Updates `var` and its `moments` in place.
pub(super) fn apply(var: &Var, gradient: &Tensor, moments: &mut [Vec<f32>], update: Update) -> Result<()> {
    let moments = moments.iter_mut().map(Vec::as_mut_slice).collect();
    Ok(var.inplace_op2(gradient, &Fused { update, moments: RefCell::new(moments) })?)
}

struct Fused<'a> {
    update: Update,
    moments: RefCell<Vec<&'a mut [f32]>>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "optimizer-update"
    }

    fn cpu_fwd(
        &self,
        dst: &mut CpuStorage,
        dst_at: &Layout,
        src: &CpuStorage,
        src_at: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), CpuStorage::F32(gradient)) = (dst, src) else {
            bail!("{}: expected f32", InplaceOp2::name(self))
        };
        if dst_at.shape() != src_at.shape() {
            bail!("gradient of shape {:?} for a parameter of shape {:?}", src_at.shape(), dst_at.shape())
        }
        let (Some((p0, p1)), Some((g0, g1))) = (dst_at.contiguous_offsets(), src_at.contiguous_offsets()) else {
            bail!("{}: expected contiguous tensors", InplaceOp2::name(self))
        };
        let (p, g) = (&mut values[p0..p1], &gradient[g0..g1]);
        match (self.update, self.moments.borrow_mut().as_mut_slice()) {
            (Update::Sgd(update), []) => sgd_plain(p, g, update),
            (Update::Sgd(update), [buffer]) => sgd(p, g, buffer, update),
            (Update::Adam(update), [mean, square]) => adam(p, g, mean, square, update),
            _ => bail!("{}: wrong number of moments", InplaceOp2::name(self)),
        }
        Ok(())
    }
}

fn sgd_plain(p: &mut [f32], g: &[f32], update: SgdUpdate) {
    let [lr, scale, decay] = [update.lr, update.scale, update.decay].map(|value| value as f32);
    p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).for_each(|(p, g)| {
        for (p, &g) in p.iter_mut().zip(g) {
            *p -= lr * (scale * g + decay * *p);
        }
    });
}

fn sgd(p: &mut [f32], g: &[f32], buffer: &mut [f32], update: SgdUpdate) {
    let SgdUpdate { lr, scale, decay, momentum, nesterov } = update;
    let [lr, scale, decay, momentum] = [lr, scale, decay, momentum].map(|value| value as f32);
    // p - η (a g' + b m), with (a, b) = (1, μ) for Nesterov and (0, 1) without: one loop for both.
    let (of_gradient, of_buffer) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    let chunks = p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(buffer.par_chunks_mut(CHUNK));
    chunks.for_each(|((p, g), buffer)| {
        for ((p, &g), b) in p.iter_mut().zip(g).zip(buffer) {
            let g = scale * g + decay * *p;
            *b = momentum * *b + g;
            *p -= lr * (of_gradient * g + of_buffer * *b);
        }
    });
}

fn adam(p: &mut [f32], g: &[f32], mean: &mut [f32], square: &mut [f32], update: AdamUpdate) {
    let [scale, shrink, decay, eps] = [update.scale, update.shrink, update.decay, update.eps].map(|value| value as f32);
    let [beta1, beta2] = [update.beta1 as f32, update.beta2 as f32];
    let [rest1, rest2] = [(1.0 - update.beta1) as f32, (1.0 - update.beta2) as f32];
    let [step_size, root_correction] = [update.step_size as f32, update.root_correction as f32];
    let moments = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
    p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(moments).for_each(|((p, g), (mean, square))| {
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(mean).zip(square) {
            let g = scale * g + decay * *p;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p = shrink * *p - step_size * *m / (v.sqrt() / root_correction + eps);
        }
    });
}
