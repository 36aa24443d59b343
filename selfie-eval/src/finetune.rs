//! Fine-tuning as the paper does it (arXiv 1906.02940, "Finetuning Details"): P fills stages 1-3 of a ResNet, stage 4
//! and the classifier are fresh, whole images, all layers trained by SGD with Nesterov momentum, warm-up, then
//! cosine.
//!
//! Training goes through the one loop of selfie-train. Nothing is chosen: the last weights are tested, on the whole
//! test split in eval mode. From scratch it is the supervised baseline, by the same code.

mod network;
mod report;
mod tune;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{D, Device};
use selfie_train::{
    Augment, Classification, Head, Loader, LoaderConfig, Mode, ParamStore, Plan, Ranks, RunConfig, RunDir, RunLock,
    StopFlag, TrainReport, TrainState, Trainer, TrainingImages, Transform, check_length, write_tensors,
};
use serde_json::{Value, json};

pub use report::FinetuneReport;
pub(crate) use tune::HOLDOUT;
pub use tune::Trial;

use crate::accuracy::{Accuracy, Answer};
use crate::error::{Error, Result};
use crate::features::View;
use crate::labelled::Labelled;
use crate::origin::Origin;
use crate::transfer::{Transfer, bare};

/// A network that is ready to be fine-tuned: data opened, weights carried over.
pub struct Finetune {
    config: RunConfig,
    plan: Plan,
    data: Labelled,
    /// How the test split is seen.
    view: View,
    origin: Origin,
    transfer: Transfer,
    store: ParamStore,
    task: Classification,
    state: TrainState,
    /// What the rate was chosen from, where it was.
    trials: Vec<Trial>,
    /// Held from before a resumed run's state is read.
    lock: Option<RunLock>,
    device: Device,
}

/// How training is carried out and where it is kept.
#[derive(Clone, Default)]
pub struct Session<'a> {
    /// Metrics and checkpoints; nothing is written without.
    pub run_dir: Option<&'a RunDir>,
    /// No progress.
    pub quiet: bool,
    /// The request to stop.
    pub stop: StopFlag,
}

impl Finetune {
    /// Opens the data of `config` and builds the network, with the weights of `origin`. Nothing is written.
    ///
    /// # Errors
    /// Where settings, data or weights do not fit; all of it before any training.
    pub fn prepare(config: RunConfig, origin: &Origin, device: &Device) -> Result<Self> {
        config.validate()?;
        let data = Labelled::open(&config.data, &config.finetune.labels, config.run.seed)?;
        if config.finetune.tune {
            data.held_out(HOLDOUT, config.run.seed)?; // told now, and not after the run's folder was made
        }
        Self::with_data(config, data, origin, device)
    }

    /// The same on images that are open already.
    ///
    /// # Errors
    /// Where settings or weights do not fit.
    pub fn with_data(mut config: RunConfig, data: Labelled, origin: &Origin, device: &Device) -> Result<Self> {
        config.validate()?;
        let classes = data.classes().len();
        // A stage 4 of another depth than ResNet-50's becomes part of the settings, so that a resumed run builds the same.
        let trunk = network::trunk(&config, origin.weights());
        if trunk.depths != config.encoder.with_stage4().depths {
            config.encoder.depths = trunk.depths;
        }
        let (network, store, transfer) = network::build(&config, origin.weights(), classes, device)?;
        let view = View::of(&mut config, &data.all)?;
        let mut plan = config.finetune_plan();
        plan.run.checkpoint_every = config.run.checkpoint_every;
        let view = View { batch_size: plan.run.micro_batch(), ..view };
        let (smoothing, seed) = (config.finetune.label_smoothing, config.run.seed);
        Ok(Self {
            state: TrainState::fresh(&plan, &store)?,
            plan,
            view,
            task: Classification::new(network, classes, smoothing, seed),
            origin: origin.clone(),
            device: device.clone(),
            config,
            data,
            transfer,
            store,
            trials: Vec::new(),
            lock: None,
        })
    }

    /// Trains with another base learning rate.
    fn set_rate(&mut self, lr: f64) {
        self.config.finetune.lr = lr;
        self.plan.optim.lr = lr;
    }

    /// The settings, with mean and deviation filled in.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Returns whether mean and standard deviation were measured on the images, because neither the weights nor the settings
    /// give them.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.view.measured
    }

    /// The images.
    #[must_use]
    pub fn data(&self) -> &Labelled {
        &self.data
    }

    /// What came from P; empty from scratch.
    #[must_use]
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Number of trained values.
    #[must_use]
    pub fn num_parameters(&self) -> usize {
        self.store.num_parameters()
    }

    /// Goes back to the state that the fine-tuning in `run` stopped in, or to that of `step`.
    ///
    /// # Errors
    /// Where it began with other settings or data, or its checkpoint is damaged.
    pub fn restore(&mut self, run: &RunDir, step: Option<u64>) -> Result<()> {
        self.lock = Some(run.lock()?);
        let checkpoint = run.read_checkpoint(step)?;
        checkpoint.check_same_run(&self.recipe()?, &TrainingImages::of(&self.data.train))?;
        check_length(run, step, checkpoint.record().step, self.plan.run.steps, "finetune.steps")?;
        self.state = TrainState::restore(&checkpoint, &self.plan, &self.store)?;
        Ok(())
    }

    /// Trains to the end of the plan.
    ///
    /// # Errors
    /// `Interrupted` after a request to stop, with the state saved where there is a directory; else whatever failed.
    pub fn train(&mut self, session: &Session) -> Result<TrainReport> {
        if let (None, Some(run_dir)) = (&self.lock, session.run_dir) {
            self.lock = Some(run_dir.lock()?);
        }
        let batches = LoaderConfig {
            batch_size: self.plan.run.batch_size,
            workers: self.config.data.workers,
            seed: self.plan.run.seed,
            start_position: self.state.position(&self.plan),
            end_position: Some(self.plan.run.steps * self.plan.run.batch_size as u64),
            ..LoaderConfig::default()
        };
        let size = self.config.patch.image_size;
        let tune = &self.config.finetune;
        let transform = match tune.augment {
            Augment::None => Transform::eval(size),
            augment => Transform::of(&self.config.data, size).with_augment(augment).with_colours(tune.colours()),
        };
        let mut loader =
            Loader::new(self.data.train.clone(), transform, self.view.normalise.clone(), batches, &self.device)?;
        let trainer = Trainer {
            task: &self.task,
            store: &self.store,
            plan: &self.plan,
            images: TrainingImages::of(&self.data.train),
            ranks: &Ranks::default(),
            held_out: None,
            knn: None,
            run_dir: session.run_dir,
            recipe: self.recipe()?,
            quiet: session.quiet,
            stop: session.stop.clone(),
        };
        if let Some(run) = session.run_dir {
            self.data.bad.list_in(&run.bad_images_path())?;
            self.data.write_labels(&run.labels_path())?;
        }
        if self.state.step == 0 {
            trainer.save(&self.state)?; // P's weights must survive a kill before the first checkpoint
        }
        Ok(trainer.train(&mut self.state, &mut loader)?)
    }

    /// Top-1 and per-class accuracy on the whole test split, in eval mode.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn test(&self) -> Result<Accuracy> {
        let mut answers = Vec::with_capacity(self.data.test.len());
        let mut loader = self.view.batches(&self.data.test, &self.device)?;
        while let Some(batch) = loader.next()? {
            let logits = self.task.network().forward(&batch.images, Mode::Eval)?; // (B, classes)
            for (&i, predicted) in batch.indices.iter().zip(logits.argmax(D::Minus1)?.to_vec1::<u32>()?) {
                answers.extend(self.data.test.label(i).map(|label| Answer { predicted, label }));
            }
        }
        if answers.is_empty() {
            let (given, tried) = (self.data.test.given().to_owned(), self.data.test.len());
            return Err(selfie_train::Error::NoImages { given, tried }.into());
        }
        Accuracy::new(&answers, self.data.classes())
    }

    /// Writes the whole network below `folder`: `resnet.safetensors`, under torchvision's names; with attention pooling in
    /// place of stage 4 `patch-pool.safetensors`, under the names of pretraining.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_weights(&self, folder: &Path) -> Result<PathBuf> {
        let (file, format) = match self.config.finetune.head {
            Head::Resnet => ("resnet.safetensors", "selfie resnet"),
            Head::Attnpool | Head::AttnpoolFresh => ("patch-pool.safetensors", "selfie patch pool"),
        };
        let path = folder.join(file);
        let named = |(name, tensor): (String, _)| match self.config.finetune.head {
            Head::Resnet => (bare(&name).unwrap_or(&name).to_owned(), tensor),
            _ => (name, tensor),
        };
        let tensors: BTreeMap<_, _> = self.store.tensors().into_iter().map(named).collect();
        let metadata = json!({
            "format": format,
            "version": 1,
            "encoder": self.config.encoder,
            "patch": self.config.patch,
            "data": { "mean": self.config.data.mean, "std": self.config.data.std },
            "classes": self.data.classes(),
        });
        write_tensors(&path, &tensors, metadata)?;
        Ok(path)
    }

    fn recipe(&self) -> Result<Value> {
        recipe(&self.config)
    }
}

/// What every checkpoint carries: the run's recipe and that of fine-tuning.
pub(crate) fn recipe(config: &RunConfig) -> Result<Value> {
    let mut recipe = config.recipe()?;
    recipe["finetune"] =
        serde_json::to_value(&config.finetune).map_err(|error| Error::config("finetune", error.to_string()))?;
    recipe.sort_all_objects();
    Ok(recipe)
}
