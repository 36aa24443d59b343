//! Pretrained weights of a run or of a file, for fine-tuning, evaluation, or another run.

mod geometry;
mod network;

use std::path::{Path, PathBuf};

use candle_core::Device;
use selfie_encoder::{Block, EncoderConfig};
use serde_json::{Value, json};

use crate::checkpoint::is_checkpoint;
use crate::config::RunConfig;
use crate::data::Normalise;
use crate::error::{Error, Result};
use crate::model::SelfieModel;
use crate::run_dir::RunDir;
use crate::store::{ParamStore, TensorFile, Weights, write_tensors};
use crate::task::MaskedPatches;

pub use network::{FoundNetwork, Naming};

/// The format that `encoder.safetensors` states.
const FORMAT: &str = "selfie encoder";

/// Mean and standard deviation per channel.
type Statistics = (Vec<f32>, Vec<f32>);

/// Choice between the trained weights of a run and their moving average (`run.ema_decay`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhichWeights {
    /// The average if the run has one, otherwise the trained weights.
    #[default]
    Used,
    /// The average.
    Ema,
    /// The trained weights.
    Raw,
}

/// Choice of the weights that are read from a run or a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Step of the run's checkpoint; `None` is the latest.
    pub step: Option<u64>,
    /// Trained weights or their average.
    pub which: WhichWeights,
    /// Prefix of the network, for a file of another project that contains several.
    pub prefix: Option<&'a str>,
}

/// A trunk under torchvision's or timm's names, and what its file records.
#[derive(Debug, Clone)]
pub struct Pretrained {
    /// The file that contains the weights.
    pub file: PathBuf,
    /// The trunk's tensors (`conv1.weight`, `layer1.0.conv1.weight`, ...), with a fourth stage and a classifier if the file has
    /// them. All values are finite.
    pub encoder: Weights,
    /// The attention pooling's tensors (`u0`, `layers.0.…`) of a pretraining run or checkpoint; empty for other weights.
    pub attnpool: Weights,
    /// The trunk's shape, from the run, the file's metadata, or the tensors' names and shapes.
    pub encoder_config: Option<EncoderConfig>,
    /// Mean and standard deviation per channel that the network was trained with, if known.
    pub normalise: Option<(Vec<f32>, Vec<f32>)>,
    /// Reason why `normalise` is assumed; `None` if the run or file records it.
    pub assumed: Option<&'static str>,
    /// The place of the network in a file of another project.
    pub found: Option<FoundNetwork>,
    /// The complete settings of a run directory.
    pub run: Option<RunConfig>,
    /// Number of training steps, if the file records it.
    pub step: Option<u64>,
    /// Whether the weights are a moving average, if the file records it.
    pub averaged: Option<bool>,
}

impl Pretrained {
    /// Opens a run directory (its latest checkpoint, or the one of `step`), a checkpoint, `encoder.safetensors`, or weights of
    /// another project that contain a ResNet with torchvision's or timm's names behind any prefix, as safetensors or as a file
    /// of `torch.save`.
    ///
    /// # Errors
    /// Returns [`Error::RunDir`] or [`Error::Weights`] if there is no such run or file, if it contains no network or several, or if a
    /// tensor contains NaN; [`Error::Checkpoint`] if a checkpoint is damaged.
    pub fn open(from: &Path, step: Option<u64>) -> Result<Self> {
        Self::open_wanted(from, &Wanted { step, ..Wanted::default() })
    }

    /// Opens the weights that `wanted` chooses.
    ///
    /// # Errors
    /// Returns the errors of [`Pretrained::open`], and [`Error::Config`] if there is no such choice.
    pub fn open_wanted(from: &Path, wanted: &Wanted) -> Result<Self> {
        let opened = if from.is_dir() {
            no_prefix(from, wanted)?;
            Self::of_run(from, wanted)?
        } else {
            let file = TensorFile::open(from)?;
            if file.metadata().is_some() {
                no_prefix(from, wanted)?;
                Self::of_own_file(from, &file.read_all()?, wanted.which)?
            } else if wanted.which != WhichWeights::Used {
                return Err(no_choice(from, wanted.which));
            } else {
                Self::of_foreign_file(from, &file, wanted.prefix)?
            }
        };
        opened.encoder.check_finite()?;
        opened.attnpool.check_finite()?;
        Ok(opened)
    }

    fn of_run(from: &Path, wanted: &Wanted) -> Result<Self> {
        let run = RunDir::open(from)?;
        let config = run.config()?;
        let checkpoint = run.read_checkpoint(wanted.step)?;
        let (weights, averaged) = chosen(from, wanted.which, checkpoint.weights(), checkpoint.average())?;
        Ok(Self {
            file: checkpoint.path().to_path_buf(),
            encoder: weights.below("encoder"),
            attnpool: weights.below("attnpool"),
            encoder_config: Some(config.encoder.clone()),
            normalise: Some((config.data.mean.clone(), config.data.std.clone())),
            assumed: None,
            found: None,
            run: Some(config),
            step: Some(checkpoint.record().step),
            averaged: Some(averaged),
        })
    }

    /// The weights of a file that this project wrote: a checkpoint, a whole model, or a trunk.
    fn of_own_file(from: &Path, weights: &Weights, which: WhichWeights) -> Result<Self> {
        let metadata = weights.metadata().cloned().unwrap_or(Value::Null);
        let (encoder, attnpool, described, averaged) = match is_checkpoint(weights) {
            true => {
                let (model, average) = (weights.below("model"), average_in(weights));
                let (weights, averaged) = chosen(from, which, &model, average.as_ref())?;
                (weights.below("encoder"), weights.below("attnpool"), &metadata["config"], Some(averaged))
            }
            false if which != WhichWeights::Used => return Err(no_choice(from, which)),
            false if is_whole(weights) => (weights.below("encoder"), weights.below("attnpool"), &metadata, None),
            false => (weights.clone(), weights.below("attnpool"), &metadata, None),
        };
        let dims = |name: &str| encoder.get(name).map(|tensor| tensor.dims());
        let told = || geometry::of_shapes(dims).ok().map(network::three_stages);
        let numbers = |key: &str| serde_json::from_value::<Vec<f32>>(described["data"][key].clone()).ok();
        Ok(Self {
            file: from.to_path_buf(),
            encoder_config: serde_json::from_value(described["encoder"].clone()).ok().or_else(told),
            encoder,
            attnpool,
            normalise: numbers("mean").zip(numbers("std")),
            assumed: None,
            found: None,
            run: None,
            step: metadata["step"].as_u64(),
            averaged,
        })
    }

    /// The network in a file that another project wrote.
    fn of_foreign_file(from: &Path, file: &TensorFile, prefix: Option<&str>) -> Result<Self> {
        let (encoder, found) = foreign(from, file, prefix)?;
        let (normalise, assumed) = usual_statistics(&found.config).unzip();
        Ok(Self {
            file: from.to_path_buf(),
            attnpool: encoder.below("attnpool"),
            encoder,
            encoder_config: Some(found.config),
            normalise,
            assumed,
            found: Some(found.network),
            run: None,
            step: None,
            averaged: None,
        })
    }
}

/// Reads the network of a file that another project wrote.
fn foreign(from: &Path, file: &TensorFile, prefix: Option<&str>) -> Result<(Weights, network::Found)> {
    let wrong = |reason| Error::Weights { path: from.to_path_buf(), reason };
    let found = network::find(&file.shapes(), prefix).map_err(wrong)?;
    Ok((file.read(&found.tensors)?, found))
}

/// Returns the mean and standard deviation that torchvision and timm use for such a network, and the reason to assume them.
fn usual_statistics(config: &EncoderConfig) -> Option<(Statistics, &'static str)> {
    if config.in_channels != 3 {
        return None;
    }
    Some(match config.block {
        Block::V1_5 => (
            (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            "ImageNet's, which torchvision and timm use for resnet50; the file records none",
        ),
        Block::V2 => ((vec![0.5; 3], vec![0.5; 3]), "timm's for resnetv2_50; the file records none"),
    })
}

fn no_prefix(from: &Path, wanted: &Wanted) -> Result<()> {
    match wanted.prefix {
        None => Ok(()),
        Some(prefix) => {
            let reason = format!(
                "got {prefix:?} with {}, which this project wrote, expected a file of another project",
                from.display()
            );
            Err(Error::config("prefix", reason))
        }
    }
}

/// Returns whether the names are those of a whole model, with the trunk below `encoder`.
fn is_whole(weights: &Weights) -> bool {
    weights.iter().any(|(name, _)| name.starts_with("encoder."))
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

/// Reads the weights that a run begins with, under the names of the whole model: from a run, a checkpoint, a trunk, or a file
/// of another project, whose network `prefix` chooses.
pub(crate) fn initial_weights(from: &Path, prefix: Option<&str>) -> Result<(Weights, Option<FoundNetwork>)> {
    let wanted = Wanted { prefix, ..Wanted::default() };
    let (weights, found) = if from.is_dir() {
        no_prefix(from, &wanted)?;
        (RunDir::open(from)?.read_checkpoint(None)?.used_weights().clone(), None)
    } else {
        let file = TensorFile::open(from)?;
        if file.metadata().is_some() {
            no_prefix(from, &wanted)?;
            let weights = file.read_all()?;
            let weights = match (is_checkpoint(&weights), is_whole(&weights)) {
                (true, _) => whole_model(&weights),
                (false, true) => weights,
                (false, false) => weights.above("encoder"),
            };
            (weights, None)
        } else {
            let (weights, found) = foreign(from, &file, prefix)?;
            (weights.above("encoder"), Some(found.network))
        }
    };
    weights.check_finite()?;
    Ok((weights, found))
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
