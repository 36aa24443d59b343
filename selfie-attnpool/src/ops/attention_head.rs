//! Softmax attention of one image and one head, forward and backward, on copies that fit the first-level cache.
//!
//! Replaces batched products: with 13 or 38 tokens and heads 8 to 32 wide a product costs less than the call that sets it
//! up. Rows are padded with zeros to whole groups of eight, so that every inner loop has a known length; k and v also
//! stand transposed, so that no loop sums across a register.
//!
//! With q scaled by 1/√d, f the dropout factors and a the attention weights: a = softmax(q kᵀ), out = (f a) v. Backward,
//! for dout: dv = (f a)ᵀ dout, da = f (dout vᵀ), ds = a (da - rowsum(a da)), dq = ds k / √d, dk = dsᵀ q.

use super::math;
use crate::dropout::Dropout;

/// The sizes of an attention: queries ask, tokens answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dims {
    pub(super) queries: usize,
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) embed_dim: usize,
}

/// Where the entries of q, k or v stand in a matrix: row i begins at `start + i * stride`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) stride: usize,
}

/// The working memory of one head, used again for the next.
pub(super) struct Head {
    dims: Dims,
    /// Head width d, and the same rounded up to eights.
    width: usize,
    row: usize,
    /// The number of tokens rounded up to eights.
    line: usize,
    q: Vec<f32>,       // (queries, row), scaled
    k: Vec<f32>,       // (tokens, row)
    v: Vec<f32>,       // (tokens, row)
    k_t: Vec<f32>,     // (row, line)
    v_t: Vec<f32>,     // (row, line)
    out: Vec<f32>,     // (queries, row); in backward its gradient
    weights: Vec<f32>, // (queries, line), without dropout
    dropped: Vec<f32>, // (queries, line), with dropout; in backward then the gradient of the scores
    scores: Vec<f32>,  // (queries, line)
    factors: Vec<f32>, // (queries, tokens)
    dq: Vec<f32>,      // (queries, row)
    dk: Vec<f32>,      // (tokens, row)
    dv: Vec<f32>,      // (tokens, row)
}

impl Head {
    pub(super) fn new(dims: Dims) -> Self {
        let Dims {
            queries,
            tokens,
            heads,
            embed_dim,
        } = dims;
        let width = embed_dim / heads;
        let (row, line) = (width.next_multiple_of(8), tokens.next_multiple_of(8));
        let zeros = |n: usize| vec![0f32; n];
        Self {
            dims,
            width,
            row,
            line,
            q: zeros(queries * row),
            k: zeros(tokens * row),
            v: zeros(tokens * row),
            k_t: zeros(row * line),
            v_t: zeros(row * line),
            out: zeros(queries * row),
            weights: zeros(queries * line),
            dropped: zeros(queries * line),
            scores: zeros(queries * line),
            factors: zeros(queries * tokens),
            dq: zeros(queries * row),
            dk: zeros(tokens * row),
            dv: zeros(tokens * row),
        }
    }

    /// Copies q, k, v of head `h` of an image, adding their bias (3D).
    #[inline(always)]
    pub(super) fn load(&mut self, h: usize, from: [&[f32]; 3], places: [Place; 3], bias: &[f32]) {
        let scale = 1.0 / (self.width as f32).sqrt();
        let parts = [(&mut self.q, scale), (&mut self.k, 1.0), (&mut self.v, 1.0)];
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
        transpose(&mut self.k_t, self.line, &self.k, self.row);
    }

    /// Copies the gradient of the output (queries, D) of head `h`.
    #[inline(always)]
    pub(super) fn load_gradient(&mut self, h: usize, dout: &[f32]) {
        let lines = self
            .out
            .chunks_exact_mut(self.row)
            .zip(dout.chunks_exact(self.dims.embed_dim));
        lines.for_each(|(to, from)| {
            to[..self.width].copy_from_slice(&from[h * self.width..][..self.width])
        });
    }

    #[inline(always)]
    pub(super) fn store_out(&self, h: usize, out: &mut [f32]) {
        self.store(
            &self.out,
            h,
            out,
            Place {
                start: 0,
                stride: self.dims.embed_dim,
            },
        );
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
            to[start + i * stride + h * self.width..][..self.width]
                .copy_from_slice(&from[..self.width]);
        }
    }

    /// The weights a of what was loaded, and f a; `number` counts heads over the batch and names the dropout's row.
    #[inline(always)]
    fn attend(&mut self, number: usize, dropout: Dropout) {
        let tokens = self.dims.tokens;
        product(&mut self.weights, self.line, &self.q, self.row, &self.k_t);
        for line in self.weights.chunks_exact_mut(self.line) {
            let max = line[..tokens]
                .iter()
                .fold(f32::NEG_INFINITY, |max, s| max.max(*s));
            line.iter_mut().for_each(|s| *s -= max);
        }
        self.weights
            .iter_mut()
            .for_each(|s| *s = math::exp_negative(*s));
        for line in self.weights.chunks_exact_mut(self.line) {
            line[tokens..].fill(0.0);
            let scale = 1.0 / line.iter().sum::<f32>();
            line.iter_mut().for_each(|a| *a *= scale);
        }
        dropout.factors(number, &mut self.factors);
        let lines = self
            .dropped
            .chunks_exact_mut(self.line)
            .zip(self.weights.chunks_exact(self.line));
        for ((dropped, weights), factors) in lines.zip(self.factors.chunks_exact(tokens)) {
            for ((dropped, a), f) in dropped.iter_mut().zip(weights).zip(factors) {
                *dropped = a * f;
            }
        }
    }

    /// `out` of what was loaded.
    #[inline(always)]
    pub(super) fn forward(&mut self, number: usize, dropout: Dropout) {
        self.attend(number, dropout);
        product(&mut self.out, self.row, &self.dropped, self.line, &self.v);
    }

    /// `dq`, `dk`, `dv` of what was loaded.
    #[inline(always)]
    pub(super) fn backward(&mut self, number: usize, dropout: Dropout) {
        let tokens = self.dims.tokens;
        self.attend(number, dropout);
        transpose(&mut self.v_t, self.line, &self.v, self.row);
        product_transposed(&mut self.dv, self.row, &self.dropped, self.line, &self.out);
        product(&mut self.scores, self.line, &self.out, self.row, &self.v_t);
        let lines = self
            .scores
            .chunks_exact_mut(self.line)
            .zip(self.weights.chunks_exact(self.line));
        for ((da, weights), factors) in lines.zip(self.factors.chunks_exact(tokens)) {
            for (da, f) in da.iter_mut().zip(factors) {
                *da *= f;
            }
            let mean: f32 = da.iter().zip(weights).map(|(da, a)| da * a).sum();
            for (da, a) in da.iter_mut().zip(weights) {
                *da = a * (*da - mean);
            }
        }
        product(&mut self.dq, self.row, &self.scores, self.line, &self.k);
        product_transposed(&mut self.dk, self.row, &self.scores, self.line, &self.q);
        let scale = 1.0 / (self.width as f32).sqrt();
        self.dq.iter_mut().for_each(|dq| *dq *= scale);
    }
}

/// `to` (columns, to_row) = the transpose of `from` (rows, from_row).
#[inline(always)]
fn transpose(to: &mut [f32], to_row: usize, from: &[f32], from_row: usize) {
    for (i, from) in from.chunks_exact(from_row).enumerate() {
        for (to, from) in to.chunks_exact_mut(to_row).zip(from) {
            to[i] = *from;
        }
    }
}

/// out (m, n) = a (m, k) b (k, n), where `a` has rows of `a_row` >= k entries and n is a multiple of eight.
#[inline(always)]
fn product(out: &mut [f32], n: usize, a: &[f32], a_row: usize, b: &[f32]) {
    for (out, a) in out.chunks_exact_mut(n).zip(a.chunks_exact(a_row)) {
        row_product(out, a.iter(), b);
    }
}

/// out (m, n) = aᵀ b of a (k, m) and b (k, n), where `a` has rows of `a_row` >= m entries and n is a multiple of eight.
#[inline(always)]
fn product_transposed(out: &mut [f32], n: usize, a: &[f32], a_row: usize, b: &[f32]) {
    for (i, out) in out.chunks_exact_mut(n).enumerate() {
        row_product(out, a[i..].iter().step_by(a_row), b);
    }
}

/// out (n) = a (k) b (k, n), in panels of 32, 16 and 8 columns whose sums stay in registers.
#[inline(always)]
fn row_product<'a>(out: &mut [f32], a: impl Iterator<Item = &'a f32> + Clone, b: &[f32]) {
    let n = out.len();
    let mut column = 0;
    while column + 32 <= n {
        panel::<32>(out, column, a.clone(), b);
        column += 32;
    }
    while column + 16 <= n {
        panel::<16>(out, column, a.clone(), b);
        column += 16;
    }
    while column + 8 <= n {
        panel::<8>(out, column, a.clone(), b);
        column += 8;
    }
}

#[inline(always)]
fn panel<'a, const P: usize>(
    out: &mut [f32],
    column: usize,
    a: impl Iterator<Item = &'a f32>,
    b: &[f32],
) {
    let mut sums = [0f32; P];
    for (a, b) in a.zip(b.chunks_exact(out.len())) {
        for (sum, b) in sums.iter_mut().zip(&b[column..column + P]) {
            *sum += a * b;
        }
    }
    out[column..column + P].copy_from_slice(&sums);
}
