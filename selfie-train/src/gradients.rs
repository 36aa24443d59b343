//! The gradient of the trained tensors: taken from one backward pass, summed over the parts of a batch, measured.
//!
//! Candle's `GradStore` also holds gradients of intermediate tensors; here only the parameters' own are kept, in the
//! parameters' order, and the rest is freed at once. A parameter that the loss does not reach has none.

use candle_core::{CpuStorage, DType, Storage, Tensor};
use rayon::prelude::*;

use crate::error::Result;
use crate::store::Parameter;

/// Elements that one partial sum of the norm covers: fixed, so that the bits do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// One gradient a parameter, in the parameters' order.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    of: Vec<Option<Tensor>>,
}

impl Gradients {
    /// The gradient of the scalar `loss` by `parameters`.
    ///
    /// # Errors
    /// Where an operation has no backward.
    pub fn backward(loss: &Tensor, parameters: &[Parameter]) -> Result<Self> {
        let mut all = selfie_encoder::backward(loss)?;
        let of = parameters.iter().map(|parameter| all.remove(&parameter.var)).collect();
        Ok(Self { of })
    }

    /// Adds those of another part of the same batch.
    ///
    /// # Errors
    /// Where shapes differ, which two parts of one batch never have.
    pub fn add(&mut self, other: Self) -> Result<()> {
        if self.of.is_empty() {
            self.of = other.of;
            return Ok(());
        }
        for (sum, part) in self.of.iter_mut().zip(other.of) {
            *sum = match (sum.take(), part) {
                (Some(sum), Some(part)) => Some((sum + part)?),
                (sum, part) => sum.or(part),
            };
        }
        Ok(())
    }

    /// The gradient of the parameter at that place; none where the loss does not reach it.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Tensor> {
        self.of.get(at)?.as_ref()
    }

    /// Those that there are, in the parameters' order.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Tensor> {
        self.of.iter().flatten()
    }

    /// The same, to be replaced.
    pub(crate) fn known_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.of.iter_mut().flatten()
    }

    /// The Euclidean norm over all parameters.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn norm(&self) -> Result<f64> {
        let mut squares = 0.0;
        let mut elsewhere: Option<Tensor> = None; // a sum on another device, read once at the end
        for gradient in self.of.iter().flatten() {
            match squares_on_cpu(gradient) {
                Some(sum) => squares += sum,
                None => {
                    let sum = gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?;
                    elsewhere = Some(match elsewhere {
                        Some(total) => (total + sum)?,
                        None => sum,
                    });
                }
            }
        }
        if let Some(total) = elsewhere {
            squares += f64::from(total.to_scalar::<f32>()?);
        }
        Ok(squares.sqrt())
    }
}

/// The factor that brings a gradient of norm `norm` down to `limit` (0 = no limit); PyTorch's `clip_grad_norm_`.
#[must_use]
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit == 0.0 { 1.0 } else { (limit / (norm + 1e-6)).min(1.0) }
}

/// The sum of squares of a `f32` tensor in plain memory; `None` for any other.
fn squares_on_cpu(tensor: &Tensor) -> Option<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return None;
    };
    let part = |chunk: &[f32]| chunk.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
    let parts: Vec<f64> = values[start..end].par_chunks(CHUNK).map(part).collect();
    Some(parts.iter().sum())
}
