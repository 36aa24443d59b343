//! Speed of a training step: forward, backward and AdamW on fresh random images and masks, through the code that
//! trains.
//!
//! The protocol is that of `selfie_torch.py bench`: images are made outside of the time, warm-up steps are not
//! counted, the speed is that of the median step. 8-pixel patches take the small stem, 32-pixel ones the pooled one;
//! grids wider than 4 take row + column positions. The fine-tuning task is the full ResNet with cross-entropy on 10
//! classes.

mod kernels;
mod limit;
mod loader;
mod peer;

use std::str::FromStr;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rand::Rng;
use rand_distr::StandardNormal;
use selfie_attnpool::Positions;
use selfie_encoder::{ProductSize, ResNet, Stem};
use selfie_train::{
    Batch, Classification, Classifier, Gradients, MaskedPatches, OptimConfig, OptimName, Optimizer, ParamStore, Phase,
    RunConfig, SelfieModel, Task, peak_rss_mb,
};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::stream::{BENCH, below, stream};

pub use kernels::{KernelReport, kernels};
pub use loader::{LoaderBench, LoaderReport};
pub use peer::{CONTESTS, Contest, Peers, Standing};

/// Classes of the fine-tuning task.
const CLASSES: usize = 10;

/// Which step is timed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BenchTask {
    /// Masked patches.
    #[default]
    Pretrain,
    /// Classification by the full ResNet.
    Finetune,
}

impl FromStr for BenchTask {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "pretrain" => Ok(Self::Pretrain),
            "finetune" => Ok(Self::Finetune),
            _ => Err(Error::config("--task", format!("met `{word}`, expected pretrain or finetune"))),
        }
    }
}

/// What is timed.
#[derive(Debug, Clone, PartialEq)]
pub struct StepBench {
    /// Which step.
    pub task: BenchTask,
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// Side of the patches.
    pub patch_size: usize,
    /// Channels of the stem.
    pub width: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Steps that count.
    pub steps: usize,
    /// Steps before them.
    pub warmup: usize,
    /// The seed of images, masks and weights.
    pub seed: u64,
    /// Whether the products alone are timed too, which takes as long again.
    pub limit: bool,
}

impl Default for StepBench {
    fn default() -> Self {
        Self {
            task: BenchTask::Pretrain,
            image_size: 32,
            patch_size: 8,
            width: 64,
            batch_size: 32,
            steps: 6,
            warmup: 2,
            seed: 0,
            limit: true,
        }
    }
}

/// What was measured; the order of the fields is that of the JSON.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Speed of the median step.
    pub images_per_second: f64,
    /// Speed of the fastest step.
    pub best_images_per_second: f64,
    /// Milliseconds of each step.
    pub step_ms: Vec<f64>,
    /// Largest resident memory so far, in MB; null where the system does not tell.
    pub peak_rss_mb: Option<u64>,
    /// Channels of the stem.
    pub width: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Which step.
    pub task: BenchTask,
    /// Side of the images.
    pub image_size: usize,
    /// Side of the patches.
    pub patch_size: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Trained values.
    pub parameters: usize,
    /// Median milliseconds of the forward pass.
    pub forward_ms: f64,
    /// Median milliseconds of the backward pass.
    pub backward_ms: f64,
    /// Median milliseconds of the optimiser.
    pub optimiser_ms: f64,
    /// Speed of a step that were matrix products through `gemm` and nothing else, measured after everything above; null where it
    /// was not asked for.
    pub gemm_limit_images_per_second: Option<f64>,
}

impl StepBench {
    /// The settings that training would have for this geometry.
    ///
    /// # Errors
    /// [`Error::Config`] where the sizes do not fit together.
    pub fn config(&self) -> Result<RunConfig> {
        for (field, value) in
            [("--steps", self.steps), ("--batch-size", self.batch_size), ("--patch-size", self.patch_size)]
        {
            if value == 0 {
                return Err(Error::config(field, "met 0, expected at least 1"));
            }
        }
        let mut config = RunConfig::default();
        config.patch.image_size = self.image_size;
        config.patch.patch_size = self.patch_size;
        let cells = self.image_size / self.patch_size;
        config.patch.num_targets = cells * cells / 4;
        config.encoder.width = self.width;
        let small = match self.task {
            BenchTask::Pretrain => self.patch_size <= 16,
            BenchTask::Finetune => self.image_size <= 64,
        };
        config.encoder.stem = if small { Stem::Small } else { Stem::ImageNet };
        config.attnpool.positions = if cells > 4 { Positions::RowColumn } else { Positions::Full };
        // PyTorch's AdamW.
        config.optim = OptimConfig { name: OptimName::AdamW, lr: 1e-3, weight_decay: 0.01, ..OptimConfig::default() };
        config.run.seed = self.seed;
        config.validate()?;
        Ok(config)
    }

    /// Builds the model and times its steps.
    ///
    /// # Errors
    /// As [`StepBench::config`], or where the device fails.
    pub fn run(&self, device: &Device) -> Result<StepReport> {
        self.run_with(&self.config()?, device)
    }

    /// The same with settings of the caller's, which have this geometry.
    pub(crate) fn run_with(&self, config: &RunConfig, device: &Device) -> Result<StepReport> {
        let store = ParamStore::new(self.seed, device);
        match self.task {
            BenchTask::Pretrain => {
                let task = MaskedPatches::new(SelfieModel::new(config, store.builder())?, config)?;
                let (cells, side) = ((self.image_size / self.patch_size).pow(2), self.patch_size);
                let trunk = task.model().encoder();
                let mut products = trunk.products(self.batch_size * cells, (side, side))?;
                let (d, pool) = (trunk.embed_dim(), &config.attnpool);
                let context = cells - config.patch.num_targets;
                products.extend(limit::pooling(self.batch_size, context, d, pool.ffn(d), pool.depth));
                self.time(&task, &store, config, &products)
            }
            BenchTask::Finetune => {
                let network = ResNet::new(&config.encoder.with_stage4(), CLASSES, store.builder())?;
                let products = network.trunk().products(self.batch_size, (self.image_size, self.image_size))?;
                self.time(
                    &Classification::new(Classifier::ResNet(Box::new(network)), CLASSES, 0.0, config.run.seed),
                    &store,
                    config,
                    &products,
                )
            }
        }
    }

    fn time(
        &self,
        task: &impl Task,
        store: &ParamStore,
        config: &RunConfig,
        products: &[ProductSize],
    ) -> Result<StepReport> {
        let device = store.device();
        let parameters = store.parameters();
        let mut optimizer = Optimizer::new(&config.optim, store)?;
        let mut times = Vec::with_capacity(self.steps); // seconds of forward, backward, optimiser
        for step in 0..(self.warmup + self.steps) as u64 {
            let batch = self.batch(step, config.encoder.in_channels, device)?;
            let start = Instant::now();
            let output = task.loss(&batch, Phase::Train { step })?;
            device.synchronize()?;
            let forward = start.elapsed().as_secs_f64();
            let gradients = Gradients::backward(&output.loss, &parameters)?;
            device.synchronize()?;
            let backward = start.elapsed().as_secs_f64() - forward;
            optimizer.step(&gradients, config.optim.lr, 1.0)?;
            drop((output, gradients));
            device.synchronize()?;
            let optimiser = start.elapsed().as_secs_f64() - forward - backward;
            if step >= self.warmup as u64 {
                times.push([forward, backward, optimiser]);
            }
        }
        let whole: Vec<f64> = times.iter().map(|parts| parts.iter().sum()).collect();
        let part = |part: usize| round(1e3 * median(times.iter().map(|times| times[part])), 10.0);
        let speed = |seconds: f64| round(self.batch_size as f64 / seconds.max(1e-9), 100.0);
        let mut report = StepReport {
            images_per_second: speed(median(whole.iter().copied())),
            best_images_per_second: speed(whole.iter().copied().fold(f64::INFINITY, f64::min)),
            step_ms: whole.iter().map(|seconds| round(1e3 * seconds, 10.0)).collect(),
            peak_rss_mb: peak_rss_mb(),
            width: self.width,
            batch_size: self.batch_size,
            task: self.task,
            image_size: self.image_size,
            patch_size: self.patch_size,
            threads: rayon::current_num_threads(),
            parameters: store.num_parameters(),
            forward_ms: part(0),
            backward_ms: part(1),
            optimiser_ms: part(2),
            gemm_limit_images_per_second: None,
        };
        if self.limit {
            report.gemm_limit_images_per_second = Some(speed(limit::seconds(products, device)?));
        }
        Ok(report)
    }

    /// Images that no step has seen, normal; and classes for them.
    fn batch(&self, step: u64, channels: usize, device: &Device) -> Result<Batch> {
        let (b, side) = (self.batch_size, self.image_size);
        let rng = &mut stream(self.seed, BENCH, step, 0);
        let values: Vec<f32> = (0..b * channels * side * side).map(|_| rng.sample(StandardNormal)).collect();
        let labels: Vec<u32> = (0..b).map(|_| below(CLASSES, rng) as u32).collect();
        Ok(Batch {
            images: Tensor::from_vec(values, (b, channels, side, side), device)?, // (B, C, H, W)
            labels: Some(Tensor::from_vec(labels, b, device)?),                   // (B)
            indices: (0..b).collect(),
            keys: (step * b as u64..(step + 1) * b as u64).collect(),
        })
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn the_geometry_is_that_of_the_peer() {
        let small = StepBench::default().config().unwrap();
        assert_eq!(
            (small.patch.num_targets, small.encoder.stem, small.attnpool.positions),
            (4, Stem::Small, Positions::Full)
        );
        let large = StepBench { image_size: 224, patch_size: 32, ..StepBench::default() }.config().unwrap();
        assert_eq!((large.patch.num_targets, large.encoder.stem), (12, Stem::ImageNet));
        assert_eq!(large.attnpool.positions, Positions::RowColumn);
        let odd = StepBench { patch_size: 7, ..StepBench::default() }.config().unwrap_err().to_string();
        assert!(odd.contains("32") && odd.contains('7'), "{odd}");
    }

    #[test]
    fn both_tasks_step_and_tell_every_figure() {
        for task in [BenchTask::Pretrain, BenchTask::Finetune] {
            let bench = StepBench { task, width: 8, batch_size: 2, steps: 2, warmup: 1, ..StepBench::default() };
            let report = bench.run(&Device::Cpu).unwrap();
            assert!(report.gemm_limit_images_per_second.is_some_and(|limit| limit > 0.0));
            let without = StepBench { limit: false, ..bench }.run(&Device::Cpu).unwrap();
            assert!(without.gemm_limit_images_per_second.is_none());
            assert!(report.images_per_second > 0.0 && report.best_images_per_second >= report.images_per_second);
            assert_eq!((report.step_ms.len(), report.width, report.batch_size), (2, 8, 2));
            let json = serde_json::to_string(&report).unwrap();
            assert!(json.starts_with("{\"images_per_second\":"), "{json}");
        }
    }

    #[test]
    fn every_step_has_its_own_images() {
        let bench = StepBench { batch_size: 1, ..StepBench::default() };
        let first =
            |step| bench.batch(step, 3, &Device::Cpu).unwrap().images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(first(0), first(0));
        assert_ne!(first(0), first(1));
    }
}
