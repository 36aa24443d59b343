//! What a pretraining of full size costs: hours, memory, disk, data rate and communication, on so many ranks.
//!
//! Arithmetic on a few numbers, each of them given, measured or counted; every figure carries what it assumes. A rank is one process
//! with a whole copy of the model; the ranks share each batch, and average their gradients in one piece after the backward pass by a ring
//! (Patarasuk and Yuan 2009): each sends and receives 2 (R - 1) / R times the gradients. Computing and communicating take turns.

mod images;
mod speed;

use selfie_train::{MemoryEstimate, ModelCount, OptimName, RunConfig, SelfieModel};
use serde::Serialize;

use crate::error::{Error, Result};

pub use images::Images;
pub use speed::{Bandwidth, Speed};

const FLOAT: f64 = 4.0;
/// What no hour is counted for.
const WITHOUT: &str = "without evaluations, checkpoints are written beside the training";

/// How many numbers a model is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// Trained values.
    pub parameters: usize,
    /// Running statistics of the norms.
    pub statistics: usize,
}

impl ModelSize {
    /// Counts the model of `config` without memory for it.
    ///
    /// # Errors
    /// Where the settings do not fit together.
    pub fn of(config: &RunConfig) -> Result<Self> {
        let count = ModelCount::default();
        SelfieModel::new(config, count.builder())?;
        Ok(Self { parameters: count.parameters(), statistics: count.buffers() })
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
        let (batch_size, ranks) = (self.config.run.batch_size, self.ranks);
        if ranks == 0 || !batch_size.is_multiple_of(ranks) {
            let reason = format!("met {ranks}, expected a divisor of run.batch_size = {batch_size}");
            return Err(Error::config("--ranks", reason));
        }
        let step = self.step();
        let figures = [self.of_a_step(&step), self.of_the_run(&step), self.of_memory_and_disk(), self.of_data(&step)];
        Ok(JobCosts { steps: self.config.run.steps, batch_size, ranks, figures: figures.concat() })
    }

    /// What a step is made of.
    fn step(&self) -> Step {
        let of_rank = (self.config.run.batch_size / self.ranks) as f64;
        let ranks = self.ranks as f64;
        let sent = 2.0 * (ranks - 1.0) / ranks * self.gradients();
        let reduce = if self.ranks == 1 { 0.0 } else { sent / self.bandwidth.bytes_per_second };
        Step { compute: of_rank / self.speed.images_per_second, reduce, sent }
    }

    /// Bytes of all gradients.
    fn gradients(&self) -> f64 {
        FLOAT * self.model.parameters as f64
    }

    /// The settings that one rank trains with.
    fn share(&self) -> RunConfig {
        let mut share = self.config.clone();
        share.run.batch_size /= self.ranks;
        share
    }

    fn of_a_step(&self, step: &Step) -> Vec<Figure> {
        let run = self.share().run;
        let (of_rank, at_once) = (run.batch_size, run.micro_batch());
        let (parts, gradients) = (of_rank.div_ceil(at_once), self.gradients() / 1e6);
        let reducing = match self.ranks {
            1 => "one rank has nothing to average".to_owned(),
            _ => format!(
                "each rank sends {:.1} MB: 2 (R - 1) / R of {gradients:.1} MB of gradients in f32; {}",
                step.sent / 1e6,
                self.bandwidth.assumption
            ),
        };
        let computing = format!("{of_rank} images a rank, {parts} x {at_once} at once; the loader keeps up");
        let speed = self.config.run.batch_size as f64 / step.seconds();
        let waits = "of a step; nothing is sent while the backward pass computes";
        vec![
            figure(
                ("rank_images_per_second", "speed, a rank"),
                self.speed.images_per_second,
                "images/s",
                &self.speed.assumption,
            ),
            figure(("compute_ms", "computing"), 1e3 * step.compute, "ms", computing),
            figure(("all_reduce_ms", "all-reduce"), 1e3 * step.reduce, "ms", reducing),
            figure(("all_reduce_share", "its share"), 1e2 * step.reduce / step.seconds(), "%", waits),
            figure(
                ("step_ms", "step"),
                1e3 * step.seconds(),
                "ms",
                "computing, then averaging; all ranks are equally fast",
            ),
            figure(
                ("images_per_second", "speed, all ranks"),
                speed,
                "images/s",
                "a batch each step, all ranks together",
            ),
        ]
    }

    fn of_the_run(&self, step: &Step) -> Vec<Figure> {
        let (run, holdout) = (&self.config.run, self.config.data.holdout);
        let (batch, epoch) = (run.batch_size as f64, self.images.trained(holdout));
        let hours = |steps: f64| steps * step.seconds() / 3600.0;
        let passes = run.steps as f64 * batch / epoch;
        let all = format!("{} steps, {passes:.1} epochs; {}", run.steps, WITHOUT);
        let once = format!("{epoch:.0} images, {}", self.images.origin(holdout));
        vec![
            figure(("epoch_hours", "an epoch"), hours(epoch / batch), "h", once),
            figure(("all_steps_hours", "all steps"), hours(run.steps as f64), "h", all),
        ]
    }

    fn of_memory_and_disk(&self) -> Vec<Figure> {
        let (share, run) = (self.share(), &self.config.run);
        let at_once = share.run.micro_batch();
        let (bucket, of_bucket) = match self.ranks {
            1 => (0.0, ""),
            _ => (self.gradients(), ", and the gradients once more to average them"),
        };
        let memory = MemoryEstimate::of(&share, self.model.parameters).peak(at_once) + bucket;
        let what = format!("{at_once} images at once{of_bucket}; fitted to peaks on the CPU");
        let (checkpoint, held) = checkpoint_bytes(&self.config, &self.model);
        let kept = checkpoints_kept(&self.config);
        let rule = format!("{kept} files: run.keep_last = {}, run.keep_every = {}", run.keep_last, run.keep_every);
        vec![
            figure(("rank_memory_gb", "memory, a rank"), memory / 1e9, "GB", what),
            figure(("checkpoint_mb", "checkpoint"), checkpoint / 1e6, "MB", format!("in f32: {held}")),
            figure(("checkpoints_gb", "checkpoints"), kept as f64 * checkpoint / 1e9, "GB", rule),
        ]
    }

    fn of_data(&self, step: &Step) -> Vec<Figure> {
        let mut figures = Vec::new();
        if let Some(bytes) = self.images.bytes_each {
            let rate = self.config.run.batch_size as f64 / step.seconds() * bytes / 1e6;
            let each = format!("{:.1} kB an image, {}; every epoch read anew", bytes / 1e3, self.images.bytes_origin);
            let one = "the same for one rank; from a file server it is network";
            figures.push(figure(("read_mb_per_second", "reading"), rate, "MB/s", each));
            figures.push(figure(("rank_read_mb_per_second", "reading, a rank"), rate / self.ranks as f64, "MB/s", one));
        }
        let sent = step.sent / step.seconds() / 1e6;
        let what = "gradients, each way, on average over a step";
        figures.push(figure(("rank_sent_mb_per_second", "sending, a rank"), sent, "MB/s", what));
        figures
    }
}

/// A step of one rank: seconds of its two parts, and the bytes that it sends.
struct Step {
    compute: f64,
    reduce: f64,
    sent: f64,
}

impl Step {
    fn seconds(&self) -> f64 {
        self.compute + self.reduce
    }
}

fn figure(
    (name, label): (&'static str, &'static str),
    value: f64,
    unit: &'static str,
    assumption: impl Into<String>,
) -> Figure {
    Figure { name, label, value, unit, assumption: assumption.into() }
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
