//! The same functions from Candle's own ops, for GPUs and other types: 1x1 convolutions as products, others as
//! im2col + product, batch norm and pooling from sums and maxima. Every op used here has a correct gradient.

use super::{Normalised, Statistics, norm::EPSILON};
use crate::reduction::sum_tracked;
use candle_core::{DType, Device, Result, Tensor};

/// The entries of one axis that a kernel tap meets, one for each of `n` outputs.
fn axis(n: usize, position: impl Fn(usize) -> usize, device: &Device) -> Result<Tensor> {
    Tensor::from_vec((0..n).map(|o| position(o) as u32).collect::<Vec<_>>(), n, device)
}

/// The windows of a padded x (B, H, W, C), tap by tap: each (B, H', W', C).
fn windows(x: &Tensor, kernel: usize, stride: usize) -> Result<Vec<Tensor>> {
    let (_, h, w, _) = x.dims4()?;
    let (oh, ow) = ((h - kernel) / stride + 1, (w - kernel) / stride + 1);
    let mut taps = Vec::with_capacity(kernel * kernel);
    for ky in 0..kernel {
        let rows = x.index_select(&axis(oh, |o| o * stride + ky, x.device())?, 1)?;
        for kx in 0..kernel {
            taps.push(rows.index_select(&axis(ow, |o| o * stride + kx, x.device())?, 2)?);
        }
    }
    Ok(taps)
}

/// `x` (B, H, W, C) with zeros around each map.
pub(super) fn padded(x: &Tensor, padding: usize) -> Result<Tensor> {
    x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)
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
    let x = padded(&x, padding)?;
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

/// Max-pool by the nine taps of each window. A tap beyond the border reads the border's own pixel, which belongs to the window anyway:
/// neither the maximum nor the order of equal values changes, and no value takes part in arithmetic.
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let (oh, ow) = (h.div_ceil(2), w.div_ceil(2));
    let inside = |size: usize, k: usize| move |o: usize| (2 * o + k).saturating_sub(1).min(size - 1);
    let (mut taps, mut unknown) = (Vec::with_capacity(9), Vec::with_capacity(9));
    let not_a_number = x.detach().ne(&x.detach())?; // (B, H, W, C)
    for ky in 0..3 {
        let ys = axis(oh, inside(h, ky), x.device())?;
        let (rows, unknown_rows) = (x.index_select(&ys, 1)?, not_a_number.index_select(&ys, 1)?);
        for kx in 0..3 {
            let xs = axis(ow, inside(w, kx), x.device())?;
            taps.push(rows.index_select(&xs, 2)?);
            unknown.push(unknown_rows.index_select(&xs, 2)?);
        }
    }
    let taps = Tensor::stack(&taps, 4)?; // (B, H', W', C, 9)
    let best = taps.detach().argmax_keepdim(4)?;
    let y = taps.gather(&best, 4)?.reshape((b, oh, ow, c))?;
    let unknown = Tensor::stack(&unknown, 4)?.max(4)?; // (B, H', W', C)
    unknown.where_cond(&Tensor::full(f32::NAN, y.shape(), y.device())?.to_dtype(y.dtype())?, &y)
}

/// Mean over the pixels of x (B, H, W, C): (B, C).
pub(crate) fn mean_pool(x: &Tensor) -> Result<Tensor> {
    x.flatten(1, 2)?.mean(1)
}
