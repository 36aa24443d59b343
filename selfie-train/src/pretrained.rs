//! What a run or a weights file has to give to whoever goes on with it: fine-tuning, evaluation, another run.

mod geometry;

use std::path::{Path, PathBuf};

use candle_core::Device;
use selfie_encoder::EncoderConfig;
use serde_json::{Value, json};

use crate::checkpoint::is_checkpoint;
use crate::config::RunConfig;
use crate::data::Normalise;
use crate::error::{Error, Result};
use crate::model::SelfieModel;
use crate::run_dir::RunDir;
use crate::store::{ParamStore, Weights, write_tensors};
use crate::task::MaskedPatches;

/// What `encoder.safetensors` says it is.
const FORMAT: &str = "selfie encoder";

/// Which weights of a run or a checkpoint are meant, where it keeps a moving average of them (`run.ema_decay`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhichWeights {
    /// The average where there is one, else those that are trained.
    #[default]
    Used,
    /// The average.
    Ema,
    /// Those that are trained.
    Raw,
}

/// A trunk under torchvision's names, and what is known of it.
#[derive(Debug, Clone)]
pub struct Pretrained {
    /// The file that the weights are from.
    pub file: PathBuf,
    /// The trunk's tensors (`conv1.weight`, `layer1.0.conv1.weight`, ...); a foreign file may hold more.
    pub encoder: Weights,
    /// The attention pooling's tensors (`u0`, `layers.0.…`), where this is a pretraining run or a checkpoint of one; else empty.
    pub attnpool: Weights,
    /// The trunk's shape, where the file, the run or the tensors' names tell it.
    pub encoder_config: Option<EncoderConfig>,
    /// Mean and deviation per channel that it was trained with, where known.
    pub normalise: Option<(Vec<f32>, Vec<f32>)>,
    /// The complete settings, where this is a run directory.
    pub run: Option<RunConfig>,
    /// Steps of training behind the weights, where the file tells it.
    pub step: Option<u64>,
    /// Whether the weights are a moving average; none where nothing tells.
    pub averaged: Option<bool>,
}

impl Pretrained {
    /// What `--from` names: a run directory (its latest checkpoint, or that of `step`), a checkpoint, `encoder.safetensors`, or
    /// weights of torchvision or timm, as safetensors or as torch.save writes them.
    ///
    /// # Errors
    /// [`Error::RunDir`] or [`Error::Weights`] where there is no such thing; [`Error::Checkpoint`] where it is damaged.
    pub fn open(from: &Path, step: Option<u64>) -> Result<Self> {
        Self::open_which(from, step, WhichWeights::Used)
    }

    /// As [`Pretrained::open`], with the choice between a run's weights and their moving average.
    ///
    /// # Errors
    /// As there; [`Error::Config`] where there is no choice, or no average.
    pub fn open_which(from: &Path, step: Option<u64>, which: WhichWeights) -> Result<Self> {
        if from.is_dir() {
            let run = RunDir::open(from)?;
            let config = run.config()?;
            let checkpoint = run.read_checkpoint(step)?;
            let (weights, averaged) = chosen(from, which, checkpoint.weights(), checkpoint.average())?;
            return Ok(Self {
                file: checkpoint.path().to_path_buf(),
                encoder: weights.below("encoder"),
                attnpool: weights.below("attnpool"),
                encoder_config: Some(config.encoder.clone()),
                normalise: Some((config.data.mean.clone(), config.data.std.clone())),
                run: Some(config),
                step: Some(checkpoint.record().step),
                averaged: Some(averaged),
            });
        }
        let weights = Weights::open(from)?;
        let metadata = weights.metadata().cloned().unwrap_or(Value::Null);
        let (encoder, attnpool, described, averaged) = match is_checkpoint(&weights) {
            true => {
                let (model, average) = (weights.below("model"), average_in(&weights));
                let (weights, averaged) = chosen(from, which, &model, average.as_ref())?;
                (weights.below("encoder"), weights.below("attnpool"), &metadata["config"], Some(averaged))
            }
            false if which != WhichWeights::Used => return Err(no_choice(from, which)),
            false => (weights.clone(), weights.below("attnpool"), &metadata, None),
        };
        let told = geometry::of_tensors(&encoder);
        let numbers = |key: &str| serde_json::from_value::<Vec<f32>>(described["data"][key].clone()).ok();
        Ok(Self {
            file: from.to_path_buf(),
            encoder,
            attnpool,
            encoder_config: serde_json::from_value(described["encoder"].clone()).ok().or(told),
            normalise: numbers("mean").zip(numbers("std")),
            run: None,
            step: metadata["step"].as_u64(),
            averaged,
        })
    }
}

/// The weights that are meant, and whether they are an average.
fn chosen<'a>(
    from: &Path,
    which: WhichWeights,
    raw: &'a Weights,
    average: Option<&'a Weights>,
) -> Result<(&'a Weights, bool)> {
    match (which, average) {
        (WhichWeights::Used | WhichWeights::Ema, Some(average)) => Ok((average, true)),
        (WhichWeights::Used | WhichWeights::Raw, _) => Ok((raw, false)),
        (WhichWeights::Ema, None) => {
            let from = from.display();
            let reason =
                format!("met ema, but {from} keeps no moving average (run.ema_decay = 0), expected raw, or nothing");
            Err(Error::config("--weights", reason))
        }
    }
}

fn no_choice(from: &Path, which: WhichWeights) -> Error {
    let word = if which == WhichWeights::Ema { "ema" } else { "raw" };
    let from = from.display();
    Error::config("--weights", format!("met {word} with {from}, which holds one kind of weights, expected a run"))
}

/// The pretext task of a run with its trained weights, for `masked-eval` and pictures.
///
/// # Errors
/// As [`Pretrained::open`], and where the weights do not fit the settings.
pub fn load_run(run: &RunDir, step: Option<u64>, device: &Device) -> Result<(RunConfig, ParamStore, MaskedPatches)> {
    let config = run.config()?;
    let store = ParamStore::new(config.run.seed, device);
    let model = SelfieModel::new(&config, store.builder())?;
    store.load(run.read_checkpoint(step)?.used_weights())?;
    let task = MaskedPatches::new(model, &config)?;
    Ok((config, store, task))
}

/// Weights for `--init-from`: of a run, a checkpoint, or a trunk; under the names of the whole model.
pub(crate) fn initial_weights(from: &Path) -> Result<Weights> {
    if from.is_dir() {
        return Ok(RunDir::open(from)?.read_checkpoint(None)?.used_weights().clone());
    }
    let weights = Weights::open(from)?;
    let whole = weights.iter().any(|(name, _)| name.starts_with("encoder."));
    Ok(match (is_checkpoint(&weights), whole) {
        (true, _) => whole_model(&weights),
        (false, true) => weights,
        (false, false) => weights.above("encoder"),
    })
}

/// The model in a checkpoint's file: the moving average of its weights where there is one.
fn whole_model(checkpoint: &Weights) -> Weights {
    average_in(checkpoint).unwrap_or_else(|| checkpoint.below("model"))
}

fn average_in(checkpoint: &Weights) -> Option<Weights> {
    Some(checkpoint.below("ema")).filter(|average| average.iter().next().is_some())
}

/// Writes the trunk of `store` with torchvision's names, and what is needed to use it.
pub(crate) fn write_encoder(path: &Path, store: &ParamStore, config: &RunConfig, step: u64) -> Result<()> {
    let trunk = |(name, tensor): (String, _)| Some((name.strip_prefix("encoder.")?.to_owned(), tensor));
    let tensors = store.tensors().into_iter().filter_map(trunk).collect();
    let metadata = json!({
        "format": FORMAT,
        "version": 1,
        "encoder": to_value(path, &config.encoder)?,
        "patch": to_value(path, &config.patch)?,
        "data": { "mean": config.data.mean, "std": config.data.std },
        "step": step,
    });
    write_tensors(path, &tensors, metadata)
}

/// What makes floats of bytes for a trunk of `config`.
///
/// # Errors
/// [`Error::Data`] where mean and deviation have not been measured or set.
pub fn normalise_of(config: &RunConfig) -> Result<Normalise> {
    Ok(Normalise::new(&config.data.mean, &config.data.std)?)
}

fn to_value(path: &Path, value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::io(path)(error.into()))
}
