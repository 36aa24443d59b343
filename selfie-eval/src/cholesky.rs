//! Cholesky's factorisation of a symmetric positive matrix, to solve with it many times.

use candle_core::Tensor;

use crate::error::Result;

/// The lower triangle L of A = L Lᵀ, row by row.
pub(crate) struct Cholesky {
    lower: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// Factorises `scale` · A + `shift` · 1 for a symmetric `matrix` A (n, n) in `f32`. Where rounding errors have made it
    /// singular, its smallest pivots are lifted to a millionth of the mean of its diagonal.
    pub(crate) fn new(matrix: &Tensor, scale: f64, shift: f64) -> Result<Self> {
        let size = matrix.dims2()?.0;
        let values = matrix.flatten_all()?.to_vec1::<f32>()?;
        let mut lower: Vec<f64> = values.iter().map(|&value| scale * f64::from(value)).collect();
        let mut trace = 0.0;
        for i in 0..size {
            lower[i * size + i] += shift;
            trace += lower[i * size + i];
        }
        let least = 1e-6 * trace / size.max(1) as f64;
        for i in 0..size {
            let (above, rest) = lower.split_at_mut(i * size);
            let row = &mut rest[..=i];
            for j in 0..i {
                let other = &above[j * size..=j * size + j];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            row[i] = (row[i] - dot(&row[..i], &row[..i])).max(least).sqrt();
        }
        Ok(Self { lower, size })
    }

    /// Solves A x = b in place.
    pub(crate) fn solve(&self, b: &mut [f64]) {
        for i in 0..self.size {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for i in (0..self.size).rev() {
            let row = self.row(i);
            b[i] /= row[i];
            let x = b[i];
            b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= x * l);
        }
    }

    /// Row `i` of L, up to its diagonal.
    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.size..=i * self.size + i]
    }
}

/// Four sums at a time: one alone would wait for each addition.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        (0..4).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_solution_solves() {
        // A = 2 [[2, 1, 0], [1, 3, 1], [0, 1, 4]] + 0.5; x = (1, -2, 3) gives b = A x.
        let a = Tensor::new(&[[2f32, 1., 0.], [1., 3., 1.], [0., 1., 4.]], &Device::Cpu).unwrap();
        let mut b = [4.5 - 4.0, 2.0 - 13.0 + 6.0, -4.0 + 25.5];
        Cholesky::new(&a, 2.0, 0.5).unwrap().solve(&mut b);
        assert!(b.iter().zip([1.0, -2.0, 3.0]).all(|(got, expected)| (got - expected).abs() < 1e-12), "{b:?}");
    }

    #[test]
    fn longer_rows_are_summed_completely() {
        let n = 11;
        let entry = |i: usize, j: usize| if i == j { 5.0 } else { 1.0 / (1 + i.abs_diff(j)) as f32 };
        let values: Vec<f32> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
        let x: Vec<f64> = (0..n).map(|i| i as f64 - 4.0).collect();
        let mut b: Vec<f64> = (0..n).map(|i| (0..n).map(|j| f64::from(values[i * n + j]) * x[j]).sum()).collect();
        let a = Tensor::from_vec(values, (n, n), &Device::Cpu).unwrap();
        Cholesky::new(&a, 1.0, 0.0).unwrap().solve(&mut b);
        assert!(b.iter().zip(&x).all(|(got, expected)| (got - expected).abs() < 1e-10), "{b:?}");
    }

    #[test]
    fn a_singular_matrix_gives_finite_numbers() {
        let a = Tensor::new(&[[1f32, 1.], [1., 1.]], &Device::Cpu).unwrap();
        let mut b = [1.0, 1.0];
        Cholesky::new(&a, 1.0, 0.0).unwrap().solve(&mut b);
        assert!((b[0] + b[1] - 1.0).abs() < 1e-5, "{b:?}");
    }
}
