//! One post-norm transformer block: attention and a feed-forward part, each inside residual sum and layer norm.
//!
//! PyTorch's `TransformerEncoderLayer(norm_first=False, activation="gelu")`, with its variable names and its four
//! dropouts. A block may compute the first tokens only: keys and values still come from every token, so nothing changes
//! for them, and the last block, of which one token is kept, costs less than half.

use crate::dropout::{Dropout, Mode, Site};
use crate::ops::{Path, attention_weights};
use crate::{AttnPoolConfig, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// The parameters of a block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The place in the stack: dropout masks differ by it.
    layer: usize,
    heads: usize,
    dropout: f64,
    in_proj: Affine,
    out_proj: Affine,
    norm1: Affine,
    linear1: Affine,
    linear2: Affine,
    norm2: Affine,
}

/// A weight and a bias: of a product (out, in) and (out), of a norm (D) and (D).
#[derive(Clone, Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Affine {
    fn product(out: usize, inp: usize, vb: &VarBuilder, prefix: &str) -> Result<Self> {
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        let weight = vb.get_with_hints((out, inp), &format!("{prefix}weight"), small)?;
        let bias = vb.get_with_hints(out, &format!("{prefix}bias"), Init::Const(0.0))?;
        Ok(Self { weight, bias })
    }

    fn norm(d: usize, vb: &VarBuilder, prefix: &str) -> Result<Self> {
        let weight = vb.get_with_hints(d, &format!("{prefix}weight"), Init::Const(1.0))?;
        let bias = vb.get_with_hints(d, &format!("{prefix}bias"), Init::Const(0.0))?;
        Ok(Self { weight, bias })
    }

    fn pair(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }
}

impl Block {
    pub(crate) fn new(config: &AttnPoolConfig, d: usize, layer: usize, vb: &VarBuilder) -> Result<Self> {
        let ffn = config.ffn(d);
        Ok(Self {
            layer,
            heads: config.heads(d),
            dropout: config.dropout,
            in_proj: Affine::product(3 * d, d, vb, "self_attn.in_proj_")?,
            out_proj: Affine::product(d, d, vb, "self_attn.out_proj.")?,
            linear1: Affine::product(ffn, d, vb, "linear1.")?,
            linear2: Affine::product(d, ffn, vb, "linear2.")?,
            norm1: Affine::norm(d, vb, "norm1.")?,
            norm2: Affine::norm(d, vb, "norm2.")?,
        })
    }

    /// The first `queries` tokens after this block: x (B, T, D) -> (B, queries, D).
    pub(crate) fn forward(&self, x: &Tensor, queries: usize, mode: Mode, path: Path) -> Result<Tensor> {
        let drop = |site, rows| Dropout::new(self.dropout, mode, self.layer, site, rows);
        let rows = self.heads * x.dim(1)?; // of an image's attention weights
        let attended = path.attention(x, self.in_proj.pair(), self.heads, queries, drop(Site::Attention, rows))?;
        let attended = path.project(&attended, &self.out_proj.weight)?; // (B, queries, D)
        let x = x.narrow(1, 0, queries)?; // (B, queries, D)
        let x = path.residual_norm(
            &x,
            &attended,
            &vectors(&self.out_proj, &self.norm1)?,
            drop(Site::AttentionOutput, queries),
        )?;
        let hidden = path.linear_gelu(&x, self.linear1.pair(), drop(Site::Hidden, queries))?; // (B, queries, F)
        let fed = path.project(&hidden, &self.linear2.weight)?; // (B, queries, D)
        Ok(path.residual_norm(
            &x,
            &fed,
            &vectors(&self.linear2, &self.norm2)?,
            drop(Site::FeedForwardOutput, queries),
        )?)
    }

    /// How much the first token attends to each token of x (B, T, D): (B, h, T), without dropout.
    pub(crate) fn attention_of_first(&self, x: &Tensor) -> Result<Tensor> {
        Ok(attention_weights(x, self.in_proj.pair(), self.heads)?)
    }
}

/// What stands around a residual sum: the product's bias, the norm's weight and bias (3, D).
fn vectors(product: &Affine, norm: &Affine) -> Result<Tensor> {
    Ok(Tensor::stack(&[&product.bias, &norm.weight, &norm.bias], 0)?) // (3, D)
}
