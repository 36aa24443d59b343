//! The pretext task on images that were not trained on: how often the right patch is found among the masked ones.
//!
//! Eval mode, several seeded masks an image; the standard error is by images, whose answers depend on each other.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use candle_core::Device;
use selfie_train::{
    Checkpoint, Dataset, EvalSet, Evaluation, MaskedPatches, ParamStore, RunConfig, RunDir, SelfieModel, Split,
    evaluate, normalise_of,
};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::write_json;

/// What was done, in the words that stand beside every figure of it.
const PROTOCOL: &str = "masked patches in eval mode";
/// Standard errors that an accuracy must lie above chance by, to be called above it.
const STANDARD_ERRORS: f64 = 3.0;

/// Which images are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvalSplit {
    /// The test split.
    Test,
    /// The training images without the held-out ones.
    Train,
    /// Those of the train split that pretraining kept away.
    HeldOut,
}

impl FromStr for EvalSplit {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "test" => Ok(Self::Test),
            "train" => Ok(Self::Train),
            "heldout" => Ok(Self::HeldOut),
            _ => Err(Error::config("--split", format!("met `{word}`, expected test, train or heldout"))),
        }
    }
}

impl fmt::Display for EvalSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Train => "train",
            Self::HeldOut => "heldout",
        })
    }
}

/// A pretrained model and the images it is asked about.
pub struct MaskedEval {
    config: RunConfig,
    run: PathBuf,
    checkpoint: Checkpoint,
    task: MaskedPatches,
    images: Dataset,
    split: EvalSplit,
    device: Device,
}

/// The result of a masked evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct MaskedReport {
    /// What was done.
    pub protocol: &'static str,
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracy is of.
    pub split: EvalSplit,
    /// Accuracy, its standard error, loss, chance, images.
    #[serde(flatten)]
    pub found: Evaluation,
    /// The 95 % interval of the accuracy: 1.96 standard errors to either side.
    pub interval: (f64, f64),
    /// Standard errors by which the accuracy lies above chance; none where there is a single image.
    pub standard_errors_above_chance: Option<f64>,
    /// Whether these are at least three.
    pub above_chance: bool,
    /// The seed of the masks.
    pub seed: u64,
    /// The run.
    pub from: PathBuf,
    /// Its checkpoint.
    pub checkpoint: PathBuf,
    /// Steps that it was trained for.
    pub step: u64,
}

impl MaskedReport {
    /// Returns the file in which a run's directory keeps the accuracy on its own test split, for its report.
    #[must_use]
    pub fn place(run: &RunDir) -> PathBuf {
        run.path().join("masked-eval.json")
    }

    /// Writes the report to [`MaskedReport::place`].
    ///
    /// # Errors
    /// Returns an error if the run's directory cannot be written.
    pub fn keep(&self, run: &RunDir) -> Result<()> {
        write_json(&Self::place(run), self)
    }
}

impl MaskedEval {
    /// Returns whether the images are the test split of the run's own data, seen as the run sees it.
    ///
    /// # Errors
    /// Returns an error if the run's settings cannot be read.
    pub fn is_own_test_split(&self, run: &RunDir) -> Result<bool> {
        let own = run.config()?;
        Ok(self.split == EvalSplit::Test && own.data == self.config.data && own.patch == self.config.patch)
    }

    /// Loads the latest checkpoint of `run` (or that of `step`) into the model of `config`, the run's own settings
    /// with what the caller changed. Without `split` it is the test split where there is one, else the held-out
    /// images.
    ///
    /// # Errors
    /// Returns an error if settings, data or weights do not fit, or if the weights contain NaN.
    pub fn prepare(
        run: &RunDir,
        step: Option<u64>,
        config: RunConfig,
        split: Option<EvalSplit>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let checkpoint = run.read_checkpoint(step)?;
        let store = ParamStore::new(config.run.seed, device);
        let model = SelfieModel::new(&config, store.builder())?;
        checkpoint.used_weights().check_finite()?;
        store.load(checkpoint.used_weights())?;
        let task = MaskedPatches::new(model, &config)?;
        let (images, split) = open_split(&config, split)?;
        if split != EvalSplit::Test {
            check_holdout(config.data.holdout, run.config()?.data.holdout)?;
        }
        Ok(Self { run: run.path().to_path_buf(), device: device.clone(), config, checkpoint, task, images, split })
    }

    /// The images that are asked.
    #[must_use]
    pub fn images(&self) -> &Dataset {
        &self.images
    }

    /// Asks every image under `masks` masks.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn run(&self, masks: usize) -> Result<MaskedReport> {
        if masks == 0 {
            return Err(Error::config("--masks", "met 0, expected at least 1"));
        }
        let set = EvalSet {
            images: self.images.clone(),
            normalise: normalise_of(&self.config)?,
            image_size: self.config.patch.image_size,
            batch_size: self.config.run.eval_batch(),
            workers: self.config.data.workers,
            passes: masks,
            seed: self.config.run.seed,
        };
        let found = evaluate(&self.task, &set, &self.device)?;
        let above = (found.standard_error > 0.0).then(|| (found.accuracy - found.chance) / found.standard_error);
        Ok(MaskedReport {
            protocol: PROTOCOL,
            data: self.config.data.source.clone(),
            split: self.split,
            standard_errors_above_chance: above,
            interval: (found.accuracy - 1.96 * found.standard_error, found.accuracy + 1.96 * found.standard_error),
            above_chance: above.is_some_and(|above| above >= STANDARD_ERRORS),
            found,
            seed: self.config.run.seed,
            from: self.run.clone(),
            checkpoint: self.checkpoint.path().to_path_buf(),
            step: self.checkpoint.record().step,
        })
    }
}

/// The share of images that the run kept away from training is the only one whose images it has not seen.
fn check_holdout(given: f64, of_run: f64) -> Result<()> {
    if given == of_run {
        return Ok(());
    }
    let reason = format!(
        "got {given}, expected {of_run}, the run's own share: with another one, trained images count as held out"
    );
    Err(Error::config("data.holdout", reason))
}

fn open_split(config: &RunConfig, split: Option<EvalSplit>) -> Result<(Dataset, EvalSplit)> {
    let (source, bad) = (&config.data.source, config.data.bad_images());
    let train = config.data.open(Split::Train)?.with_bad_images(&bad);
    let split = split.unwrap_or(if train.has_test_split() { EvalSplit::Test } else { EvalSplit::HeldOut });
    let images = match split {
        EvalSplit::Test => config.data.open(Split::Test)?.with_bad_images(&bad),
        EvalSplit::Train => train.split_holdout(config.data.holdout)?.0,
        EvalSplit::HeldOut => train.split_holdout(config.data.holdout)?.1,
    };
    if images.is_empty() {
        let reason =
            format!("met {split}, but nothing of {source} is held out (data.holdout = {})", config.data.holdout);
        return Err(Error::config("--split", reason));
    }
    Ok((images, split))
}
