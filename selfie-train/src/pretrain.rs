//! Pretraining from settings to a trained trunk: data, model, loop, files. Everything that can fail for want of
//! sense fails before the run directory is made.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use serde_json::Value;

use crate::checkpoint::TrainingImages;
use crate::config::{Plan, RunConfig};
use crate::data::{BadImages, Dataset, Loader, LoaderConfig, Split, Transform, channel_stats};
use crate::device::DeviceChoice;
use crate::environment::{Build, environment};
use crate::error::{Error, Result};
use crate::memory::check_memory;
use crate::model::SelfieModel;
use crate::pretrained::{FoundNetwork, initial_weights, normalise_of, write_encoder};
use crate::probe::{EvalSet, KnnProbe};
use crate::ranks::Ranks;
use crate::run_dir::{Lengthened, RunDir, RunLock, check_length};
use crate::store::{LoadReport, ParamStore};
use crate::task::MaskedPatches;
use crate::trainer::{StopFlag, TrainState, Trainer};

pub use report::PretrainReport;

/// Images that mean and deviation are measured on, at most: enough for three digits.
const STATS_IMAGES: usize = 10_000;

/// How a run is carried out; what it learns stands in its [`RunConfig`].
#[derive(Debug, Clone, Default)]
pub struct PretrainOptions {
    /// The run directory; a new one must hold no run.
    pub out: PathBuf,
    /// Continue the run in `out`, whose own settings (with what may change) are then given as the configuration.
    pub resume: bool,
    /// The step to go on from where it resumes; none is the latest checkpoint.
    pub checkpoint: Option<u64>,
    /// Weights to start from: a run, a checkpoint, a trunk, or a file of another project. Not with `resume`.
    pub init_from: Option<PathBuf>,
    /// Prefix of the network in `init_from`, for a file of another project that contains several.
    pub init_prefix: Option<String>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Nothing on stderr.
    pub quiet: bool,
    /// The request to stop.
    pub stop: StopFlag,
    /// The processes that share the training.
    pub ranks: Arc<Ranks>,
    /// The command line, for `env.json`.
    pub command: Vec<String>,
    /// What the program was built from, for `env.json`.
    pub build: Build,
}

/// A run that is ready to begin: settings checked, data opened, model built. Nothing is written or printed yet.
pub struct Pretraining {
    config: RunConfig,
    options: PretrainOptions,
    device: Device,
    train: Dataset,
    held_out: Dataset,
    bad: BadImages,
    store: ParamStore,
    task: MaskedPatches,
    loaded: Option<(LoadReport, Option<FoundNetwork>)>,
    plan: Plan,
    recipe: Value,
    state: TrainState,
    lengthened: Option<Lengthened>,
    /// Held from before a resumed run's state is read.
    lock: Option<RunLock>,
}

/// Pretrains as `config` says: [`Pretraining::prepare`], then [`Pretraining::run`].
///
/// # Errors
/// As these.
pub fn pretrain(config: RunConfig, options: &PretrainOptions) -> Result<PretrainReport> {
    Pretraining::prepare(config, options)?.run()
}

impl Pretraining {
    /// Everything that can fail for want of sense.
    ///
    /// # Errors
    /// Settings that cannot be, a directory that holds a run (or none to resume), data that are not there, weights that do
    /// not fit, a device that does not answer.
    pub fn prepare(mut config: RunConfig, options: &PretrainOptions) -> Result<Self> {
        config.validate()?;
        if options.resume && options.init_from.is_some() {
            let reason = "met together with --resume, expected one of them: a resumed run has its weights";
            return Err(Error::config("--init-from", reason));
        }
        let ranks = &options.ranks;
        check_ranks(&config, ranks)?;
        let lock = match (ranks.is_root(), options.resume) {
            (true, true) => Some(RunDir::open(&options.out)?.lock()?),
            (true, false) => RunDir::check_free(&options.out).map(|()| None)?,
            (false, _) => None,
        };
        let device = options.device.select()?;
        ranks.use_cards(&device)?;
        if device.is_cpu() {
            check_memory(&config, ranks)?;
        }

        // What is held out never trains; mean and deviation become part of the settings.
        let bad = config.data.bad_images();
        let all = ranks.root_first(|| config.data.open(Split::Train))?.with_bad_images(&bad);
        let all = all.with_channels(config.encoder.in_channels);
        let (train, held_out) = all.split_holdout(config.data.holdout)?;
        if config.data.mean.is_empty() {
            (config.data.mean, config.data.std) = channel_stats(&train, STATS_IMAGES)?;
        }

        let store = ParamStore::new(config.run.seed, &device);
        let mut model = SelfieModel::new(&config, store.builder())?;
        // One process too: such norms are summed up to the last digit, so that the number of ranks does not show.
        if config.run.sync_norm {
            model = model.with_shared_norms(Arc::clone(ranks) as _);
        }
        let task = MaskedPatches::new(model, &config)?;
        let loaded = match &options.init_from {
            Some(from) => {
                let (weights, found) = initial_weights(from, options.init_prefix.as_deref())?;
                Some((store.load_matching(&weights)?, found))
            }
            None => None,
        };
        let (plan, recipe) = (config.pretrain_plan(), config.recipe()?);
        let images = TrainingImages::of(&train);
        let state = match options.resume {
            true => stopped_state(options, &recipe, &images, &plan, &store)?,
            false => TrainState::fresh(&plan, &store)?,
        };
        let lengthened = match options.resume {
            true => Lengthened::since(&RunDir::open(&options.out)?.config()?.pretrain_plan(), &plan, state.step),
            false => None,
        };
        let same = format!("{recipe} {} images, step {}", train.len(), state.step);
        ranks.check_same("settings, data or checkpoint", &same)?;
        let options = options.clone();
        Ok(Self {
            config,
            options,
            device,
            train,
            held_out,
            bad,
            store,
            task,
            loaded,
            plan,
            recipe,
            state,
            lengthened,
            lock,
        })
    }

    /// The settings, complete: with the mean and deviation that were measured.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Images to train on.
    #[must_use]
    pub fn train_images(&self) -> usize {
        self.train.len()
    }

    /// Images held out from training.
    #[must_use]
    pub fn held_out_images(&self) -> usize {
        self.held_out.len()
    }

    /// Trained values.
    #[must_use]
    pub fn num_parameters(&self) -> usize {
        self.store.num_parameters()
    }

    /// Returns which tensors of `init_from` were loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&LoadReport> {
        self.loaded.as_ref().map(|(report, _)| report)
    }

    /// Returns the place of the network in `init_from`, if another project wrote that file.
    #[must_use]
    pub fn found_network(&self) -> Option<&FoundNetwork> {
        self.loaded.as_ref().and_then(|(_, found)| found.as_ref())
    }

    /// What a resumed run changes of its learning rate by another length.
    #[must_use]
    pub fn lengthened(&self) -> Option<&Lengthened> {
        self.lengthened.as_ref()
    }

    /// Trains, and writes the run directory.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a request to stop; a run to resume that does not fit; whatever fails while it trains.
    pub fn run(self) -> Result<PretrainReport> {
        let Self { config, options, device, train, held_out, bad, store, task, loaded, plan, recipe, .. } = self;
        let (mut state, lengthened, lock) = (self.state, self.lengthened, self.lock);
        let started = Instant::now();

        // Rank 0 alone writes and evaluates.
        let ranks = Arc::clone(&options.ranks);
        let (run_dir, _lock) = match (ranks.is_root(), options.resume) {
            (true, true) => (Some(RunDir::open(&options.out)?), lock),
            (true, false) => {
                let environment = environment(&device, &options.command, &options.build);
                let (run_dir, lock) = RunDir::prepare(&options.out, &environment)?;
                (Some(run_dir), Some(lock))
            }
            (false, _) => (None, None),
        };
        if let (Some(run_dir), Some(change)) = (&run_dir, &lengthened) {
            run_dir.note_lengthened(change, &options.command)?;
        }

        // The loop.
        let mut loader = training_loader(&config, &plan, train.clone(), state.position(&plan), &device, &ranks)?;
        let held_out = if ranks.is_root() { evaluation_set(&config, held_out)? } else { None };
        let knn = held_out.as_ref().map(|set| KnnProbe::new(set, &train, config.run.knn_images)).transpose()?;
        let trainer = Trainer {
            task: &task,
            store: &store,
            plan: &plan,
            images: TrainingImages::of(&train),
            ranks: &ranks,
            held_out,
            knn: knn.flatten(),
            run_dir: run_dir.as_ref(),
            recipe,
            quiet: options.quiet || !ranks.is_root(),
            stop: options.stop.clone(),
        };
        if loaded.is_some() {
            trainer.save(&state)?; // the weights it starts with must survive a kill before the first checkpoint
        }
        if let Some(run_dir) = &run_dir {
            bad.list_in(&run_dir.bad_images_path())?;
            run_dir.write_config(&config)?; // from here on there is a run
        }
        let report = trainer.train(&mut state, &mut loader)?;

        let bad_images = ranks.count(bad.count());

        // The trunk, ready to use.
        let mut files = Vec::new();
        if let Some(run_dir) = &run_dir {
            let write = || write_encoder(&run_dir.encoder_path(), &store, &config, state.step);
            state.ema.as_ref().map_or_else(write, |ema| ema.in_place_of(&store, write))?;
            files = vec![run_dir.config_path(), run_dir.metrics_path(), run_dir.encoder_path()];
            files.extend(run_dir.latest_checkpoint());
            if bad.count() > 0 {
                files.push(run_dir.bad_images_path());
            }
        }
        Ok(PretrainReport {
            run_dir: options.out,
            steps: report.steps,
            loss: report.loss,
            accuracy: report.accuracy,
            chance: report.chance,
            images_per_second: report.images_per_second,
            ranks: options.ranks.size(),
            communication: report.communication,
            seconds: started.elapsed().as_secs_f64(),
            held_out: report.held_out,
            best: report.best,
            bad_images,
            parameters: store.num_parameters(),
            classes: train.classes().len(),
            labeled_images: (0..train.len()).filter(|&i| train.label(i).is_some()).count(),
            has_test_split: train.has_test_split(),
            files,
        })
    }
}

/// This rank's parts of the batches of a run from `position` on.
fn training_loader(
    config: &RunConfig,
    plan: &Plan,
    train: Dataset,
    position: u64,
    device: &Device,
    ranks: &Ranks,
) -> Result<Loader> {
    let transform = Transform::of(&config.data, config.patch.image_size);
    let batches = LoaderConfig {
        batch_size: plan.run.batch_size,
        workers: config.data.workers,
        seed: plan.run.seed,
        start_position: position,
        end_position: Some(plan.run.steps * plan.run.batch_size as u64),
        rank: ranks.rank(),
        ranks: ranks.size(),
    };
    Ok(Loader::new(train, transform, normalise_of(config)?, batches, device)?)
}

/// Whether a batch can be shared as the settings want it.
fn check_ranks(config: &RunConfig, ranks: &Ranks) -> Result<()> {
    let (batch, ranks) = (config.run.batch_size, ranks.size());
    if batch < ranks {
        let reason = format!("met {batch}, expected an image for each of {ranks} ranks at least");
        return Err(Error::config("run.batch_size", reason));
    }
    // Norms that wait for each other must be as many on every rank, so the parts must be of one size.
    if config.run.sync_norm && !batch.is_multiple_of(ranks) {
        let reason = format!("met {batch}, expected a multiple of the {ranks} ranks, for run.sync_norm = true");
        return Err(Error::config("run.batch_size", reason));
    }
    Ok(())
}

/// What a run is evaluated on while it trains; nothing where nothing is held out.
fn evaluation_set(config: &RunConfig, images: Dataset) -> Result<Option<EvalSet>> {
    if images.is_empty() {
        return Ok(None);
    }
    Ok(Some(EvalSet {
        images,
        normalise: normalise_of(config)?,
        image_size: config.patch.image_size,
        batch_size: config.run.micro_batch(),
        workers: config.data.workers,
        passes: config.run.eval_masks,
        seed: config.run.seed,
    }))
}

/// The state that a run stopped in; its beginning where it was killed before its first checkpoint.
fn stopped_state(
    options: &PretrainOptions,
    recipe: &Value,
    images: &TrainingImages,
    plan: &Plan,
    store: &ParamStore,
) -> Result<TrainState> {
    let run_dir = RunDir::open(&options.out)?;
    if run_dir.checkpoints()?.is_empty() && options.checkpoint.is_none() {
        return TrainState::fresh(plan, store);
    }
    let checkpoint = run_dir.read_checkpoint(options.checkpoint)?;
    checkpoint.check_same_run(recipe, images)?;
    check_length(&run_dir, options.checkpoint, checkpoint.record().step, plan.run.steps, "run.steps")?;
    TrainState::restore(&checkpoint, plan, store)
}
