//! Products of matrices of a few dozen rows, for use inside vectorised loops.
//!
//! Replaces calls of a general matrix product, which at this size cost more than the arithmetic. The right-hand side and
//! the result have rows of whole blocks of eight; four rows and two blocks of the result are computed at a time, with
//! their sums in registers.

/// What the inner loops work on at a time.
pub(super) type Block = [f32; LANES];
/// The length of a block. Longer blocks measured no faster here, and the compiler keeps fewer of them in registers.
pub(super) const LANES: usize = 8;

/// `to` (columns, to_row) = the transpose of `from` (rows, from_row).
#[inline(always)]
pub(super) fn transpose(to: &mut [f32], to_row: usize, from: &[f32], from_row: usize) {
    for (i, from) in from.chunks_exact(from_row).enumerate() {
        for (to, from) in to.chunks_exact_mut(to_row).zip(from) {
            to[i] = *from;
        }
    }
}

/// Rows of a product that are computed together, so that each block of b is loaded once for all.
const ROWS: usize = 4;

/// out (m, n) = a (m, k) b (k, n), where `a` has rows of `a_row` >= k entries and n is whole blocks.
#[inline(always)]
pub(super) fn product(out: &mut [f32], n: usize, a: &[f32], a_row: usize, b: &[f32]) {
    let (k, m) = (b.len() / n, out.len() / n);
    let whole = m - m % ROWS;
    for i in (0..whole).step_by(ROWS) {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &a[(i + r) * a_row..][..k]);
        tiles(
            &mut out[i * n..][..ROWS * n],
            n,
            k,
            b,
            #[inline(always)]
            |k| rows.map(|row| row[k]),
        );
    }
    for i in whole..m {
        let row = &a[i * a_row..][..k];
        tiles(
            &mut out[i * n..][..n],
            n,
            k,
            b,
            #[inline(always)]
            |k| [row[k]],
        );
    }
}

/// out (m, n) = aᵀ b of a (k, m) and b (k, n), where `a` has rows of `a_row` >= m entries and n is whole blocks.
#[inline(always)]
pub(super) fn product_transposed(out: &mut [f32], n: usize, a: &[f32], a_row: usize, b: &[f32]) {
    let (k, m) = (b.len() / n, out.len() / n);
    let whole = m - m % ROWS;
    for i in (0..whole).step_by(ROWS) {
        tiles(
            &mut out[i * n..][..ROWS * n],
            n,
            k,
            b,
            #[inline(always)]
            |k| {
                let a = &a[k * a_row + i..][..ROWS];
                std::array::from_fn::<f32, ROWS, _>(|r| a[r])
            },
        );
    }
    for i in whole..m {
        tiles(
            &mut out[i * n..][..n],
            n,
            k,
            b,
            #[inline(always)]
            |k| [a[k * a_row + i]],
        );
    }
}

/// R rows of a product: two blocks at a time, whose sums stay in registers; `a` gives the k-th entries of its R rows.
#[inline(always)]
fn tiles<const R: usize>(out: &mut [f32], n: usize, k: usize, b: &[f32], a: impl Fn(usize) -> [f32; R]) {
    let (out, b) = (out.as_chunks_mut::<LANES>().0, b.as_chunks::<LANES>().0);
    let n = n / LANES;
    let mut block = 0;
    while block + 2 <= n {
        tile::<R, 2>(out, n, block, k, b, &a);
        block += 2;
    }
    if block < n {
        tile::<R, 1>(out, n, block, k, b, &a);
    }
}

#[inline(always)]
fn tile<const R: usize, const P: usize>(
    out: &mut [Block],
    n: usize,
    block: usize,
    k: usize,
    b: &[Block],
    a: impl Fn(usize) -> [f32; R],
) {
    let mut sums = [[[0f32; LANES]; P]; R];
    for k in 0..k {
        let (a, b) = (a(k), &b[k * n + block..][..P]);
        for r in 0..R {
            for p in 0..P {
                sums[r][p] = add_product(sums[r][p], a[r], &b[p]);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (p, sum) in sums.into_iter().enumerate() {
            out[r * n + block + p] = sum;
        }
    }
}

#[inline(always)]
fn add_product(mut sum: Block, a: f32, b: &Block) -> Block {
    for lane in 0..LANES {
        sum[lane] += a * b[lane];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_naive_sum() {
        for (m, k, n) in [(1, 1, 8), (4, 3, 8), (5, 13, 16), (13, 8, 24), (38, 32, 40)] {
            let a_row = k + 3;
            let a: Vec<f32> = (0..m * a_row).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.7).cos()).collect();
            let mut a_t = vec![0.0; a_row * m];
            transpose(&mut a_t, m, &a, a_row);
            let [mut out, mut of_transposed] = [vec![f32::NAN; m * n], vec![f32::NAN; m * n]];
            product(&mut out, n, &a, a_row, &b);
            product_transposed(&mut of_transposed, n, &a_t, m, &b);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let want: f32 = (0..k).map(|k| a[i * a_row + k] * b[k * n + j]).sum();
                assert!((out[i * n + j] - want).abs() < 1e-5, "{m} {k} {n}: {i} {j}");
                assert_eq!(out[i * n + j], of_transposed[i * n + j]);
            }
        }
    }
}
