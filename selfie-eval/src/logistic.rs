//! Multinomial logistic regression, trained to convergence: the classifier of a linear evaluation.
//!
//! Minimised is the mean cross-entropy + l2 / 2 · ‖W‖² over weights W (classes, D) and a bias that is not
//! regularised; scikit-learn's `LogisticRegression(C = 1 / (l2 · n))` has the same minimum. The two products a step
//! are `f32`, sums over images and everything that L-BFGS does `f64`.
//!
//! The features of a network are nearly collinear, and plain L-BFGS takes thousands of steps for them. It is
//! preconditioned by the Hessian at W = 0, that of each class being XᵀX / (n · classes) + l2: a tenth of the steps.

use candle_core::{D, Device, Tensor};
use rayon::prelude::*;

use crate::cholesky::Cholesky;
use crate::error::{Error, Result};
use crate::lbfgs::minimise;

/// Images that one partial sum covers: fixed, so that the bits do not depend on the number of threads, and enough to
/// be worth waking one.
const CHUNK: usize = 2048;

/// How a regression is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticConfig {
    /// Strength of the L2 regularisation, relative to the mean loss of an image.
    pub l2: f64,
    /// The largest entry of the gradient that counts as converged.
    pub tolerance: f64,
    /// Steps of L-BFGS, at most.
    pub max_iterations: usize,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { l2: 1e-3, tolerance: 1e-5, max_iterations: 1000 }
    }
}

/// A trained regression over D features.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_eval::{Logistic, LogisticConfig};
/// let x = Tensor::new(&[[-2f32], [-1.], [1.], [2.]], &Device::Cpu)?;
/// let model = Logistic::fit(&x, &[0, 0, 1, 1], 2, &LogisticConfig::default(), None)?;
/// assert!(model.converged);
/// assert_eq!(model.predict(&x)?, [0, 0, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// Weights of each class row by row, then its biases: classes · D + classes numbers.
    parameters: Vec<f64>,
    num_classes: usize,
    dim: usize,
    /// The regularised loss at the end.
    pub loss: f64,
    /// The largest entry of its gradient at the end.
    pub gradient: f64,
    /// Steps of L-BFGS taken.
    pub iterations: usize,
    /// Whether `gradient` came down to the tolerance.
    pub converged: bool,
}

impl Logistic {
    /// Trains on `features` (n, D) and their `labels`, from `start` (a solution for another strength) or from zero.
    ///
    /// # Errors
    /// [`Error::Shape`] where features, labels and `start` do not fit together.
    pub fn fit(
        features: &Tensor,
        labels: &[u32],
        num_classes: usize,
        config: &LogisticConfig,
        start: Option<&Self>,
    ) -> Result<Self> {
        let (n, dim) = features.dims2()?;
        let no_class = labels.iter().find(|&&label| label as usize >= num_classes);
        if n != labels.len() || n == 0 || no_class.is_some() {
            let expected = format!("{n}, at least 1, each below {num_classes}");
            let largest = labels.iter().max().copied().unwrap_or(0);
            return Err(Error::Shape { what: "labels", expected, got: format!("{} up to {largest}", labels.len()) });
        }
        let size = num_classes * (dim + 1);
        let first = start.map_or_else(|| vec![0.0; size], |start| start.parameters.clone());
        if first.len() != size {
            let (expected, got) = (format!("{size} parameters"), first.len().to_string());
            return Err(Error::Shape { what: "start", expected, got });
        }
        let objective =
            Objective { features: features.to_device(&Device::Cpu)?, labels, num_classes, dim, l2: config.l2 };
        let curvature = objective.curvature()?;
        let precondition = |vector: &mut [f64]| {
            let (weights, biases) = vector.split_at_mut(num_classes * dim);
            weights.par_chunks_mut(dim).for_each(|of_class| curvature.solve(of_class));
            biases.iter_mut().for_each(|bias| *bias *= num_classes as f64);
        };
        let found = minimise(first, config.tolerance, config.max_iterations, precondition, |at, gradient| {
            objective.at(at, gradient)
        })?;
        Ok(Self {
            parameters: found.point,
            num_classes,
            dim,
            loss: found.value,
            gradient: found.gradient,
            iterations: found.iterations,
            converged: found.converged,
        })
    }

    /// Weights (classes, D), row by row.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.parameters[..self.num_classes * self.dim]
    }

    /// The bias of each class.
    #[must_use]
    pub fn bias(&self) -> &[f64] {
        &self.parameters[self.num_classes * self.dim..]
    }

    /// The likeliest class of each row of `features` (n, D); the first one of equals.
    ///
    /// # Errors
    /// Where features have another width.
    pub fn predict(&self, features: &Tensor) -> Result<Vec<u32>> {
        let logits = logits(&features.to_device(&Device::Cpu)?, &self.parameters, self.num_classes)?; // (n, classes)
        Ok(logits.argmax(D::Minus1)?.to_vec1()?)
    }

    /// Mean cross-entropy on `features` (n, D) and `labels`, without the regularisation.
    ///
    /// # Errors
    /// Where features have another width.
    pub fn cross_entropy(&self, features: &Tensor, labels: &[u32]) -> Result<f64> {
        let mut scores =
            logits(&features.to_device(&Device::Cpu)?, &self.parameters, self.num_classes)?.flatten_all()?.to_vec1()?;
        Ok(residuals(&mut scores, labels, self.num_classes) / labels.len().max(1) as f64)
    }
}

/// The regularised loss as a function of weights and biases.
struct Objective<'a> {
    features: Tensor, // (n, D)
    labels: &'a [u32],
    num_classes: usize,
    dim: usize,
    l2: f64,
}

impl Objective<'_> {
    /// What a class's block of the Hessian is at W = 0, up to 1 - 1 / classes.
    fn curvature(&self) -> Result<Cholesky> {
        let products = self.features.t()?.matmul(&self.features)?; // (D, D)
        Cholesky::new(&products, 1.0 / (self.labels.len() * self.num_classes) as f64, self.l2)
    }

    fn at(&self, parameters: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let (n, classes) = (self.labels.len(), self.num_classes);
        let mut residual = logits(&self.features, parameters, classes)?.flatten_all()?.to_vec1::<f32>()?;
        let loss = residuals(&mut residual, self.labels, classes) / n as f64;
        let of_bias = column_sums(&residual, classes);
        let residual = Tensor::from_vec(residual, (n, classes), &Device::Cpu)?;
        let of_weights = residual.t()?.matmul(&self.features)?.flatten_all()?.to_vec1::<f32>()?; // (classes, D)

        let (weights, biases) = gradient.split_at_mut(classes * self.dim);
        let mut squares = 0.0;
        for ((slot, sum), weight) in weights.iter_mut().zip(of_weights).zip(parameters) {
            *slot = f64::from(sum) / n as f64 + self.l2 * weight;
            squares += weight * weight;
        }
        biases.iter_mut().zip(of_bias).for_each(|(slot, sum)| *slot = sum / n as f64);
        Ok(loss + self.l2 / 2.0 * squares)
    }
}

/// (n, D) -> (n, classes)
fn logits(features: &Tensor, parameters: &[f64], classes: usize) -> Result<Tensor> {
    let dim = features.dims2()?.1;
    if parameters.len() != classes * (dim + 1) {
        let expected = format!("(n, {})", parameters.len() / classes - 1);
        return Err(Error::Shape { what: "features", expected, got: format!("{:?}", features.dims()) });
    }
    let single: Vec<f32> = parameters.iter().map(|&value| value as f32).collect();
    let weights = Tensor::from_slice(&single[..classes * dim], (classes, dim), &Device::Cpu)?;
    let bias = Tensor::from_slice(&single[classes * dim..], classes, &Device::Cpu)?;
    Ok(features.matmul(&weights.t()?)?.broadcast_add(&bias)?) // (n, classes)
}

/// Turns the logits of each image into probabilities minus 1 at its label, and returns the summed cross-entropy.
fn residuals(logits: &mut [f32], labels: &[u32], classes: usize) -> f64 {
    let chunk = |(logits, labels): (&mut [f32], &[u32])| {
        let rows = logits.chunks_exact_mut(classes).zip(labels);
        rows.map(|(row, &label)| residual(row, label as usize)).sum::<f64>()
    };
    if labels.len() <= CHUNK {
        return chunk((logits, labels));
    }
    let sums: Vec<f64> = logits.par_chunks_mut(CHUNK * classes).zip(labels.par_chunks(CHUNK)).map(chunk).collect();
    sums.iter().sum()
}

fn residual(row: &mut [f32], label: usize) -> f64 {
    let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let of_label = f64::from(row[label]) - most;
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - most).exp()).sum();
    row.iter_mut().for_each(|x| *x = ((f64::from(*x) - most).exp() / sum) as f32);
    row[label] -= 1.0;
    sum.ln() - of_label
}

fn column_sums(rows: &[f32], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums
}

#[cfg(test)]
mod tests;
