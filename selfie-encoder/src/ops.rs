//! The few functions that layers call: convolution, batch norm, pooling, over channels-last maps (B, H, W, C).
//!
//! On the CPU in f32 they are Candle custom ops on this crate's kernels; on other devices and types they lower to
//! Candle's own ops ([`composed`]), with the same results. A v1.5 trunk on the CPU goes further and runs as one op
//! ([`crate::fused`]) on the same kernels. `unsafe` stays in [`product`] and [`outer`].

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
pub(crate) mod taps;
pub(crate) mod tiles;

pub(crate) use composed::{add_relu, mean_pool};
pub(crate) use outer::outer;
pub(crate) use product::{Packed, Rows, Run, product};

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

#[cfg(test)]
mod tests;

/// Whether this crate's kernels take the tensor.
pub(crate) fn on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The statistics that a batch norm goes by.
pub(crate) enum Statistics<'a> {
    /// Those of this batch.
    Batch,
    /// Running mean and variance (C), without gradient.
    Running(&'a Tensor, &'a Tensor),
}

/// Convolution of x (B, H, W, C) with w (O, C, k, k), zero padding: (B, H', W', O).
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    if on_cpu(x) {
        conv_op::conv2d(x, w, stride, padding)
    } else {
        composed::conv2d(x, w, stride, padding)
    }
}

/// Batch norm of x (B, H, W, C), then ReLU if asked for. Also the batch's mean and unbiased variance (C), when it went
/// by the batch.
pub(crate) fn batch_norm(
    x: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    statistics: Statistics,
    relu: bool,
) -> Result<(Tensor, Option<(Tensor, Tensor)>)> {
    if on_cpu(x) {
        norm_op::batch_norm(x, (gamma, beta), statistics, relu)
    } else {
        composed::batch_norm(x, (gamma, beta), statistics, relu)
    }
}

/// Max-pool 3x3, stride 2, padding 1, of x (B, H, W, C): (B, ⌈H/2⌉, ⌈W/2⌉, C).
pub(crate) fn max_pool(x: &Tensor) -> Result<Tensor> {
    if on_cpu(x) {
        x.contiguous()?.apply_op1(pool::MaxPool::default())
    } else {
        composed::max_pool(x)
    }
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
