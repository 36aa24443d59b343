//! The input projection of the attention: x Wᵀ, kept without the bias, and the way back from its gradient.
//!
//! Where every token asks, q, k and v are one product of all of W. Where only the first tokens ask (the last block, whose
//! pool token alone is kept), q is projected for those alone, which saves a third of the product.

use super::storage::{column_sums, rows, tensor, with_slice};
use candle_core::{Result, Tensor};

/// Where q, k or v stand in the rows of a matrix: row i begins at `start + i * stride`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) stride: usize,
}

impl Place {
    pub(super) fn new(start: usize, stride: usize) -> Self {
        Self { start, stride }
    }
}

/// x Wᵀ for x (B, T, D) and W (3D, D).
pub(super) struct Projected {
    /// (B*T, 3D) with the rows of q, k, v side by side where they share rows, else (B*queries, D).
    q: Tensor,
    /// The same tensor where q, k, v share rows, else (B*T, 2D) with the rows of k, v side by side.
    kv: Tensor,
    /// Whether q, k, v share rows.
    pub(super) shared: bool,
    /// Where q, k, v stand in their rows.
    pub(super) places: [Place; 3],
    queries: usize,
}

impl Projected {
    pub(super) fn new(x: &Tensor, w: &Tensor, queries: usize) -> Result<Self> {
        let (_, tokens, d) = x.dims3()?;
        let shared = queries == tokens;
        let (q, kv) = if shared {
            let qkv = rows(x)?.matmul(&w.t()?)?; // (B*T, 3D)
            (qkv.clone(), qkv)
        } else {
            let asking = rows(&x.narrow(1, 0, queries)?)?; // (B*queries, D)
            let q = asking.matmul(&w.narrow(0, 0, d)?.t()?)?; // (B*queries, D)
            (q, rows(x)?.matmul(&w.narrow(0, d, 2 * d)?.t()?)?) // (B*T, 2D)
        };
        let places = if shared {
            [0, d, 2 * d].map(|start| Place::new(start, 3 * d))
        } else {
            let (k, v) = (Place::new(0, 2 * d), Place::new(d, 2 * d));
            [Place::new(0, d), k, v]
        };
        Ok(Self { q, kv, shared, places, queries })
    }

    /// Runs `body` on the rows that hold q and on the rows that hold k and v.
    pub(super) fn with_rows<R>(&self, body: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
        with_slice(&self.q, |q| with_slice(&self.kv, |kv| Ok(body(q, kv))))
    }

    /// From the gradients of the rows to those of x (B, T, D), W (3D, D) and the bias (3D); `dq` stands apart where q, k, v
    /// do not share rows.
    pub(super) fn gradients(
        &self,
        x: &Tensor,
        w: &Tensor,
        dq: Option<Vec<f32>>,
        dkv: Vec<f32>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (_, tokens, d) = x.dims3()?;
        let x_rows = rows(x)?; // (B*T, D)
        let mut db = column_sums(&dkv, self.kv.dim(1)?);
        let dkv = tensor(dkv, self.kv.shape())?;
        let Some(dq) = dq else {
            let dx = dkv.matmul(w)?.reshape(x.shape())?; // (B, T, D)
            return Ok((dx, dkv.t()?.matmul(&x_rows)?, tensor(db, 3 * d)?));
        };
        db.splice(0..0, column_sums(&dq, d)); // (3D)
        let dq = tensor(dq, self.q.shape())?;
        let asking = rows(&x.narrow(1, 0, self.queries)?)?; // (B*queries, D)
        let dw_q = dq.t()?.matmul(&asking)?; // (D, D)
        let dw = Tensor::cat(&[dw_q, dkv.t()?.matmul(&x_rows)?], 0)?; // (3D, D)
        // The asking tokens get a second gradient, through their queries.
        let from_kv = dkv.matmul(&w.narrow(0, d, 2 * d)?)?.reshape(x.shape())?; // (B, T, D)
        let from_q = dq.matmul(&w.narrow(0, 0, d)?)?.reshape(((), self.queries, d))?; // (B, queries, D)
        let asking = (from_kv.narrow(1, 0, self.queries)? + from_q)?;
        let others = from_kv.narrow(1, self.queries, tokens - self.queries)?;
        let dx = Tensor::cat(&[asking, others], 1)?; // (B, T, D)
        Ok((dx, dw, tensor(db, 3 * d)?))
    }
}
