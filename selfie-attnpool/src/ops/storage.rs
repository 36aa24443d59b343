//! The way between Candle tensors and slices of f32, and sums over rows.

use super::math::{self, vectorised};
use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// The entries of a contiguous f32 argument.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("a kernel of selfie-attnpool got a strided argument"),
    }
}

/// Runs `body` on the entries of a contiguous f32 tensor in main memory.
pub(crate) fn with_slice<R>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => body(slice(storage, layout)?),
        _ => bail!("a kernel of selfie-attnpool got a tensor that is not in main memory"),
    }
}

/// A tensor in main memory.
pub(crate) fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(data, shape.into(), &Device::Cpu)
}

/// x (..., D) as the matrix (rows, D), detached from the graph.
pub(crate) fn rows(x: &Tensor) -> Result<Tensor> {
    x.detach().flatten_to(candle_core::D::Minus2)
}

/// How many rows of `width` entries one task takes. It depends on the sizes only, so that results do not depend on the
/// number of threads.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (16_384 / width.max(1)).max(1)
}

/// The sums of the columns of a matrix with `width` columns.
pub(crate) fn column_sums(data: &[f32], width: usize) -> Vec<f32> {
    const COLUMNS: usize = 128;
    let mut sums = vec![0f32; width];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(block, sums)| {
        let start = block * COLUMNS;
        let len = sums.len();
        vectorised(
            #[inline(always)]
            || {
                for row in data.chunks_exact(width) {
                    math::add_to(sums, &row[start..start + len]);
                }
            },
        );
    });
    sums
}
