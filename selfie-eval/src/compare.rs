//! Does pretraining help? Fine-tuning from scratch against fine-tuning from pretrained runs, by the same code, with the
//! same labels, settings and number of steps: the table of the paper (arXiv 1906.02940, section 4).
//!
//! A cell is one training: a share of labels, a seed, and an arm (`scratch`, or a run). One seed draws the same labels, the
//! same first values of what is fresh and the same order of images in every arm, so arms are compared in pairs; for one
//! seed a smaller share lies inside a larger one. Each cell is kept as it ends ([`cell`]), so a comparison goes on where it
//! stopped, and takes further seeds and shares later.

mod budget;
mod cell;
mod chart;
mod page;
mod paper;
mod statistics;
mod summary;

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::Device;
use selfie_train::{Error as TrainError, RunConfig, checksum};

pub use budget::{Budget, Planned};
pub use cell::{Cell, CellResult};
pub use page::{CompareFiles, write_comparison};
pub use paper::Published;
pub use statistics::{Spread, paired};
pub use summary::{ArmSummary, CompareReport, Difference, FractionSummary, LeftOut};

use crate::error::{Error, Result};
use crate::finetune::{Finetune, Session};
use crate::labelled::Labelled;
use crate::origin::{Origin, SCRATCH};
use crate::transfer::load_trunk;

/// A start of the network.
#[derive(Debug, Clone)]
pub struct Arm {
    /// `scratch`, or the run's own name.
    pub name: String,
    /// Where its weights are from.
    pub origin: Origin,
    /// What tells its weights from others; none of scratch.
    checksum: Option<String>,
}

/// Arms, shares of labels and seeds, checked.
pub struct Comparison {
    config: RunConfig,
    arms: Vec<Arm>,
    labels: Vec<String>,
    /// Images of each share, and of the test split.
    images: Vec<(usize, usize)>,
    seeds: Vec<u64>,
    device: Device,
}

impl Comparison {
    /// `runs` against scratch, with so many seeds from `config.run.seed` on, for each share of `labels`. All arms have the
    /// settings of `config`.
    ///
    /// # Errors
    /// [`Error::Config`] where something is missing or named twice; where data, labels or weights do not fit: all of it
    /// before any training.
    pub fn prepare(
        config: RunConfig,
        runs: Vec<Origin>,
        labels: &[String],
        seeds: usize,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        if seeds == 0 {
            return Err(Error::config("--seeds", "met 0, expected at least 1"));
        }
        if runs.is_empty() || runs.iter().any(|run| run.weights().is_none()) {
            return Err(Error::config("--from", "met no pretrained weights, expected a run or a weights file"));
        }
        for run in &runs {
            check_geometry(&config, run, device)?;
        }
        let (mut written, mut images) = (Vec::new(), Vec::new());
        for budget in labels {
            let data = Labelled::open(&config.data, budget, config.run.seed)?;
            if config.finetune.tune {
                data.held_out(crate::finetune::HOLDOUT, config.run.seed)?;
            }
            images.push((data.train.len(), data.test.len()));
            written.push(data.budget);
        }
        let distinct: BTreeSet<_> = written.iter().collect();
        if distinct.is_empty() || distinct.len() < written.len() {
            let reason = format!("met {}, expected one or more different shares", labels.join(","));
            return Err(Error::config("--fractions", reason));
        }
        let first = config.run.seed;
        let seeds: Vec<_> = (0..seeds as u64).map(|at| first + at).collect();
        let comparison = Self { config, arms: arms(runs)?, labels: written, images, seeds, device: device.clone() };
        let mut of_first_pair = comparison.cells().into_iter().take(comparison.arms.len());
        of_first_pair.try_for_each(|cell| comparison.finetune(&cell).map(drop))?;
        Ok(comparison)
    }

    /// The settings of every cell, but for labels and seed.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Scratch first.
    #[must_use]
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// All cells in the order in which they are trained: seed by seed, so that all shares have equally many, and the arms
    /// of a pair one after the other.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for labels in &self.labels {
                let of_arm = |arm: &Arm| Cell { arm: arm.name.clone(), labels: labels.clone(), seed };
                cells.extend(self.arms.iter().map(of_arm));
            }
        }
        cells
    }

    /// Trains and tests `cell`; trials of the rate are kept below `folder`.
    ///
    /// # Errors
    /// `Interrupted` after a request to stop; where data or weights cannot be read.
    pub fn train(&self, cell: &Cell, folder: &Path, session: &Session) -> Result<CellResult> {
        let start = std::time::Instant::now();
        let mut finetune = self.finetune(cell)?;
        let settings = self.settings(cell)?;
        if self.config.finetune.tune {
            finetune.tune(Some(&cell.file(folder, "tuning")), session, &mut |_| ())?;
        }
        let trained = finetune.train(session)?;
        let report = finetune.report(&trained, finetune.test()?, None);
        Ok(CellResult { settings, seconds: start.elapsed().as_secs_f64(), report })
    }

    /// Seconds that `cell` will take, from `steps` steps of it and none of its test: a forward pass alone takes about a
    /// third of a step.
    ///
    /// # Errors
    /// As [`Comparison::train`].
    pub fn estimate(&self, cell: &Cell, steps: u64, session: &Session) -> Result<f64> {
        let mut config = self.of_cell(cell);
        let (whole, tune) = (config.finetune.steps, &config.finetune);
        let trainings = if tune.tune { 1 + tune.tune_lrs.len() } else { 1 };
        config.finetune.steps = steps.min(whole);
        config.finetune.warmup_steps = 0;
        let mut finetune = Finetune::prepare(config, &self.arm(cell)?.origin, &self.device)?;
        let speed = finetune.train(session)?.images_per_second.max(1e-9); // images a second
        let images = (whole as usize * self.config.finetune.batch_size) as f64 * trainings as f64;
        Ok((images + finetune.data().test.len() as f64 / 3.0) / speed)
    }

    /// What `folder` keeps of `cell`; none where it was not trained yet.
    ///
    /// # Errors
    /// [`Error::Config`] where it was trained with other settings, data or weights.
    pub fn kept(&self, cell: &Cell, folder: &Path) -> Result<Option<CellResult>> {
        CellResult::read(&cell.file(folder, "result"), &self.settings(cell)?)
    }

    /// A network that is ready for `cell`.
    fn finetune(&self, cell: &Cell) -> Result<Finetune> {
        Finetune::prepare(self.of_cell(cell), &self.arm(cell)?.origin, &self.device)
    }

    fn of_cell(&self, cell: &Cell) -> RunConfig {
        let mut config = self.config.clone();
        config.finetune.labels.clone_from(&cell.labels);
        config.run.seed = cell.seed;
        config
    }

    /// Everything that the result of `cell` depends on.
    fn settings(&self, cell: &Cell) -> Result<serde_json::Value> {
        let mut settings = crate::finetune::recipe(&self.of_cell(cell))?;
        let at = self.labels.iter().position(|labels| *labels == cell.labels);
        settings["data"]["source"] = self.config.data.source.as_str().into();
        settings["images"] = serde_json::json!(at.map(|at| self.images[at]));
        settings["weights"] = serde_json::json!(self.arm(cell)?.checksum);
        settings.sort_all_objects();
        Ok(settings)
    }

    fn arm(&self, cell: &Cell) -> Result<&Arm> {
        let found = self.arms.iter().find(|arm| arm.name == cell.arm);
        found.ok_or_else(|| Error::config("arm", format!("met {}, expected one of the comparison", cell.arm)))
    }
}

/// Scratch and `runs`, each named by the last part of what `--from` named; a second one of the same name by all of it.
fn arms(runs: Vec<Origin>) -> Result<Vec<Arm>> {
    let mut arms = vec![Arm { name: SCRATCH.to_owned(), origin: Origin::scratch(), checksum: None }];
    let taken = |arms: &[Arm], name: &str| arms.iter().any(|arm| cell::plain(&arm.name) == cell::plain(name));
    for origin in runs {
        let path = Path::new(origin.given());
        let short = path.file_name().map_or_else(|| origin.given().to_owned(), |name| name.to_string_lossy().into());
        let name = if taken(&arms, &short) { origin.given().to_owned() } else { short };
        let tensors = origin.weights().into_iter().flat_map(|from| from.encoder.iter().chain(from.attnpool.iter()));
        let checksum = Some(format!("{:08x}", checksum(tensors)?));
        if taken(&arms, &name) || arms.iter().any(|arm| arm.checksum == checksum) {
            return Err(Error::config("--from", format!("met {} twice, expected different runs", origin.given())));
        }
        arms.push(Arm { name, origin, checksum });
    }
    Ok(arms)
}

/// Whether the trunk of `config` takes the weights of `run`; told by the tensors themselves.
fn check_geometry(config: &RunConfig, run: &Origin, device: &Device) -> Result<()> {
    let fail = |reason: String| Err(Error::config("--from", format!("{}: {reason}", run.given())));
    if let Some(other) = run.weights().and_then(|weights| weights.encoder_config.as_ref())
        && *other != config.encoder
    {
        return fail(format!("its network is {other:?}, expected {:?}, that of the first run", config.encoder));
    }
    match load_trunk(&config.encoder, run.weights(), 0, device) {
        Err(Error::Train(TrainError::Weights { reason, .. })) => fail(reason),
        other => other.map(drop),
    }
}
