//! Mean, deviation and the paired interval: the arithmetic of a comparison of few seeds.

use serde::Serialize;

/// The 97.5 % quantile of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, section 1.3.6.7.2).
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Mean and spread of one number a seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample deviation (n - 1); none of a single one.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of `values`; none where there are none.
    ///
    /// ```
    /// let found = selfie_eval::Spread::of(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!((found.n, found.mean, found.sd), (3, 2.0, Some(1.0)));
    /// ```
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 0).then(|| Self { n, mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }
}

/// The mean of `differences` between pairs with its 95 % interval by Student's t; no interval of a single pair.
///
/// ```
/// // Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(2) = 4.303.
/// let (mean, interval) = selfie_eval::paired(&[1.0, 2.0, 3.0]).unwrap();
/// let half = 4.303 / 3f64.sqrt();
/// assert_eq!(mean, 2.0);
/// assert!(interval.is_some_and(|(low, high)| (low - 2.0 + half).abs() < 1e-12 && (high - 2.0 - half).abs() < 1e-12));
/// ```
#[must_use]
pub fn paired(differences: &[f64]) -> Option<(f64, Option<(f64, f64)>)> {
    let found = Spread::of(differences)?;
    let half = |sd: f64| student(found.n - 1) * sd / (found.n as f64).sqrt();
    Some((found.mean, found.sd.map(|sd| (found.mean - half(sd), found.mean + half(sd)))))
}

/// The quantile; above 30 degrees by its expansion, right to 0.002.
fn student(degrees: usize) -> f64 {
    match STUDENT.get(degrees.wrapping_sub(1)) {
        Some(&quantile) => quantile,
        None => 1.96 + 2.4 / degrees as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_no_spread_and_none_no_mean() {
        assert_eq!(Spread::of(&[0.5]), Some(Spread { n: 1, mean: 0.5, sd: None }));
        assert_eq!((Spread::of(&[]), paired(&[])), (None, None));
        assert_eq!(paired(&[0.1]), Some((0.1, None)));
    }

    #[test]
    fn the_quantile_goes_down_to_the_normal_one() {
        assert_eq!((student(1), student(4), student(30)), (12.706, 2.776, 2.042));
        // t(40) = 2.021, t(120) = 1.980 in the same table
        assert!((student(40) - 2.021).abs() < 2e-3 && (student(120) - 1.980).abs() < 2e-3);
    }
}
