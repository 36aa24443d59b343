//! The choice of some patches' embeddings by their cell numbers, with gradient.
//!
//! Source: MAE's `random_masking` (He et al. 2021, `models_mae.py`) does the same with
//! `torch.gather`, on an index repeated D times. Here the batch is one long list of rows and each
//! row is copied whole, so the index stays (B, K).

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// Takes the rows of `embeddings` that `index` names, image by image and in that order. A row may
/// be named more than once; its gradient is then the sum.
///
/// On the CPU the index is checked: a cell past the end would otherwise name a patch of the next
/// image. On an accelerator reading it would wait for the device, and it is taken as it is.
///
/// # Shapes
/// `embeddings` (B, N, D), `index` (B, K) of `u32` -> (B, K, D)
///
/// # Errors
/// [`Error::Shape`] where the index is not (B, K) of `u32`, or something is empty; [`Error::Cell`]
/// where it names a cell that is not below N, on the CPU.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_patch::gather;
///
/// let embeddings = Tensor::new(&[[[0f32], [10.], [20.]]], &Device::Cpu)?; // (1, 3, 1)
/// let index = Tensor::new(&[[2u32, 0]], &Device::Cpu)?; // (1, 2)
/// assert_eq!(gather(&embeddings, &index)?.to_vec3::<f32>()?, [[[20.], [0.]]]);
/// # Ok::<(), selfie_patch::Error>(())
/// ```
pub fn gather(embeddings: &Tensor, index: &Tensor) -> Result<Tensor> {
    let (b, n, d) = match *embeddings.dims() {
        [b, n, d] if b * n * d > 0 => (b, n, d),
        _ => {
            let expected = "[B, N, D], none of them 0";
            return Err(Error::shape("embeddings", expected, embeddings));
        }
    };
    if u32::try_from(b * n).is_err() {
        return Err(Error::shape("embeddings", "[B, N, D] with fewer than 2^32 patches in all", embeddings));
    }
    let k = match *index.dims() {
        [index_b, k] if index_b == b && k > 0 && index.dtype() == DType::U32 => k,
        _ => {
            let expected = format!("[{b}, K] of u32, K at least 1");
            return Err(Error::shape("index", expected, index));
        }
    };
    if index.device().is_cpu() {
        check_cells("index", index, n)?;
    }

    let first_row = (Tensor::arange(0, b as u32, index.device())? * n as f64)?; // (B)
    let rows = index.broadcast_add(&first_row.unsqueeze(1)?)?; // (B, K)
    let chosen = embeddings
        .reshape((b * n, d))? // (B N, D)
        .index_select(&rows.flatten_all()?, 0)? // (B K, D)
        .reshape((b, k, d))?; // (B, K, D)
    Ok(chosen)
}

/// Fails where the index (B, K) of `u32` names a cell that is not below `num_patches`.
pub(crate) fn check_cells(what: &'static str, index: &Tensor, num_patches: usize) -> Result<()> {
    for (image, cells) in index.to_vec2::<u32>()?.into_iter().enumerate() {
        if let Some(cell) = cells.into_iter().find(|&cell| cell as usize >= num_patches) {
            return Err(Error::Cell { what, image, cell, num_patches });
        }
    }
    Ok(())
}
