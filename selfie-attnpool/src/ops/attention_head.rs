//! Softmax attention of one image and one head, forward and backward, on copies that fit the first-level cache.
//!
//! Replaces batched products: with 13 or 38 tokens and heads 8 to 32 wide a product costs less than the call that sets it
//! up. Rows are padded with zeros to whole blocks of eight, so that every inner loop has a known length. The attention
//! weights stand transposed, a line a token and a lane a query: softmax and its backward then add up and down, lane by
//! lane, and never across a register.
//!
//! With q scaled by 1/√d, f the dropout factors and a the attention weights: a = softmax(q kᵀ), out = (f a) v. Backward,
//! for dout: dv = (f a)ᵀ dout, da = f (dout vᵀ), ds = a (da - rowsum(a da)), dq = ds k / √d, dk = dsᵀ q.

use super::math;
use super::projection::Place;
use super::small_product::{Block, LANES, product, product_transposed, transpose};
use crate::dropout::Dropout;

/// The sizes of an attention: queries ask, tokens answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dims {
    pub(super) queries: usize,
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) embed_dim: usize,
}

/// The working memory of one head, used again for the next.
pub(super) struct Head {
    dims: Dims,
    /// Head width d.
    width: usize,
    /// 1 / √d.
    scale: f32,
    /// d rounded up to whole blocks: the length of a row of q, k, v and out.
    row: usize,
    /// The number of queries rounded up to whole blocks: the length of a line of the attention weights.
    line: usize,
    q: Vec<f32>,       // (queries, row), scaled
    k: Vec<f32>,       // (tokens, row)
    v: Vec<f32>,       // (tokens, row)
    out: Vec<f32>,     // (queries, row); in backward its gradient
    turned: Vec<f32>,  // (row, line), q or the gradient of out, transposed
    weights: Vec<f32>, // (tokens, line), without dropout
    dropped: Vec<f32>, // (tokens, line), with dropout
    scores: Vec<f32>,  // (tokens, line), the gradient of the scores
    factors: Vec<f32>, // (tokens, line)
    dq: Vec<f32>,      // (queries, row)
    dk: Vec<f32>,      // (tokens, row)
    dv: Vec<f32>,      // (tokens, row)
}

impl Head {
    pub(super) fn new(dims: Dims) -> Self {
        let Dims { queries, tokens, heads, embed_dim } = dims;
        let width = embed_dim / heads;
        let (row, line) = (width.next_multiple_of(LANES), queries.next_multiple_of(LANES));
        let zeros = |rows: usize, columns: usize| vec![0f32; rows * columns];
        Self {
            dims,
            width,
            scale: 1.0 / (width as f32).sqrt(),
            row,
            line,
            q: zeros(queries, row),
            k: zeros(tokens, row),
            v: zeros(tokens, row),
            out: zeros(queries, row),
            turned: zeros(row, line),
            weights: zeros(tokens, line),
            dropped: zeros(tokens, line),
            scores: zeros(tokens, line),
            factors: zeros(tokens, line),
            dq: zeros(queries, row),
            dk: zeros(tokens, row),
            dv: zeros(tokens, row),
        }
    }

    /// Copies q, k, v of head `h` of an image, adding their bias (3D).
    #[inline(always)]
    pub(super) fn load(&mut self, h: usize, from: [&[f32]; 3], places: [Place; 3], bias: &[f32]) {
        let parts = [(&mut self.q, self.scale), (&mut self.k, 1.0), (&mut self.v, 1.0)];
        for (part, (to, scale)) in parts.into_iter().enumerate() {
            let (from, Place { start, stride }) = (from[part], places[part]);
            let bias = &bias[part * self.dims.embed_dim + h * self.width..][..self.width];
            for (i, to) in to.chunks_exact_mut(self.row).enumerate() {
                let from = &from[start + i * stride + h * self.width..][..self.width];
                for ((to, from), bias) in to.iter_mut().zip(from).zip(bias) {
                    *to = (from + bias) * scale;
                }
            }
        }
    }

    /// Copies the gradient of the output (queries, D) of head `h`.
    #[inline(always)]
    pub(super) fn load_gradient(&mut self, h: usize, dout: &[f32]) {
        let lines = self.out.chunks_exact_mut(self.row).zip(dout.chunks_exact(self.dims.embed_dim));
        lines.for_each(|(to, from)| to[..self.width].copy_from_slice(&from[h * self.width..][..self.width]));
    }

    #[inline(always)]
    pub(super) fn store_out(&self, h: usize, out: &mut [f32]) {
        self.store(&self.out, h, out, Place::new(0, self.dims.embed_dim));
    }

    #[inline(always)]
    pub(super) fn store_dq(&self, h: usize, dq: &mut [f32], place: Place) {
        self.store(&self.dq, h, dq, place);
    }

    #[inline(always)]
    pub(super) fn store_dkv(&self, h: usize, dkv: &mut [f32], k: Place, v: Place) {
        self.store(&self.dk, h, dkv, k);
        self.store(&self.dv, h, dkv, v);
    }

    #[inline(always)]
    fn store(&self, part: &[f32], h: usize, to: &mut [f32], Place { start, stride }: Place) {
        for (i, from) in part.chunks_exact(self.row).enumerate() {
            to[start + i * stride + h * self.width..][..self.width].copy_from_slice(&from[..self.width]);
        }
    }

    /// `out` of what was loaded; `number` counts heads over the batch, (head, token) names a row of the dropout.
    #[inline(always)]
    pub(super) fn forward(&mut self, number: usize, dropout: Dropout) {
        self.attend(number, dropout);
        product_transposed(&mut self.out, self.row, &self.dropped, self.line, &self.v);
    }

    /// `dq`, `dk`, `dv` of what was loaded.
    #[inline(always)]
    pub(super) fn backward(&mut self, number: usize, dropout: Dropout) {
        self.attend(number, dropout);
        product(&mut self.dv, self.row, &self.dropped, self.line, &self.out);
        transpose(&mut self.turned, self.line, &self.out, self.row);
        product(&mut self.scores, self.line, &self.v, self.row, &self.turned);
        self.scores.iter_mut().zip(&self.factors).for_each(|(da, f)| *da *= f);
        softmax_backward(&mut self.scores, &self.weights, self.line);
        product_transposed(&mut self.dq, self.row, &self.scores, self.line, &self.k);
        product(&mut self.dk, self.row, &self.scores, self.line, &self.q);
        self.dq.iter_mut().for_each(|dq| *dq *= self.scale);
    }

    /// The weights a of what was loaded, and f a.
    #[inline(always)]
    fn attend(&mut self, number: usize, dropout: Dropout) {
        transpose(&mut self.turned, self.line, &self.q, self.row);
        product(&mut self.weights, self.line, &self.k, self.row, &self.turned);
        softmax(&mut self.weights, self.line);
        for (token, factors) in self.factors.chunks_exact_mut(self.line).enumerate() {
            dropout.factors(number * self.dims.tokens + token, factors);
        }
        for ((dropped, a), f) in self.dropped.iter_mut().zip(&self.weights).zip(&self.factors) {
            *dropped = a * f;
        }
    }
}

/// Softmax down each lane of scores (tokens, line).
#[inline(always)]
fn softmax(scores: &mut [f32], line: usize) {
    let scores = scores.as_chunks_mut::<LANES>().0;
    let blocks = line / LANES;
    for block in 0..blocks {
        let mut max = [f32::NEG_INFINITY; LANES];
        for line in scores.chunks_exact(blocks) {
            max = each(max, line[block], |max, s| if s > max { s } else { max });
        }
        let mut sum = [0f32; LANES];
        for line in scores.chunks_exact_mut(blocks) {
            line[block] = each(line[block], max, |s, max| math::exp_negative(s - max));
            sum = each(sum, line[block], |sum, e| sum + e);
        }
        for line in scores.chunks_exact_mut(blocks) {
            line[block] = each(line[block], sum, |e, sum| e / sum);
        }
    }
}

/// From da to ds = a (da - sum(a da)), down each lane.
#[inline(always)]
fn softmax_backward(da: &mut [f32], a: &[f32], line: usize) {
    let (da, a) = (da.as_chunks_mut::<LANES>().0, a.as_chunks::<LANES>().0);
    let blocks = line / LANES;
    for block in 0..blocks {
        let mut sum = [0f32; LANES];
        for (da, a) in da.chunks_exact(blocks).zip(a.chunks_exact(blocks)) {
            let product = each(da[block], a[block], |da, a| da * a);
            sum = each(sum, product, |sum, product| sum + product);
        }
        for (da, a) in da.chunks_exact_mut(blocks).zip(a.chunks_exact(blocks)) {
            let centred = each(da[block], sum, |da, sum| da - sum);
            da[block] = each(a[block], centred, |a, centred| a * centred);
        }
    }
}

/// The function of each pair of lanes.
#[inline(always)]
fn each(a: Block, b: Block, f: impl Fn(f32, f32) -> f32) -> Block {
    let mut out = [0f32; LANES];
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane]);
    }
    out
}
