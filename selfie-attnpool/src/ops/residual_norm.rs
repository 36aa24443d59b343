//! Layer norm of x + dropout(y + bias) as one op: the residual sum of a post-norm block with everything around it.
//!
//! Replaces about twelve passes forward and twenty backward by one each. Nothing is kept: backward computes the sum, its
//! mean and deviation again while the row is in the first-level cache. Measured at 13 tokens, width 1024, batch 32: 4 to 7
//! times as fast as the composed path.
//!
//! With s the sum, f the dropout factors, r = 1/σ,
//! n = (s - mean) r the normalised row and g the incoming gradient times the norm's weight:
//! ds = r (g - mean(g) - n mean(g n)), dx = ds, dy = f ds.

use super::storage::{rows_per_task, slice, tensor, with_slice};
use super::{NORM_EPS, math, math::vectorised};
use crate::dropout::Dropout;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// x, y (B, T, D), vectors (3, D) = bias, weight and bias of the norm -> (B, T, D).
pub(super) fn residual_norm(x: &Tensor, y: &Tensor, vectors: &Tensor, dropout: Dropout) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&y.contiguous()?, &vectors.contiguous()?, ResidualNorm { dropout })
}

struct ResidualNorm {
    dropout: Dropout,
}

impl CustomOp3 for ResidualNorm {
    fn name(&self) -> &'static str {
        "attnpool-residual-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        vectors: &CpuStorage,
        vectors_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, y, vectors) = (slice(x, x_layout)?, slice(y, y_layout)?, slice(vectors, vectors_layout)?);
        Ok((CpuStorage::F32(forward(x, y, vectors, self.dropout)), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        vectors: &Tensor,
        _out: &Tensor,
        dout: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dout = dout.contiguous()?;
        let Gradients { dx, dy, dvectors } = with_slice(x, |x| {
            with_slice(y, |y| {
                with_slice(vectors, |v| with_slice(&dout, |dout| Ok(backward(x, y, v, dout, self.dropout))))
            })
        })?;
        Ok((Some(tensor(dx, x.shape())?), Some(tensor(dy, y.shape())?), Some(tensor(dvectors, vectors.shape())?)))
    }
}

/// Writes the normalised row into `s`, from x, y + bias and the factors in `f`; returns 1 / deviation.
#[inline(always)]
fn normalise(s: &mut [f32], f: &[f32], x: &[f32], y: &[f32], bias: &[f32]) -> f32 {
    for ((((s, f), x), y), bias) in s.iter_mut().zip(f).zip(x).zip(y).zip(bias) {
        *s = x + f * (y + bias);
    }
    let d = s.len() as f32;
    let mean = math::sum(s) / d;
    for s in s.iter_mut() {
        *s -= mean;
    }
    let variance = math::dot(s, s) / d;
    let r = 1.0 / (variance + NORM_EPS).sqrt();
    for s in s.iter_mut() {
        *s *= r;
    }
    r
}

fn forward(x: &[f32], y: &[f32], vectors: &[f32], dropout: Dropout) -> Vec<f32> {
    let d = vectors.len() / 3;
    let (bias, norm) = vectors.split_at(d);
    let (weight, shift) = norm.split_at(d);
    let task = rows_per_task(d);
    let mut out = vec![0f32; x.len()];
    let pieces = out.par_chunks_mut(task * d).zip(x.par_chunks(task * d)).zip(y.par_chunks(task * d));
    pieces.enumerate().for_each(|(i, ((out, x), y))| {
        let mut f = vec![0f32; d];
        vectorised(
            #[inline(always)]
            || {
                let lines = out.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(y.chunks_exact(d));
                for (row, ((out, x), y)) in (i * task..).zip(lines) {
                    dropout.factors(row, &mut f);
                    normalise(out, &f, x, y, bias);
                    for ((out, weight), shift) in out.iter_mut().zip(weight).zip(shift) {
                        *out = *out * weight + shift;
                    }
                }
            },
        );
    });
    out
}

struct Gradients {
    dx: Vec<f32>,
    dy: Vec<f32>,
    dvectors: Vec<f32>,
}

fn backward(x: &[f32], y: &[f32], vectors: &[f32], dout: &[f32], dropout: Dropout) -> Gradients {
    let d = vectors.len() / 3;
    let (bias, weight) = (&vectors[..d], &vectors[d..2 * d]);
    let task = rows_per_task(d);
    let (mut dx, mut dy) = (vec![0f32; x.len()], vec![0f32; x.len()]);
    // Every task sums its rows' share of the vectors' gradients; the shares are added in the order of the tasks.
    let shares: Vec<Vec<f32>> = (dx.par_chunks_mut(task * d).zip(dy.par_chunks_mut(task * d)))
        .zip(x.par_chunks(task * d).zip(y.par_chunks(task * d)))
        .zip(dout.par_chunks(task * d))
        .enumerate()
        .map(|(i, (((dx, dy), (x, y)), dout))| {
            let mut share = vec![0f32; 3 * d];
            let mut normal = vec![0f32; d];
            vectorised(
                #[inline(always)]
                || {
                    let lines = dx
                        .chunks_exact_mut(d)
                        .zip(dy.chunks_exact_mut(d))
                        .zip(x.chunks_exact(d))
                        .zip(y.chunks_exact(d));
                    for (row, ((((dx, dy), x), y), dout)) in (i * task..).zip(lines.zip(dout.chunks_exact(d))) {
                        dropout.factors(row, dy);
                        let r = normalise(&mut normal, dy, x, y, bias);
                        backward_row(dx, dy, &normal, r, weight, dout, &mut share);
                    }
                },
            );
            share
        })
        .collect();
    let mut dvectors = vec![0f32; 3 * d];
    shares.iter().for_each(|share| math::add_to(&mut dvectors, share));
    Gradients { dx, dy, dvectors }
}

/// The gradients of one row, and its share of those of the bias and of the norm's weight and bias. `dy` comes in holding
/// the dropout factors.
#[inline(always)]
fn backward_row(dx: &mut [f32], dy: &mut [f32], n: &[f32], r: f32, weight: &[f32], dout: &[f32], share: &mut [f32]) {
    let d = dx.len();
    for ((g, dout), weight) in dx.iter_mut().zip(dout).zip(weight) {
        *g = dout * weight;
    }
    let mean_g = math::sum(dx) / d as f32;
    let mean_gn = math::dot(dx, n) / d as f32;
    let (dbias, dnorm) = share.split_at_mut(d);
    let (dweight, dshift) = dnorm.split_at_mut(d);
    for (((dx, dy), n), dbias) in dx.iter_mut().zip(dy).zip(n).zip(dbias) {
        *dx = r * (*dx - mean_g - n * mean_gn);
        *dy *= *dx;
        *dbias += *dy;
    }
    for (((dweight, dshift), dout), n) in dweight.iter_mut().zip(dshift).zip(dout).zip(n) {
        *dweight += dout * n;
        *dshift += dout;
    }
}
