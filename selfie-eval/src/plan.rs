//! What a pretraining of full size costs: hours, memory, disk, data rate and communication, on so many ranks.
//!
//! Arithmetic on a few numbers, each of them given, measured or counted; every figure carries what it assumes. A rank is one process
//! with a whole copy of the model; the ranks share each batch, and average their gradients in one piece after the backward pass by a ring
//! (Patarasuk and Yuan 2009): each sends and receives 2 (R - 1) / R times the gradients. Computing and communicating take turns.

mod images;
mod speed;

use candle_core::Device;
use selfie_train::{MemoryEstimate, OptimName, ParamStore, RunConfig, SelfieModel};
use serde::Serialize;

use crate::error::{Error, Result};

pub use images::Images;
pub use speed::{Bandwidth, Speed};

const FLOAT: f64 = 4.0;

/// How many numbers a model is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// Trained values.
    pub parameters: usize,
    /// Running statistics of the norms.
    pub statistics: usize,
}

impl ModelSize {
    /// Counts the model of `config`, by building it.
    ///
    /// # Errors
    /// Where the settings do not fit together.
    pub fn of(config: &RunConfig) -> Result<Self> {
        let store = ParamStore::new(0, &Device::Cpu);
        SelfieModel::new(config, store.builder())?;
        let statistics = store.buffers().iter().map(|(_, tensor)| tensor.elem_count()).sum();
        Ok(Self { parameters: store.num_parameters(), statistics })
    }
}

/// What is planned.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// The settings of the run; `run.batch_size` is that of all ranks together.
    pub config: RunConfig,
    /// Processes that share each batch.
    pub ranks: usize,
    /// The model.
    pub model: ModelSize,
    /// The training images.
    pub images: Images,
    /// What one rank computes.
    pub speed: Speed,
    /// What one rank sends and receives; not looked at with one rank.
    pub bandwidth: Bandwidth,
}

/// One number and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, by a name that does not change.
    pub name: &'static str,
    /// The same for a table.
    #[serde(skip)]
    pub label: &'static str,
    /// The number.
    pub value: f64,
    /// Its unit; kB, MB and GB are powers of 1000.
    pub unit: &'static str,
    /// What must hold for it.
    pub assumption: String,
}

/// The costs of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct JobCosts {
    /// Updates of the weights.
    pub steps: u64,
    /// Images of a step, those of all ranks.
    pub batch_size: usize,
    /// Processes.
    pub ranks: usize,
    /// All figures, in the order in which one follows from another.
    pub figures: Vec<Figure>,
}

impl JobCosts {
    /// The figure of that name.
    ///
    /// ```
    /// # use selfie_eval::{Bandwidth, Images, JobPlan, ModelSize, Speed};
    /// let model = ModelSize { parameters: 1_000_000, statistics: 0 };
    /// let config = selfie_train::RunConfig::preset("imagenet224")?; // 120,000 steps of 1024 images
    /// let (images, speed) = (Images::given(1_024_000, None)?, Speed::given(1024.0)?);
    /// let plan = JobPlan { config, ranks: 1, model, images, speed, bandwidth: Bandwidth::given(1.0)? };
    /// assert_eq!(plan.costs()?.figure("step_ms"), Some(1000.0));
    /// # Ok::<(), selfie_eval::Error>(())
    /// ```
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

impl JobPlan {
    /// Works everything out.
    ///
    /// # Errors
    /// [`Error::Config`] where the batch cannot be shared evenly.
    pub fn costs(&self) -> Result<JobCosts> {
        let Self { config, ranks, model, images, speed, bandwidth } = self;
        let (run, r) = (&config.run, *ranks as f64);
        if *ranks == 0 || !run.batch_size.is_multiple_of(*ranks) {
            let reason = format!("met {ranks}, expected a divisor of run.batch_size = {}", run.batch_size);
            return Err(Error::config("--ranks", reason));
        }
        let mut share = config.clone();
        share.run.batch_size = run.batch_size / ranks;
        let (of_rank, at_once) = (share.run.batch_size, share.run.micro_batch());

        let mut figures = Vec::new();
        let mut add = |(name, label), value: f64, unit, assumption: String| {
            figures.push(Figure { name, label, value, unit, assumption });
        };

        // A step.
        let compute = of_rank as f64 / speed.images_per_second;
        let gradients = FLOAT * model.parameters as f64;
        let sent = 2.0 * (r - 1.0) / r * gradients;
        let reduce = if *ranks == 1 { 0.0 } else { sent / bandwidth.bytes_per_second };
        let step = compute + reduce;
        let batch = run.batch_size as f64;
        let parts = of_rank.div_ceil(at_once);
        add(("rank_images_per_second", "speed, a rank"), speed.images_per_second, "images/s", speed.assumption.clone());
        add(
            ("compute_ms", "computing"),
            1e3 * compute,
            "ms",
            format!("{of_rank} images a rank, {parts} x {at_once} at once; the loader keeps up"),
        );
        let reducing = match ranks {
            1 => "one rank has nothing to average".to_owned(),
            _ => format!(
                "each rank sends {:.1} MB: 2 (R - 1) / R of {:.1} MB of gradients in f32; {}",
                sent / 1e6,
                gradients / 1e6,
                bandwidth.assumption
            ),
        };
        add(("all_reduce_ms", "all-reduce"), 1e3 * reduce, "ms", reducing);
        add(
            ("all_reduce_share", "its share"),
            1e2 * reduce / step,
            "%",
            "of a step; nothing is sent while the backward pass computes".into(),
        );
        add(("step_ms", "step"), 1e3 * step, "ms", "computing, then averaging; all ranks are equally fast".into());
        add(
            ("images_per_second", "speed, all ranks"),
            batch / step,
            "images/s",
            "a batch each step, all ranks together".into(),
        );

        // The run.
        let epoch = images.trained(config.data.holdout);
        let hours = |steps: f64| steps * step / 3600.0;
        add(
            ("epoch_hours", "an epoch"),
            hours(epoch / batch),
            "h",
            format!("{epoch:.0} images, {}", images.origin(config.data.holdout)),
        );
        let passes = run.steps as f64 * batch / epoch;
        add(
            ("all_steps_hours", "all steps"),
            hours(run.steps as f64),
            "h",
            format!(
                "{} steps, {passes:.1} epochs; without evaluations, checkpoints are written beside the training",
                run.steps
            ),
        );

        // Memory and disk.
        let bucket = if *ranks == 1 { 0.0 } else { gradients };
        let memory = MemoryEstimate::of(&share, model.parameters).peak(at_once) + bucket;
        let of_bucket = if *ranks == 1 { "" } else { ", and the gradients once more to average them" };
        add(
            ("rank_memory_gb", "memory, a rank"),
            memory / 1e9,
            "GB",
            format!("{at_once} images at once{of_bucket}; fitted to peaks on the CPU"),
        );
        let (checkpoint, held) = checkpoint_bytes(config, model);
        add(("checkpoint_mb", "checkpoint"), checkpoint / 1e6, "MB", format!("in f32: {held}"));
        let kept = checkpoints_kept(config);
        let rule = format!("{kept} files: run.keep_last = {}, run.keep_every = {}", run.keep_last, run.keep_every);
        add(("checkpoints_gb", "checkpoints"), kept as f64 * checkpoint / 1e9, "GB", rule);

        // Data.
        if let Some(bytes) = images.bytes_each {
            let rate = batch / step * bytes;
            let each = format!("{:.1} kB an image, {}; every epoch read anew", bytes / 1e3, images.bytes_origin);
            add(("read_mb_per_second", "reading"), rate / 1e6, "MB/s", each);
            add(
                ("rank_read_mb_per_second", "reading, a rank"),
                rate / r / 1e6,
                "MB/s",
                "the same for one rank; from a file server it is network".into(),
            );
        }
        add(
            ("rank_sent_mb_per_second", "sending, a rank"),
            sent / step / 1e6,
            "MB/s",
            "gradients, each way, on average over a step".into(),
        );
        Ok(JobCosts { steps: run.steps, batch_size: run.batch_size, ranks: *ranks, figures })
    }
}

/// Bytes of the tensors of a checkpoint, and what they are.
fn checkpoint_bytes(config: &RunConfig, model: &ModelSize) -> (f64, String) {
    let (moments, words) = match config.optim.name {
        OptimName::Sgd if config.optim.momentum == 0.0 => (0, ""),
        OptimName::Sgd => (1, ", a moment"),
        OptimName::Adam | OptimName::AdamW => (2, ", two moments"),
    };
    let averaged = config.run.ema_decay > 0.0;
    let copies = 1 + usize::from(averaged); // of weights and statistics
    let values = copies * (model.parameters + model.statistics) + moments * model.parameters;
    (FLOAT * values as f64, format!("weights, statistics{words}{}", if averaged { ", averages of both" } else { "" }))
}

/// Checkpoints that lie in the run's folder at its end.
fn checkpoints_kept(config: &RunConfig) -> u64 {
    let run = &config.run;
    let written: Vec<u64> = match run.checkpoint_every {
        0 => vec![run.steps],
        every => (1..=run.steps / every)
            .map(|i| i * every)
            .chain((!run.steps.is_multiple_of(every)).then_some(run.steps))
            .collect(),
    };
    let newest = if run.keep_last == 0 { written.len() } else { run.keep_last.min(written.len()) };
    let (older, newest) = written.split_at(written.len() - newest);
    let for_good = older.iter().filter(|&&step| run.keep_every > 0 && step.is_multiple_of(run.keep_every)).count();
    (for_good + newest.len()) as u64
}

#[cfg(test)]
mod tests;
