//! Features brought to mean 0 and deviation 1, by the numbers of the training images.

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};

/// Mean and deviation of each of D features.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_eval::Standardiser;
/// let train = Tensor::new(&[[1f32, 5.], [3., 5.]], &Device::Cpu)?;
/// let standardised = Standardiser::fit(&train)?.apply(&train)?;
/// assert_eq!(standardised.to_vec2::<f32>()?, [[-1., 0.], [1., 0.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standardiser {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardiser {
    /// Measures `features` (n, D), in `f64`. A feature that never changes is only shifted to 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or no row.
    pub fn fit(features: &Tensor) -> Result<Self> {
        let (values, rows, columns) = rows_of(features)?;
        let mut mean = vec![0.0; columns];
        for row in values.chunks_exact(columns) {
            mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) / rows as f64);
        }
        let mut variance = vec![0.0; columns];
        for row in values.chunks_exact(columns) {
            let centred = row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean);
            variance.iter_mut().zip(centred).for_each(|(sum, x)| *sum += x * x / rows as f64);
        }
        // Rounding leaves a constant feature with a deviation of about 1e-16 of its size.
        let scale = |(variance, mean): (&f64, &f64)| {
            let deviation = variance.sqrt();
            if deviation > 1e-12 * mean.abs() { 1.0 / deviation } else { 1.0 }
        };
        let scale = variance.iter().zip(&mean).map(scale).collect();
        Ok(Self { mean, scale })
    }

    /// (x - mean) / deviation, (n, D) -> (n, D), on the CPU.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features.
    pub fn apply(&self, features: &Tensor) -> Result<Tensor> {
        let (mut values, rows, columns) = rows_of(features)?;
        if columns != self.mean.len() {
            let (expected, got) = (format!("(n, {})", self.mean.len()), format!("({rows}, {columns})"));
            return Err(Error::Shape { what: "features", expected, got });
        }
        for row in values.chunks_exact_mut(columns) {
            for ((x, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = ((f64::from(*x) - mean) * scale) as f32;
            }
        }
        Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?) // (n, D)
    }
}

/// All values row by row, the number of rows and that of columns; neither is 0.
fn rows_of(features: &Tensor) -> Result<(Vec<f32>, usize, usize)> {
    match *features.dims() {
        [rows, columns] if rows * columns > 0 => Ok((features.flatten_all()?.to_vec1()?, rows, columns)),
        ref other => {
            let (expected, got) = ("(n, D), neither of them 0".to_owned(), format!("{other:?}"));
            Err(Error::Shape { what: "features", expected, got })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_features_get_mean_0_and_deviation_1() {
        let rows: Vec<f32> = (0..12).map(|i| (i * i) as f32 + if i % 3 == 0 { 1e4 } else { 0.0 }).collect();
        let x = Tensor::from_vec(rows, (4, 3), &Device::Cpu).unwrap();
        let z = Standardiser::fit(&x).unwrap().apply(&x).unwrap();
        for column in z.t().unwrap().to_vec2::<f32>().unwrap() {
            let mean = column.iter().sum::<f32>() / 4.0;
            let variance = column.iter().map(|z| (z - mean).powi(2)).sum::<f32>() / 4.0;
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{column:?}");
        }
    }

    #[test]
    fn other_features_are_measured_by_those_of_training() {
        let train = Tensor::new(&[[0f32], [4.]], &Device::Cpu).unwrap(); // mean 2, deviation 2
        let test = Tensor::new(&[[8f32]], &Device::Cpu).unwrap();
        let z = Standardiser::fit(&train).unwrap().apply(&test).unwrap();
        assert_eq!(z.to_vec2::<f32>().unwrap(), [[3.0]]);
    }

    #[test]
    fn a_constant_feature_becomes_0() {
        let x = Tensor::new(&[[0.1f32], [0.1], [0.1]], &Device::Cpu).unwrap();
        let z = Standardiser::fit(&x).unwrap().apply(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(z.iter().all(|z| z.abs() < 1e-6), "{z:?}");
    }
}
