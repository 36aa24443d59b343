//! Multi-head attention with its input projection as one op: softmax(q kᵀ / √d) v per image and head, q, k, v = x Wᵀ + b.
//!
//! Replaces a product, three strided copies, two batched products of tiny matrices, softmax and a mask. The projection is
//! one product; what follows works on its rows in place, image by image, in `attention_head`. Backward keeps the
//! projection and computes the attention weights again.
//!
//! Where only the pool token asks (`queries` = 1, the last block), q is projected for that token alone, k and v for all.

use super::attention_head::{Dims, Head, Place};
use super::storage::{column_sums, rows, slice, tensor, with_slice};
use crate::dropout::Dropout;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

/// x (B, T, D), `w` (3D, D), `b` (3D) -> (B, queries, D).
pub(super) fn attention(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    queries: usize,
    dropout: Dropout,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (_, tokens, embed_dim) = x.dims3()?;
    let dims = Dims {
        queries,
        tokens,
        heads,
        embed_dim,
    };
    let projected = Projected::new(&x, &w.detach(), dims)?;
    x.apply_op3(
        w,
        &b.contiguous()?,
        Attention {
            dims,
            projected,
            dropout,
        },
    )
}

/// x Wᵀ, still without the bias.
enum Projected {
    /// Every token asks: (B*T, 3D), the rows of q, k, v side by side.
    All { qkv: Tensor },
    /// Only the first tokens ask: q (B*queries, D), and (B*T, 2D) with the rows of k, v side by side.
    Some { q: Tensor, kv: Tensor },
}

impl Projected {
    fn new(
        x: &Tensor,
        w: &Tensor,
        Dims {
            queries,
            tokens,
            embed_dim: d,
            ..
        }: Dims,
    ) -> Result<Self> {
        if queries == tokens {
            return Ok(Self::All {
                qkv: rows(x)?.matmul(&w.t()?)?,
            });
        }
        let (w_q, w_kv) = (w.narrow(0, 0, d)?, w.narrow(0, d, 2 * d)?);
        let asking = rows(&x.narrow(1, 0, queries)?)?; // (B*queries, D)
        Ok(Self::Some {
            q: asking.matmul(&w_q.t()?)?,
            kv: rows(x)?.matmul(&w_kv.t()?)?,
        })
    }

    /// Runs `body` on the rows that hold q and on the rows that hold k and v.
    fn with_rows<R>(&self, body: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
        match self {
            Self::All { qkv } => with_slice(qkv, |qkv| Ok(body(qkv, qkv))),
            Self::Some { q, kv } => with_slice(q, |q| with_slice(kv, |kv| Ok(body(q, kv)))),
        }
    }

    /// Where q, k and v stand in their rows.
    fn places(&self, d: usize) -> [Place; 3] {
        match self {
            Self::All { .. } => [0, d, 2 * d].map(|start| Place {
                start,
                stride: 3 * d,
            }),
            Self::Some { .. } => [
                Place {
                    start: 0,
                    stride: d,
                },
                Place {
                    start: 0,
                    stride: 2 * d,
                },
                Place {
                    start: d,
                    stride: 2 * d,
                },
            ],
        }
    }
}

struct Attention {
    dims: Dims,
    projected: Projected,
    dropout: Dropout,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attnpool-attention"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        x_layout: &Layout,
        _w: &CpuStorage,
        _w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Dims {
            queries, embed_dim, ..
        } = self.dims;
        let batch = x_layout.dims()[0];
        let b = slice(b, b_layout)?;
        let out = self
            .projected
            .with_rows(|q, kv| self.forward(q, kv, b, batch))?;
        Ok((CpuStorage::F32(out), (batch, queries, embed_dim).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _out: &Tensor,
        dout: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dout, w) = (dout.contiguous()?, w.detach());
        let (dq, dkv) = with_slice(b, |b| {
            with_slice(&dout, |dout| {
                self.projected
                    .with_rows(|q, kv| self.backward(q, kv, b, dout))
            })
        })?;
        let (dx, dw, db) = match dq {
            None => self.through_projection(x, &w, dkv)?,
            Some(dq) => self.through_both_projections(x, &w, dq, dkv)?,
        };
        Ok((Some(dx), Some(dw), Some(tensor(db, b.shape())?)))
    }
}

impl Attention {
    fn forward(&self, q: &[f32], kv: &[f32], bias: &[f32], batch: usize) -> Vec<f32> {
        let Dims {
            queries,
            embed_dim: d,
            heads,
            ..
        } = self.dims;
        let places = self.projected.places(d);
        let mut out = vec![0f32; batch * queries * d];
        let images = out
            .par_chunks_mut(queries * d)
            .zip(q.par_chunks(q.len() / batch))
            .zip(kv.par_chunks(kv.len() / batch));
        images.enumerate().for_each(|(image, ((out, q), kv))| {
            let mut head = Head::new(self.dims);
            Arch::new().dispatch(|| {
                for h in 0..heads {
                    head.load(h, [q, kv, kv], places, bias);
                    head.forward(image * heads + h, self.dropout);
                    head.store_out(h, out);
                }
            });
        });
        out
    }

    /// The gradients of the projected rows: (None, dqkv) or (dq, dkv).
    fn backward(
        &self,
        q: &[f32],
        kv: &[f32],
        bias: &[f32],
        dout: &[f32],
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let Dims {
            queries,
            embed_dim: d,
            ..
        } = self.dims;
        let batch = dout.len() / (queries * d);
        let [q_place, k_place, v_place] = self.projected.places(d);
        let (q_len, kv_len) = (q.len() / batch, kv.len() / batch);
        let mut dkv = vec![0f32; kv.len()];
        let images = dkv
            .par_chunks_mut(kv_len)
            .zip(q.par_chunks(q_len).zip(kv.par_chunks(kv_len)))
            .zip(dout.par_chunks(queries * d))
            .enumerate();
        match self.projected {
            Projected::All { .. } => {
                images.for_each(|(image, ((dqkv, (q, kv)), dout))| {
                    self.backward_image(image, [q, kv, kv], bias, dout, |h, head| {
                        head.store_dq(h, dqkv, q_place);
                        head.store_dkv(h, dqkv, k_place, v_place);
                    });
                });
                (None, dkv)
            }
            Projected::Some { .. } => {
                let mut dq = vec![0f32; q.len()];
                images.zip(dq.par_chunks_mut(q_len)).for_each(
                    |((image, ((dkv, (q, kv)), dout)), dq)| {
                        self.backward_image(image, [q, kv, kv], bias, dout, |h, head| {
                            head.store_dq(h, dq, q_place);
                            head.store_dkv(h, dkv, k_place, v_place);
                        });
                    },
                );
                (Some(dq), dkv)
            }
        }
    }

    /// Runs backward through every head of an image and hands each to `store`.
    fn backward_image(
        &self,
        image: usize,
        qkv: [&[f32]; 3],
        bias: &[f32],
        dout: &[f32],
        mut store: impl FnMut(usize, &Head),
    ) {
        let Dims {
            embed_dim, heads, ..
        } = self.dims;
        let places = self.projected.places(embed_dim);
        let mut head = Head::new(self.dims);
        Arch::new().dispatch(|| {
            for h in 0..heads {
                head.load(h, qkv, places, bias);
                head.load_gradient(h, dout);
                head.backward(image * heads + h, self.dropout);
                store(h, &head);
            }
        });
    }

    /// From dqkv (B*T, 3D) to the gradients of x, W and b.
    fn through_projection(
        &self,
        x: &Tensor,
        w: &Tensor,
        dqkv: Vec<f32>,
    ) -> Result<(Tensor, Tensor, Vec<f32>)> {
        let x_rows = rows(x)?; // (B*T, D)
        let width = w.dim(0)?;
        let db = column_sums(&dqkv, width); // (3D)
        let dqkv = tensor(dqkv, (x_rows.dim(0)?, width))?;
        let dx = dqkv.matmul(w)?.reshape(x.shape())?; // (B, T, D)
        Ok((dx, dqkv.t()?.matmul(&x_rows)?, db))
    }

    /// From dq (B*queries, D) and dkv (B*T, 2D) to the gradients of x, W and b.
    fn through_both_projections(
        &self,
        x: &Tensor,
        w: &Tensor,
        dq: Vec<f32>,
        dkv: Vec<f32>,
    ) -> Result<(Tensor, Tensor, Vec<f32>)> {
        let Dims {
            queries,
            tokens,
            embed_dim: d,
            ..
        } = self.dims;
        let (w_q, w_kv) = (w.narrow(0, 0, d)?, w.narrow(0, d, 2 * d)?);
        let (x_all, x_asking) = (rows(x)?, rows(&x.narrow(1, 0, queries)?)?); // (B*T, D), (B*queries, D)
        let db = [column_sums(&dq, d), column_sums(&dkv, 2 * d)].concat(); // (3D)
        let dq = tensor(dq, x_asking.shape())?;
        let dkv = tensor(dkv, (x_all.dim(0)?, 2 * d))?;
        let dw = Tensor::cat(&[dq.t()?.matmul(&x_asking)?, dkv.t()?.matmul(&x_all)?], 0)?; // (3D, D)
        // The asking tokens get a second gradient, through their queries.
        let from_kv = dkv.matmul(&w_kv)?.reshape(x.shape())?; // (B, T, D)
        let from_q = dq.matmul(&w_q)?.reshape(((), queries, d))?; // (B, queries, D)
        let asking = (from_kv.narrow(1, 0, queries)? + from_q)?;
        let dx = Tensor::cat(&[asking, from_kv.narrow(1, queries, tokens - queries)?], 1)?; // (B, T, D)
        Ok((dx, dw, db))
    }
}
