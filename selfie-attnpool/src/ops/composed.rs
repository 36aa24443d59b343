//! The same four steps by Candle's own differentiable ops, for other devices and types: the formulas, one line each.
//!
//! `candle_nn::LayerNorm` and `ops::softmax_last_dim` would stop the gradients without a word, so both are spelled out.

use super::NORM_EPS;
use crate::dropout::Dropout;
use candle_core::{D, DType, Result, Tensor};

/// How two matrices are multiplied.
pub(super) type Product = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// The product of two f32 tensors with both rounded to bf16, as f32. Candle's CPU has no product in bf16: there it is emulated.
pub(super) fn bf16_product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.to_dtype(DType::BF16)?, b.to_dtype(DType::BF16)?);
    match a.device().is_cpu() {
        true => a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?),
        false => a.matmul(&b)?.to_dtype(DType::F32),
    }
}

/// x (B, T, D), `w` (3D, D), `b` (3D) -> (B, queries, D).
pub(super) fn attention(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    queries: usize,
    dropout: Dropout,
    product: Product,
) -> Result<Tensor> {
    let (batch, tokens, d) = x.dims3()?;
    let weights = weights(x, (w, b), heads, queries, product)?; // (B, h, queries, T)
    let v = split_heads(&linear(x, &w.narrow(0, 2 * d, d)?, &b.narrow(0, 2 * d, d)?, product)?, heads)?; // (B, h, T, d)
    // A row of the mask is a token and its columns are the queries, as in the fused kernel.
    let weights = dropout.apply(&weights.transpose(2, 3)?.contiguous()?, batch * heads * tokens)?.transpose(2, 3)?;
    let out = product(&weights.contiguous()?, &v)?; // (B, h, queries, d)
    out.transpose(1, 2)?.contiguous()?.flatten_from(2) // (B, queries, D)
}

/// How much the first `queries` tokens attend to each token, without dropout: (B, h, queries, T).
fn weights(x: &Tensor, (w, b): (&Tensor, &Tensor), heads: usize, queries: usize, product: Product) -> Result<Tensor> {
    let d = x.dim(2)?;
    let asking = x.narrow(1, 0, queries)?; // (B, queries, D)
    let q = split_heads(&linear(&asking, &w.narrow(0, 0, d)?, &b.narrow(0, 0, d)?, product)?, heads)?; // (B, h, queries, d)
    let k = split_heads(&linear(x, &w.narrow(0, d, d)?, &b.narrow(0, d, d)?, product)?, heads)?; // (B, h, T, d)
    let scores = (product(&q, &k.t()?)? * (1.0 / ((d / heads) as f64).sqrt()))?; // (B, h, queries, T)
    // The maximum only guards against overflow: the softmax, and so its gradient, does not depend on it.
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// The attention weights of the first token, without dropout and outside the graph: (B, h, T).
pub(crate) fn attention_weights(x: &Tensor, (w, b): (&Tensor, &Tensor), heads: usize) -> Result<Tensor> {
    weights(&x.detach(), (&w.detach(), &b.detach()), heads, 1, Tensor::matmul)?.squeeze(2) // (B, h, T)
}

/// x (B, T, E), w (D, E) -> (B, T, D).
pub(super) fn project(x: &Tensor, w: &Tensor, product: Product) -> Result<Tensor> {
    let (b, t, e) = x.dims3()?;
    product(&x.reshape((b * t, e))?, &w.t()?)?.reshape((b, t, ())) // (B, T, D)
}

/// x, y (B, T, D), vectors (3, D) = bias, weight and bias of the norm -> (B, T, D).
pub(super) fn residual_norm(x: &Tensor, y: &Tensor, vectors: &Tensor, dropout: Dropout) -> Result<Tensor> {
    let (b, t, _) = x.dims3()?;
    let (bias, weight, shift) = (vectors.get(0)?, vectors.get(1)?, vectors.get(2)?); // (D) each
    let sum = (x + dropout.apply(&y.broadcast_add(&bias)?, b * t)?)?;
    let centred = sum.broadcast_sub(&sum.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?; // (B, T, 1)
    let normal = centred.broadcast_div(&(variance + NORM_EPS as f64)?.sqrt()?)?;
    normal.broadcast_mul(&weight)?.broadcast_add(&shift)
}

/// x (B, T, D), w (F, D), b (F) -> (B, T, F).
pub(super) fn linear_gelu(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    dropout: Dropout,
    product: Product,
) -> Result<Tensor> {
    let (batch, t, _) = x.dims3()?;
    dropout.apply(&linear(x, w, b, product)?.gelu_erf()?, batch * t)
}

fn linear(x: &Tensor, w: &Tensor, b: &Tensor, product: Product) -> Result<Tensor> {
    project(x, w, product)?.broadcast_add(b)
}

/// (B, T, D) -> (B, h, T, d).
fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, t, _) = x.dims3()?;
    x.reshape((b, t, heads, ()))?.transpose(1, 2)?.contiguous() // (B, h, T, d)
}
