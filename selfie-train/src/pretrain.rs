//! Pretraining from settings to a trained trunk: data, model, loop, files. Everything that can fail for want of
//! sense fails before the run directory is made.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use serde::Serialize;

use crate::checkpoint::{Best, Checkpoint};
use crate::clock::utc_now;
use crate::config::{Plan, RunConfig, recipe_changes};
use crate::data::{Dataset, Loader, LoaderConfig, Split, Transform, channel_stats};
use crate::device::{DeviceChoice, describe_device};
use crate::environment::environment;
use crate::error::{Error, Result};
use crate::model::SelfieModel;
use crate::pretrained::{initial_weights, normalise_of, write_encoder};
use crate::probe::{EvalSet, Evaluation};
use crate::run_dir::RunDir;
use crate::store::{LoadReport, ParamStore};
use crate::task::MaskedPatches;
use crate::trainer::{StopFlag, TrainState, Trainer};

/// Images that mean and deviation are measured on, at most: enough for three digits.
const STATS_IMAGES: usize = 10_000;

/// How a run is carried out; what it learns stands in its [`RunConfig`].
#[derive(Debug, Clone, Default)]
pub struct PretrainOptions {
    /// The run directory; a new one must hold no run.
    pub out: PathBuf,
    /// Continue the run in `out`, whose own settings (with what may change) are then given as the configuration.
    pub resume: bool,
    /// Weights to start from: a run, a checkpoint or a trunk. Not with `resume`.
    pub init_from: Option<PathBuf>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Nothing on stderr.
    pub quiet: bool,
    /// The request to stop.
    pub stop: StopFlag,
    /// The command line, for `env.json`.
    pub command: Vec<String>,
}

/// What a finished run has to tell.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainReport {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Steps done, with those of earlier sessions.
    pub steps: u64,
    /// Mean training loss over the last steps.
    pub loss: f64,
    /// Mean training accuracy over the last steps.
    pub accuracy: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Mean speed of this session.
    pub images_per_second: f64,
    /// Wall time of this session.
    pub seconds: f64,
    /// Masked-patch accuracy on the held-out images; none where `data.holdout` is 0.
    pub held_out: Option<Evaluation>,
    /// The best of the run's evaluations.
    pub best: Option<Best>,
    /// Trained values.
    pub parameters: usize,
    /// Files of the run.
    pub files: Vec<PathBuf>,
}

/// Pretrains as `config` says.
///
/// # Errors
/// Configuration errors before anything is written; [`Error::Interrupted`] after a request to stop.
pub fn pretrain(mut config: RunConfig, options: &PretrainOptions) -> Result<PretrainReport> {
    let started = Instant::now();
    config.validate()?;
    if options.resume && options.init_from.is_some() {
        return Err(Error::config("--init-from", "met together with --resume, expected one of them: a resumed run has its weights"));
    }
    if !options.resume {
        RunDir::check_free(&options.out)?;
    }
    let device = options.device.select()?;
    let note = |line: String| if !options.quiet { eprintln!("{line}") };
    note(format!("device   {}", describe_device(&device)));

    // Data: what is held out never trains; mean and deviation become part of the settings.
    let (train, held_out) = Dataset::open(&config.data.source, Split::Train)?.split_holdout(config.data.holdout)?;
    if config.data.mean.is_empty() {
        (config.data.mean, config.data.std) = channel_stats(&train, STATS_IMAGES)?;
    }
    note(format!("data     {}: {} images to train on, {} held out", config.data.source, train.len(), held_out.len()));

    // Model.
    let plan = config.pretrain_plan();
    let store = ParamStore::new(config.run.seed, &device);
    let task = MaskedPatches::new(SelfieModel::new(&config, store.builder())?, &config)?;
    note(format!("model    {} values in {} tensors", store.num_parameters(), store.parameters().len()));
    if let Some(from) = &options.init_from {
        note(format!("weights  {}", describe(from, &start_from(from, &store)?)));
    }

    // Run directory and state: new, or where the run stopped.
    let recipe = config.recipe()?;
    let (run_dir, mut state) = match options.resume {
        false => (RunDir::create(&options.out, &config, &environment(&device, &options.command))?, TrainState::fresh(&plan, &store)?),
        true => {
            let run_dir = RunDir::open(&options.out)?;
            let checkpoint = Checkpoint::read(&run_dir.latest_checkpoint()?)?;
            check_same_run(&checkpoint, &recipe, train.len())?;
            let state = TrainState::restore(&checkpoint, &plan, &store)?;
            run_dir.update_config(&config)?;
            (run_dir, state)
        }
    };
    note(format!("run      {}, from step {} to {}", run_dir.path().display(), state.step, plan.run.steps));

    // The loop.
    let mut loader = training_loader(&config, &plan, train.clone(), state.position(&plan), &device)?;
    let trainer = Trainer {
        task: &task,
        store: &store,
        plan: &plan,
        epoch_images: train.len(),
        held_out: evaluation_set(&config, held_out)?,
        run_dir: Some(&run_dir),
        recipe,
        quiet: options.quiet,
        stop: options.stop.clone(),
    };
    let report = trainer.train(&mut state, &mut loader)?;

    // The trunk, ready to use.
    write_encoder(&run_dir.encoder_path(), &store, &config, state.step)?;
    let mut files = vec![run_dir.config_path(), run_dir.metrics_path(), run_dir.encoder_path()];
    files.extend(run_dir.latest_checkpoint());
    Ok(PretrainReport {
        run_dir: run_dir.path().to_path_buf(),
        steps: report.steps,
        loss: report.loss,
        accuracy: report.accuracy,
        chance: report.chance,
        images_per_second: report.images_per_second,
        seconds: started.elapsed().as_secs_f64(),
        held_out: report.held_out,
        best: report.best,
        parameters: store.num_parameters(),
        files,
    })
}

/// A directory of its own for a new run: `runs/PRESET-DATE-seedN`, with a number behind it where that is taken.
#[must_use]
pub fn default_run_path(preset: &str, seed: u64) -> PathBuf {
    let (year, month, day) = utc_now().date();
    let name = format!("{preset}-{year:04}{month:02}{day:02}-seed{seed}");
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered).map(|name| Path::new("runs").join(name));
    names.find(|path| !path.exists()).unwrap_or_else(|| Path::new("runs").join(name))
}

/// The batches of a run from `position` on.
fn training_loader(config: &RunConfig, plan: &Plan, train: Dataset, position: u64, device: &Device) -> Result<Loader> {
    let transform = Transform::train(config.data.augment, config.patch.image_size);
    let batches = LoaderConfig {
        batch_size: plan.run.batch_size,
        workers: config.data.workers,
        seed: plan.run.seed,
        start_position: position,
        end_position: Some(plan.run.steps * plan.run.batch_size as u64),
    };
    Ok(Loader::new(train, transform, normalise_of(config)?, batches, device)?)
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

/// Weights from elsewhere; those of another shape are refused, missing ones stay as they were drawn.
fn start_from(from: &Path, store: &ParamStore) -> Result<LoadReport> {
    let weights = initial_weights(from)?;
    let report = store.load_matching(&weights)?;
    if report.reshaped.is_empty() {
        return Ok(report);
    }
    let reason = report.misfit().unwrap_or_default();
    Err(Error::Weights { path: from.to_path_buf(), reason })
}

fn describe(from: &Path, report: &LoadReport) -> String {
    let (matched, missing, unexpected) = (report.matched.len(), report.missing.len(), report.unexpected.len());
    format!("{}: {matched} tensors taken, {missing} not in it, {unexpected} in it without use", from.display())
}

/// A run goes on with the recipe and the data that it began with, or not at all.
fn check_same_run(checkpoint: &Checkpoint, recipe: &serde_json::Value, train_images: usize) -> Result<()> {
    let record = checkpoint.record();
    let changes = recipe_changes(&record.config, recipe);
    if !changes.is_empty() {
        let reason = format!("{}; a resumed run keeps its settings, but for its length and cadence", changes.join(", "));
        return Err(Error::config("--resume", reason));
    }
    if record.train_images != train_images as u64 {
        let reason = format!("{train_images} images to train on, expected the {} that the run began with", record.train_images);
        return Err(Error::config("data.source", reason));
    }
    Ok(())
}
