//! x Wᵀ as one op.
//!
//! Replaces `x.matmul(&w.t()?)`, whose backward makes the gradient of the transposed matrix first and then adds it,
//! transposed and entry by entry, to the gradient of W. Here the product gives dW = gᵀ x in its own layout. Measured with a
//! square W of 1024: up to 1.4 times as fast.

use super::storage::rows;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// x (B, T, E), w (D, E) -> (B, T, D).
pub(super) fn project(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(w, Project)
}

struct Project;

impl CustomOp2 for Project {
    fn name(&self) -> &'static str {
        "attnpool-project"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, t, e) = x_layout.shape().dims3()?;
        let d = w_layout.dims()[0];
        let x_layout = Layout::contiguous_with_offset((b * t, e), x_layout.start_offset());
        let y = x.matmul(w, (1, b * t, d, e), &x_layout, &w_layout.transpose(0, 1)?)?;
        Ok((y, (b, t, d).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = rows(dy)?; // (B*T, D)
        let dx = dy.matmul(&w.detach())?.reshape(x.shape())?; // (B, T, E)
        let dw = dy.t()?.matmul(&rows(x)?)?; // (D, E)
        Ok((Some(dx), Some(dw)))
    }
}
