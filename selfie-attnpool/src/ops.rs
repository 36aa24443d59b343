//! The four steps that a transformer block is made of, each with a fused CPU kernel and a composition of Candle's own ops.
//!
//! | step | formula |
//! |---|---|
//! | `attention` | softmax(q kᵀ / √d) v per head, with q, k, v = x Wᵀ + b |
//! | `project` | x Wᵀ |
//! | `residual_norm` | layer norm of x + dropout(y + b) |
//! | `linear_gelu` | dropout(gelu(x Wᵀ + b)) |
//!
//! Candle's autograd starts the gradient of every argument from zeros and adds to it, so a few coarse ops beat many small
//! ones. Matrix products are Candle's (the `gemm` crate on the CPU); the kernels do what stands between the products in
//! one pass each, parallel over rows or images in pieces that do not depend on the number of threads.

mod attention;
mod attention_head;
mod composed;
mod linear_gelu;
mod math;
mod project;
mod projection;
mod residual_norm;
mod small_product;
mod storage;
#[cfg(test)]
mod tests;

pub(crate) use composed::attention_weights;

use crate::dropout::Dropout;
use candle_core::{DType, Result, Tensor};

/// Which implementation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The custom ops: f32 on the CPU.
    Fused,
    /// Candle's own ops: every device and type.
    Composed,
    /// The same with the factors of every product rounded to bf16; on the CPU, where Candle has no such product, it is emulated
    /// in f32.
    Bf16,
}

impl Path {
    /// The one place that chooses.
    pub(crate) fn of(x: &Tensor, bf16: bool) -> Self {
        match (bf16, x.device().is_cpu() && x.dtype() == DType::F32) {
            (true, _) => Self::Bf16,
            (false, true) => Self::Fused,
            (false, false) => Self::Composed,
        }
    }

    /// How Candle's own ops multiply.
    fn product(self) -> composed::Product {
        if self == Self::Bf16 { composed::bf16_product } else { Tensor::matmul }
    }

    /// Multi-head attention of the first `queries` tokens to all tokens, before the output projection.
    ///
    /// x (B, T, D), `w` (3D, D) and `b` (3D) with the rows of q, k, v in this order -> (B, queries, D).
    pub(crate) fn attention(
        self,
        x: &Tensor,
        (w, b): (&Tensor, &Tensor),
        heads: usize,
        queries: usize,
        dropout: Dropout,
    ) -> Result<Tensor> {
        match self {
            Self::Fused => attention::attention(x, (w, b), heads, queries, dropout),
            _ => composed::attention(x, (w, b), heads, queries, dropout, self.product()),
        }
    }

    /// x (B, T, E), w (D, E) -> (B, T, D), without a bias.
    pub(crate) fn project(self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused => project::project(x, w),
            _ => composed::project(x, w, self.product()),
        }
    }

    /// Layer norm of x + dropout(y + bias): x, y (B, T, D); `vectors` (3, D) holds the bias, the norm's weight and the
    /// norm's bias -> (B, T, D).
    pub(crate) fn residual_norm(self, x: &Tensor, y: &Tensor, vectors: &Tensor, dropout: Dropout) -> Result<Tensor> {
        match self {
            Self::Fused => residual_norm::residual_norm(x, y, vectors, dropout),
            _ => composed::residual_norm(x, y, vectors, dropout),
        }
    }

    /// x (B, T, D), w (F, D), b (F) -> (B, T, F).
    pub(crate) fn linear_gelu(self, x: &Tensor, (w, b): (&Tensor, &Tensor), dropout: Dropout) -> Result<Tensor> {
        match self {
            Self::Fused => linear_gelu::linear_gelu(x, (w, b), dropout),
            _ => composed::linear_gelu(x, (w, b), dropout, self.product()),
        }
    }
}

/// What layer norm adds to the variance: PyTorch's default.
const NORM_EPS: f32 = 1e-5;
