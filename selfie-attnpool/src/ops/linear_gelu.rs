//! dropout(gelu(x Wᵀ + b)) as one op.
//!
//! Replaces a product, a broadcast sum, `gelu_erf` and a mask: five passes forward and about ten backward become one each.
//! Measured at 13 tokens, width 1024, batch 32, product included: 3 times as fast as the composed path.
//!
//! With z = x Wᵀ (kept for backward), f the dropout factors and g the incoming gradient:
//! dz = g f (Φ(z + b) + (z + b) φ(z + b)), db = column sums of dz, dx = dz W, dW = dzᵀ x.

use super::math::{self, vectorised};
use super::storage::{column_sums, rows, rows_per_task, slice, tensor, with_slice};
use crate::dropout::Dropout;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// x (B, T, D), w (F, D), b (F) -> (B, T, F).
pub(super) fn linear_gelu(x: &Tensor, (w, b): (&Tensor, &Tensor), dropout: Dropout) -> Result<Tensor> {
    let x = x.contiguous()?;
    let z = rows(&x)?.matmul(&w.detach().t()?)?; // (B*T, F)
    x.apply_op3(w, &b.contiguous()?, LinearGelu { z, dropout })
}

struct LinearGelu {
    z: Tensor,
    dropout: Dropout,
}

impl CustomOp3 for LinearGelu {
    fn name(&self) -> &'static str {
        "attnpool-linear-gelu"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        x_layout: &Layout,
        _w: &CpuStorage,
        _w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, t, _) = x_layout.shape().dims3()?;
        let b = slice(b, b_layout)?;
        let h = with_slice(&self.z, |z| Ok(forward(z, b, self.dropout)))?;
        Ok((CpuStorage::F32(h), (batch, t, b.len()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _h: &Tensor,
        dh: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = b.elem_count();
        let dh = dh.contiguous()?;
        let dz =
            with_slice(&self.z, |z| with_slice(b, |b| with_slice(&dh, |dh| Ok(backward(z, b, dh, self.dropout)))))?;
        let db = tensor(column_sums(&dz, width), width)?; // (F)
        let dz = tensor(dz, self.z.shape())?; // (B*T, F)
        let dx = dz.matmul(&w.detach())?.reshape(x.shape())?; // (B, T, D)
        let dw = dz.t()?.matmul(&rows(x)?)?; // (F, D)
        Ok((Some(dx), Some(dw), Some(db)))
    }
}

fn forward(z: &[f32], b: &[f32], dropout: Dropout) -> Vec<f32> {
    let width = b.len();
    let task = rows_per_task(width);
    let mut h = vec![0f32; z.len()];
    h.par_chunks_mut(task * width).zip(z.par_chunks(task * width)).enumerate().for_each(|(i, (h, z))| {
        vectorised(
            #[inline(always)]
            || {
                for ((row, h), z) in (i * task..).zip(h.chunks_exact_mut(width)).zip(z.chunks_exact(width)) {
                    dropout.factors(row, h);
                    for ((h, z), b) in h.iter_mut().zip(z).zip(b) {
                        let a = z + b;
                        *h *= a * math::normal(a).0;
                    }
                }
            },
        );
    });
    h
}

fn backward(z: &[f32], b: &[f32], dh: &[f32], dropout: Dropout) -> Vec<f32> {
    let width = b.len();
    let task = rows_per_task(width);
    let mut dz = vec![0f32; z.len()];
    let pieces = dz.par_chunks_mut(task * width).zip(z.par_chunks(task * width)).zip(dh.par_chunks(task * width));
    pieces.enumerate().for_each(|(i, ((dz, z), dh))| {
        vectorised(
            #[inline(always)]
            || {
                let lines = dz.chunks_exact_mut(width).zip(z.chunks_exact(width)).zip(dh.chunks_exact(width));
                for (row, ((dz, z), dh)) in (i * task..).zip(lines) {
                    dropout.factors(row, dz);
                    for (((dz, z), b), dh) in dz.iter_mut().zip(z).zip(b).zip(dh) {
                        let a = z + b;
                        let (cdf, pdf) = math::normal(a);
                        *dz *= dh * (cdf + a * pdf);
                    }
                }
            },
        );
    });
    dz
}
