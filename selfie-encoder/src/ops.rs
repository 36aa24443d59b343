//! The few functions that layers call: convolution, batch norm, pooling, over channels-last maps (B, H, W, C).
//!
//! On the CPU in f32 they are Candle custom ops on this crate's kernels; on other devices and types they lower to
//! Candle's own ops ([`composed`]), with the same results. A v1.5 trunk on the CPU goes further and runs as one op
//! ([`crate::fused`]) on the same kernels. `unsafe` stays in [`product`] and [`outer`], and in one function of
//! [`tiles`].

pub(crate) mod buffers;
mod composed;
pub(crate) mod conv;
mod conv_op;
pub(crate) mod norm;
mod norm_op;
#[allow(unsafe_code)]
mod outer;
pub(crate) mod pool;
#[allow(unsafe_code)]
mod product;
pub(crate) mod shapes;
pub(crate) mod taps;
#[allow(unsafe_code)]
pub(crate) mod tiles;
mod vectors;

#[cfg(test)]
pub(crate) use composed::batch_norm as composed_batch_norm;
pub(crate) use composed::{add_relu, mean_pool};
pub(crate) use outer::outer;
pub(crate) use product::{Packed, Rows, Run, product};

use crate::reduction::Reduction;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Whether this crate's kernels take the tensor.
pub(crate) fn on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The statistics that a batch norm goes by.
#[derive(Clone, Copy, Debug)]
pub enum Statistics<'a> {
    /// Those of this batch.
    Batch,
    /// Those of the batch that several processes share, of which `x` is one part.
    Shared(&'a Arc<dyn Reduction>),
    /// Running mean and variance (C), without gradient.
    Running(&'a Tensor, &'a Tensor),
}

/// Convolution of `x` (B, H, W, C) with `w` (O, C, k, k), zero padding: (B, H', W', O).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones((1, 4, 4, 2), DType::F32, &Device::Cpu)?;
/// let w = Tensor::ones((5, 2, 3, 3), DType::F32, &Device::Cpu)?;
/// let y = selfie_encoder::conv2d(&x, &w, 2, 1)?;
/// assert_eq!(y.dims(), [1, 2, 2, 5]);
/// assert_eq!(y.max_all()?.to_scalar::<f32>()?, 18.0); // 2 channels x 9 taps, away from the border
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Any padding is accepted, as in PyTorch's `conv2d`: a window that lies in the padding alone gives zeros.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the kernel is not square, has other input channels than the image, or is larger than the
/// padded image, or if a dimension is 0; [`Error::Config`](crate::Error::Config) if `stride` is 0 or `padding` is beyond what memory can
/// hold; [`Error::DType`](crate::Error::DType) if the two tensors are not of one float type.
pub fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> crate::Result<Tensor> {
    shapes::check_conv2d(x, w, stride, padding)?;
    Ok(convolve(x, w, stride, padding)?)
}

/// [`conv2d`] of tensors whose shapes fit each other.
pub(crate) fn convolve(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    if on_cpu(x) { conv_op::conv2d(x, w, stride, padding) } else { composed::conv2d(x, w, stride, padding, false) }
}

/// [`conv2d`] with image and kernel rounded to bf16: products run in bf16 where the device has them. Candle's CPU has not: there
/// they are emulated, in f32 from the rounded values. In and out stay f32.
pub(crate) fn conv2d_bf16(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    composed::conv2d(x, w, stride, padding, true)
}

/// What [`batch_norm`] gives: the normalised tensor, and the batch's mean and unbiased variance (C) where it went by them.
pub type Normalised = (Tensor, Option<(Tensor, Tensor)>);

/// Batch norm of `x` (B, H, W, C) with γ and β (C), ε = 1e-5, then ReLU if `relu` is set.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` is not of rank 4 or is empty, if a vector is not of length C, or if the statistics of a
/// batch are taken from one value per channel, whose variance is 0 and whose result would be β whatever `x` is;
/// [`Error::DType`](crate::Error::DType) if the tensors are not of one float type. Whether several processes share more than one value is
/// checked on the CPU in f32 only, because a GPU would have to be waited for.
pub fn batch_norm(
    x: &Tensor,
    gamma_beta: (&Tensor, &Tensor),
    statistics: Statistics,
    relu: bool,
) -> crate::Result<Normalised> {
    shapes::check_batch_norm(x, gamma_beta, statistics)?;
    Ok(normalise(x, gamma_beta, statistics, relu)?)
}

/// [`batch_norm`] of tensors whose shapes fit each other.
pub(crate) fn normalise(
    x: &Tensor,
    gamma_beta: (&Tensor, &Tensor),
    statistics: Statistics,
    relu: bool,
) -> Result<Normalised> {
    if on_cpu(x) {
        norm_op::batch_norm(x, gamma_beta, statistics, relu)
    } else {
        composed::batch_norm(x, gamma_beta, statistics, relu)
    }
}

/// Max-pool 3x3, stride 2, padding 1, of `x` (B, H, W, C): (B, ⌈H/2⌉, ⌈W/2⌉, C). The first of equal values wins; a window that contains
/// NaN gives NaN.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` is not of rank 4 or is empty; [`Error::DType`](crate::Error::DType) if its elements are
/// not floats.
pub fn max_pool(x: &Tensor) -> crate::Result<Tensor> {
    shapes::check_map("x", x)?;
    Ok(pool_max(x)?)
}

/// [`max_pool`] of a map that is not empty.
pub(crate) fn pool_max(x: &Tensor) -> Result<Tensor> {
    if on_cpu(x) { x.contiguous()?.apply_op1(pool::MaxPool::default()) } else { composed::max_pool(x) }
}

/// The floats of a contiguous CPU storage.
pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("selfie-encoder's kernels take contiguous tensors, got {layout:?}"),
    }
}

/// Runs `read` on the floats of a contiguous CPU tensor.
pub(crate) fn with_floats<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(floats(storage, layout)?)),
        _ => bail!("selfie-encoder's kernels take CPU tensors"),
    }
}
