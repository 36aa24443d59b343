//! Linear evaluation: how well frozen features tell the classes apart, by a classifier that has no hidden layer.
//!
//! Features are standardised by the training images' mean and deviation. The strength of the L2 regularisation is
//! chosen on a hold-out of the training images, stratified by class; then the regression is trained to convergence on
//! all of them, and tested once.

use std::time::Instant;

use selfie_train::ImageFeatures;
use serde::Serialize;

use crate::accuracy::{Accuracy, Answer};
use crate::error::Result;
use crate::features::FeatureKind;
use crate::frozen::{BothSplits, Frozen, FrozenContext};
use crate::holdout::stratified_holdout;
use crate::logistic::{Logistic, LogisticConfig};
use crate::standardise::Standardiser;

/// What was done, in the words that stand beside every figure of it.
const PROTOCOL: &str = "linear evaluation: logistic regression on frozen features";

/// What the strength of the regularisation is chosen from, and on.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// The strengths, strongest first: each solution is the start of the next.
    pub grid: Vec<f64>,
    /// Share of each class that is held out, rounded to whole images.
    pub holdout: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { grid: vec![1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5], holdout: 0.1 }
    }
}

/// The result of a linear evaluation, one entry a kind of features.
#[derive(Debug, Clone, Serialize)]
pub struct LinearReport {
    /// What was done.
    pub protocol: &'static str,
    /// What the figures depend on.
    #[serde(flatten)]
    pub context: FrozenContext,
    /// The figures.
    pub results: Vec<LinearResult>,
}

/// What one kind of features came to.
#[derive(Debug, Clone, Serialize)]
pub struct LinearResult {
    /// Which features.
    pub features: FeatureKind,
    /// How many, D.
    pub dim: usize,
    /// Accuracy on the test split.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// The strength of the regularisation that was chosen.
    pub l2: f64,
    /// Accuracy on the hold-out that chose it; none where no class had an image to spare.
    pub holdout_accuracy: Option<f64>,
    /// Images of the hold-out.
    pub holdout_images: usize,
    /// Steps of the final training.
    pub iterations: usize,
    /// Whether it converged.
    pub converged: bool,
    /// The largest entry of its gradient.
    pub gradient: f64,
}

impl LinearReport {
    /// Extracts the features of both splits of `frozen` and evaluates each kind; `progress` is told the number of images
    /// done.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn of(
        frozen: &Frozen,
        kinds: &[FeatureKind],
        tuning: &Tuning,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let features = frozen.features(kinds, progress)?;
        let (context, classes) = (frozen.context(&features), frozen.data().classes());
        let judge = |both: &BothSplits| judge(both, classes, tuning, context.seed);
        let results = features.iter().map(judge).collect::<Result<_>>()?;
        Ok(Self { protocol: PROTOCOL, context, results })
    }
}

fn judge(both: &BothSplits, classes: &[String], tuning: &Tuning, seed: u64) -> Result<LinearResult> {
    let BothSplits { train, test } = both;
    let chosen = choose(&train.rows, classes.len(), tuning, seed)?;
    let standardiser = Standardiser::fit(train.rows.values())?;
    let config = LogisticConfig { l2: chosen.l2, ..LogisticConfig::default() };
    let standardised = standardiser.apply(train.rows.values())?;
    let begun = Instant::now();
    let model = Logistic::fit(&standardised, &train.rows.labels()?, classes.len(), &config, None)?;
    // Not in the result, which is the same on any day.
    tracing::info!(iterations = model.iterations, took = ?begun.elapsed(), "regression trained");
    let predicted = model.predict(&standardiser.apply(test.rows.values())?)?;
    Ok(LinearResult {
        features: train.kind,
        dim: train.rows.values().dims2()?.1,
        accuracy: Accuracy::new(&Answer::of(&test.rows, &predicted)?, classes)?,
        l2: chosen.l2,
        holdout_accuracy: chosen.accuracy,
        holdout_images: chosen.images,
        iterations: model.iterations,
        converged: model.converged,
        gradient: model.gradient,
    })
}

/// The strength that was chosen, and by which images.
#[derive(Debug, PartialEq)]
struct Chosen {
    l2: f64,
    accuracy: Option<f64>,
    images: usize,
}

/// Tries every strength on a hold-out: the best accuracy wins, of equals the smaller loss.
fn choose(rows: &ImageFeatures, classes: usize, tuning: &Tuning, seed: u64) -> Result<Chosen> {
    let (fit, held_out) = stratified_holdout(&rows.labels()?, classes, tuning.holdout, seed);
    if held_out.is_empty() {
        let l2 = tuning.grid.get(tuning.grid.len() / 2).copied().unwrap_or(LogisticConfig::default().l2);
        return Ok(Chosen { l2, accuracy: None, images: 0 });
    }
    let (fit, held_out) = (rows.select(&fit)?, rows.select(&held_out)?);
    let standardiser = Standardiser::fit(fit.values())?;
    let (x, y) = (standardiser.apply(fit.values())?, fit.labels()?);
    let (held_x, held_y) = (standardiser.apply(held_out.values())?, held_out.labels()?);
    let mut best = (Chosen { l2: LogisticConfig::default().l2, accuracy: None, images: held_out.len() }, f64::INFINITY);
    let mut start = None;
    for &l2 in &tuning.grid {
        let model =
            Logistic::fit(&x, &y, classes, &LogisticConfig { l2, ..LogisticConfig::default() }, start.as_ref())?;
        let right = model.predict(&held_x)?.iter().zip(&held_y).filter(|(predicted, label)| predicted == label).count();
        let accuracy = Some(right as f64 / held_y.len() as f64);
        let loss = model.cross_entropy(&held_x, &held_y)?;
        if accuracy > best.0.accuracy || (accuracy == best.0.accuracy && loss < best.1) {
            best = (Chosen { l2, accuracy, images: held_y.len() }, loss);
        }
        start = Some(model);
    }
    Ok(best.0)
}

#[cfg(test)]
mod tests;
