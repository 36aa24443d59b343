//! The same functions from Candle's own ops, for GPUs and other types: 1x1 convolutions as products, others as
//! im2col + product, batch norm and pooling from sums and maxima. Every op used here has a correct gradient.

use super::{Normalised, Statistics, norm::EPSILON};
use crate::reduction::sum_tracked;
use candle_core::{DType, Result, Tensor};

/// The windows of a padded x (B, H, W, C), tap by tap: each (B, H', W', C).
fn windows(x: &Tensor, kernel: usize, stride: usize) -> Result<Vec<Tensor>> {
    let (_, h, w, _) = x.dims4()?;
    let (oh, ow) = ((h - kernel) / stride + 1, (w - kernel) / stride + 1);
    let axis = |n: usize, k: usize| {
        Tensor::from_vec((0..n).map(|o| (o * stride + k) as u32).collect::<Vec<_>>(), n, x.device())
    };
    let mut taps = Vec::with_capacity(kernel * kernel);
    for ky in 0..kernel {
        let rows = x.index_select(&axis(oh, ky)?, 1)?;
        for kx in 0..kernel {
            taps.push(rows.index_select(&axis(ow, kx)?, 2)?);
        }
    }
    Ok(taps)
}

/// `x` as a factor of a product in bf16: rounded, and on the CPU, where Candle has no such product, back in f32.
fn rounded(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::BF16)?;
    if x.device().is_cpu() { x.to_dtype(DType::F32) } else { Ok(x) }
}

/// With `bf16` both factors of the product are rounded to it; what comes out is of `x`'s type again.
pub(super) fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize, bf16: bool) -> Result<Tensor> {
    let (o, c, k, _) = w.dims4()?;
    let dtype = x.dtype();
    let (x, w) = if bf16 { (rounded(x)?, rounded(w)?) } else { (x.clone(), w.clone()) };
    let x = x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)?;
    let columns = match (k, stride) {
        (1, 1) => x,
        _ => Tensor::cat(&windows(&x, k, stride)?, 3)?, // (B, H', W', k·k·C)
    };
    let (b, oh, ow, _) = columns.dims4()?;
    let w = w.permute((2, 3, 1, 0))?.reshape((k * k * c, o))?;
    columns.reshape((b * oh * ow, k * k * c))?.matmul(&w)?.to_dtype(dtype)?.reshape((b, oh, ow, o))
}

pub(crate) fn batch_norm(
    x: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    statistics: Statistics,
    relu: bool,
) -> Result<Normalised> {
    let (b, h, w, c) = x.dims4()?;
    let rows = b * h * w;
    let x2 = x.reshape((rows, c))?;
    let (centred, variance, moments) = match statistics {
        Statistics::Batch => {
            let mean = x2.mean_keepdim(0)?;
            let centred = x2.broadcast_sub(&mean)?;
            let variance = centred.sqr()?.mean_keepdim(0)?;
            let unbiased = (&variance * (rows as f64 / (rows.max(2) - 1) as f64))?;
            let moments = (mean.flatten_all()?.detach(), unbiased.flatten_all()?.detach());
            (centred, variance, Some(moments))
        }
        Statistics::Shared(reduction) => {
            let count = Tensor::full(rows as f32, 1, x.device())?.to_dtype(x.dtype())?;
            let sums = sum_tracked(reduction, &Tensor::cat(&[x2.sum(0)?, count], 0)?)?; // (C + 1)
            let count = sums.narrow(0, c, 1)?.detach();
            let mean = sums.narrow(0, 0, c)?.broadcast_div(&count)?.reshape((1, c))?;
            let centred = x2.broadcast_sub(&mean)?;
            let squares = sum_tracked(reduction, &centred.sqr()?.sum(0)?)?; // (C)
            let unbiased = squares.detach().broadcast_div(&(&count - 1.0)?.maximum(1.0)?)?;
            let moments = (mean.flatten_all()?.detach(), unbiased);
            (centred, squares.broadcast_div(&count)?.reshape((1, c))?, Some(moments))
        }
        Statistics::Running(mean, variance) => (x2.broadcast_sub(mean)?, variance.reshape((1, c))?, None),
    };
    let scale = ((variance + EPSILON)?.sqrt()?.recip()? * gamma.reshape((1, c))?)?;
    let y = centred.broadcast_mul(&scale)?.broadcast_add(beta)?.reshape(x.shape())?;
    Ok((if relu { self::relu(&y)? } else { y }, moments))
}

/// ReLU with slope 0 at 0 (Candle's own has slope 1 there).
pub(super) fn relu(x: &Tensor) -> Result<Tensor> {
    x * x.gt(0.0)?.to_dtype(x.dtype())?
}

/// `relu(x + shortcut)`.
pub(crate) fn add_relu(x: &Tensor, shortcut: &Tensor) -> Result<Tensor> {
    relu(&(x + shortcut)?)
}

pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    // The border must lose against everything: shift the map up to positive values instead of padding by -infinity.
    let lowest = (x.detach().min_all()? - 1.0)?;
    let padded = x.broadcast_sub(&lowest)?.pad_with_zeros(1, 1, 1)?.pad_with_zeros(2, 1, 1)?;
    let (oh, ow) = (h.div_ceil(2), w.div_ceil(2));
    let padded = padded.pad_with_zeros(1, 0, (2 * oh + 1).saturating_sub(h + 2))?;
    let padded = padded.pad_with_zeros(2, 0, (2 * ow + 1).saturating_sub(w + 2))?;
    let taps = Tensor::stack(&windows(&padded, 3, 2)?, 4)?; // (B, H', W', C, 9)
    let best = taps.detach().argmax_keepdim(4)?;
    taps.gather(&best, 4)?.reshape((b, oh, ow, c))?.broadcast_add(&lowest)
}

/// Mean over the pixels of x (B, H, W, C): (B, C).
pub(crate) fn mean_pool(x: &Tensor) -> Result<Tensor> {
    x.flatten(1, 2)?.mean(1)
}
