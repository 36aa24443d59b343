//! Linear evaluation: how well frozen features tell the classes apart, by a classifier that has no hidden layer.
//!
//! Features are standardised by the training images' mean and deviation. The strength of the L2 regularisation is
//! chosen on a hold-out of the training images, stratified by class; then the regression is trained to convergence on
//! all of them, and tested once.

use candle_core::{Device, Tensor};
use selfie_encoder::Trunk;
use selfie_train::{RunConfig, channel_stats, normalise_of};
use serde::Serialize;

use crate::accuracy::Accuracy;
use crate::error::Result;
use crate::features::{FeatureKind, Features, View, extract};
use crate::finetune::STATS_IMAGES;
use crate::labelled::Labelled;
use crate::logistic::{Logistic, LogisticConfig};
use crate::origin::Origin;
use crate::standardise::Standardiser;
use crate::stream::{HOLDOUT, below, stream};
use crate::transfer::{held_trunk, load_trunk};

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

/// A frozen network and the labelled images it is judged by.
pub struct LinearEval {
    config: RunConfig,
    data: Labelled,
    origin: Origin,
    trunk: Trunk,
    view: View,
    device: Device,
}

/// The result of a linear evaluation, one entry a kind of features.
#[derive(Debug, Clone, Serialize)]
pub struct LinearReport {
    /// What was done.
    pub protocol: &'static str,
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracies are of.
    pub split: &'static str,
    /// The accuracy of guessing.
    pub chance: f64,
    /// The figures.
    pub results: Vec<LinearResult>,
    /// The origin of the weights, as given.
    pub from: String,
    /// Its weights file.
    pub checkpoint: Option<String>,
    /// Share or number of the training labels used.
    pub labels: String,
    /// Images they belong to.
    pub train_images: usize,
    /// The seed of labels and hold-out.
    pub seed: u64,
    /// Width of the stem.
    pub width: usize,
    /// Stages that the features come after: three, or all four of a fine-tuned network.
    pub stages: usize,
    /// Side of the images.
    pub image_size: usize,
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

impl LinearEval {
    /// Opens the data of `config` and loads the patch network.
    ///
    /// # Errors
    /// Where settings, data or weights do not fit; all of it before any work.
    pub fn prepare(mut config: RunConfig, origin: &Origin, device: &Device) -> Result<Self> {
        config.validate()?;
        let data = Labelled::open(&config.data, &config.finetune.labels, config.run.seed)?;
        let encoder = held_trunk(&config.encoder, origin.weights());
        let (_, trunk) = load_trunk(&encoder, origin.weights(), config.run.seed, device)?;
        if config.data.mean.is_empty() {
            (config.data.mean, config.data.std) = channel_stats(&data.all, STATS_IMAGES)?;
        }
        let view = View {
            normalise: normalise_of(&config)?,
            image_size: config.patch.image_size,
            batch_size: config.run.micro_batch(),
            workers: config.data.workers,
        };
        Ok(Self { config, data, origin: origin.clone(), trunk, view, device: device.clone() })
    }

    /// The images.
    #[must_use]
    pub fn data(&self) -> &Labelled {
        &self.data
    }

    /// Extracts the features of both splits and evaluates each kind; `progress` is told the number of images done, of
    /// `data().train.len() + data().test.len()`.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn run(&self, kinds: &[FeatureKind], tuning: &Tuning, progress: &mut dyn FnMut(usize)) -> Result<LinearReport> {
        let grid = self.config.patch.grid()?;
        let features = |images, done: usize, progress: &mut dyn FnMut(usize)| {
            extract(&self.trunk, &grid, kinds, images, &self.view, &self.device, &mut |n| progress(done + n))
        };
        let train = features(&self.data.train, 0, progress)?;
        let test = features(&self.data.test, self.data.train.len(), progress)?;
        let both = train.iter().zip(&test);
        let results = both.map(|(train, test)| self.judge(train, test, tuning)).collect::<Result<_>>()?;
        Ok(LinearReport {
            protocol: PROTOCOL,
            data: self.config.data.source.clone(),
            split: "test",
            chance: 1.0 / self.data.classes().len() as f64,
            results,
            from: self.origin.given().to_owned(),
            checkpoint: self.origin.checkpoint().map(str::to_owned),
            labels: self.data.budget.clone(),
            train_images: self.data.train.len(),
            seed: self.config.run.seed,
            width: self.config.encoder.width,
            stages: self.trunk.config().depths.len(),
            image_size: self.config.patch.image_size,
        })
    }

    fn judge(&self, train: &Features, test: &Features, tuning: &Tuning) -> Result<LinearResult> {
        let classes = self.data.classes();
        let chosen = choose(train, classes.len(), tuning, self.config.run.seed)?;
        let standardiser = Standardiser::fit(&train.values)?;
        let config = LogisticConfig { l2: chosen.l2, ..LogisticConfig::default() };
        let model = Logistic::fit(&standardiser.apply(&train.values)?, &train.labels, classes.len(), &config, None)?;
        let predicted = model.predict(&standardiser.apply(&test.values)?)?;
        Ok(LinearResult {
            features: train.kind,
            dim: train.values.dims2()?.1,
            accuracy: Accuracy::new(&predicted, &test.labels, classes)?,
            l2: chosen.l2,
            holdout_accuracy: chosen.accuracy,
            holdout_images: chosen.images,
            iterations: model.iterations,
            converged: model.converged,
            gradient: model.gradient,
        })
    }
}

/// The strength that was chosen, and by which images.
#[derive(Debug, PartialEq)]
struct Chosen {
    l2: f64,
    accuracy: Option<f64>,
    images: usize,
}

/// Tries every strength on a hold-out: the best accuracy wins, of equals the smaller loss.
fn choose(features: &Features, classes: usize, tuning: &Tuning, seed: u64) -> Result<Chosen> {
    let (fit, held_out) = stratified_holdout(&features.labels, classes, tuning.holdout, seed);
    if held_out.is_empty() {
        let l2 = tuning.grid.get(tuning.grid.len() / 2).copied().unwrap_or(LogisticConfig::default().l2);
        return Ok(Chosen { l2, accuracy: None, images: 0 });
    }
    let standardiser = Standardiser::fit(&rows(&features.values, &fit)?)?;
    let part = |at: &[u32]| {
        let labels: Vec<_> = at.iter().map(|&i| features.labels[i as usize]).collect();
        Ok::<_, crate::Error>((standardiser.apply(&rows(&features.values, at)?)?, labels))
    };
    let ((x, y), (held_x, held_y)) = (part(&fit)?, part(&held_out)?);
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

/// Numbers of the images to fit and of those held out, ascending: of each class `share` rounded, but never all.
fn stratified_holdout(labels: &[u32], classes: usize, share: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in (0u32..).zip(labels) {
        members[label as usize].push(i);
    }
    let (mut fit, mut held_out) = (Vec::new(), Vec::new());
    for (class, members) in members.iter_mut().enumerate() {
        let rng = &mut stream(seed, HOLDOUT, class as u64, 0);
        for i in (1..members.len()).rev() {
            members.swap(i, below(i + 1, rng)); // Fisher and Yates's shuffle
        }
        let count = (share * members.len() as f64).round() as usize;
        let (held, kept) = members.split_at(count.min(members.len().saturating_sub(1)));
        held_out.extend_from_slice(held);
        fit.extend_from_slice(kept);
    }
    fit.sort_unstable();
    held_out.sort_unstable();
    (fit, held_out)
}

fn rows(features: &Tensor, at: &[u32]) -> Result<Tensor> {
    Ok(features.index_select(&Tensor::from_slice(at, at.len(), &Device::Cpu)?, 0)?) // (n, D)
}

#[cfg(test)]
mod tests;
