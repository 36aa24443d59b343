//! The backbone, taken home: weights of a run in a file that torchvision or timm loads, with the lines that load it.
//!
//! The names of the tensors are torchvision's for v1.5 blocks and those of timm's `resnetv2` for v2, so that nothing is
//! renamed. A pretraining gives stages 1-3, a fine-tuning the whole network with its classifier. torchvision and timm
//! build width 64 alone; another shape is the same names, with a short PyTorch module beside the file. timm's final
//! norm is as wide as stage 4, so what is cut off behind stage 3 leaves its own out there.

mod card;
mod module;
mod network;
mod snippet;
mod to_hub;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use selfie_encoder::{Block, Stem};
use selfie_train::{Pretrained, Transform, shorten_floats, write_tensors};
use serde::Serialize;
use serde_json::{Value, json};

pub use to_hub::{HubTarget, Uploaded};

use crate::error::{Error, Result};
use network::Network;
use snippet::{Names, Place};

/// What the file says it is.
const FORMAT: &str = "selfie export";

/// Whose network the file is for.
///
/// ```
/// use selfie_eval::ExportFormat;
/// assert_eq!("timm".parse::<ExportFormat>()?, ExportFormat::Timm);
/// assert!("onnx".parse::<ExportFormat>().is_err());
/// # Ok::<(), selfie_eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// `torchvision.models.resnet50`.
    Torchvision,
    /// `timm.create_model("resnet50")`, or `"resnetv2_50"` for v2 blocks.
    Timm,
    /// Nobody else's: every tensor, for this project and for the module beside the file.
    Safetensors,
}

/// A network that fits its format, ready to be written.
pub struct Export {
    network: Network,
    format: ExportFormat,
    metadata: Value,
    normalise: Option<(Vec<f32>, Vec<f32>)>,
    image_size: Option<usize>,
}

/// What was written, and how it is used.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The weights.
    pub file: PathBuf,
    /// The PyTorch module that loads them, where torchvision and timm cannot.
    pub module: Option<PathBuf>,
    /// Whose network it is for.
    pub format: ExportFormat,
    /// Whether it has the fourth stage and a classifier.
    pub complete: bool,
    /// Tensors in the file.
    pub tensors: usize,
    /// Tensors of the network that the format has no place for.
    pub left_out: Vec<String>,
    /// Lines of Python that load it.
    pub snippet: String,
    /// What the file says of itself.
    pub metadata: Value,
}

impl FromStr for ExportFormat {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = [Self::Torchvision, Self::Timm, Self::Safetensors].into_iter().find(|f| f.to_string() == word);
        found.ok_or_else(|| {
            Error::config("--format", format!("met `{word}`, expected torchvision, timm or safetensors"))
        })
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::Safetensors => "safetensors",
        })
    }
}

impl Export {
    /// The network of `weights`, which `--from` named as `from`.
    ///
    /// # Errors
    /// Where the weights are incomplete, or the format has no such network.
    pub fn prepare(from: &str, weights: &Pretrained, format: ExportFormat) -> Result<Self> {
        let network = Network::of(weights)?;
        if format == ExportFormat::Torchvision && network.config.block == Block::V2 {
            let reason = format!(
                "met torchvision with the v2 blocks of {from}, which torchvision does not have, expected timm or safetensors"
            );
            return Err(Error::config("--format", reason));
        }
        let image_size = image_size(weights, &network);
        let metadata = metadata(from, weights, &network, format, image_size);
        Ok(Self { network, format, metadata, normalise: weights.normalise.clone(), image_size })
    }

    /// What the file will say of itself.
    #[must_use]
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// Writes the weights to `out`, and the module beside them where it is needed.
    ///
    /// # Errors
    /// [`Error::Config`] where a file would be written over, or the name says another kind; [`Error::Io`] where it
    /// cannot be written.
    pub fn write(&self, out: &Path) -> Result<Exported> {
        self.write_for(out, None)
    }

    /// As [`Export::write`]; the lines of Python find the files in `repository` of the hub, where one is named.
    fn write_for(&self, out: &Path, repository: Option<&str>) -> Result<Exported> {
        let needs_module = !self.network.is_resnet50() || self.format == ExportFormat::Safetensors;
        let module = needs_module.then(|| module::place(out));
        check_out(out, module.as_ref().map(|(_, path)| path.as_path()))?;
        // timm's norm is as wide as stage 4; the module's is as wide as the last stage there is.
        let mut exported = self.write_tensors(out, self.network.is_cut() && !needs_module)?;
        if let Some((_, path)) = &module {
            std::fs::write(path, module::text(&self.network)).map_err(Error::io(path))?;
        }
        let names = Names {
            place: match repository {
                Some(repository) => Place::Hub(repository),
                None => Place::File(&out.display().to_string()),
            },
            module: module.as_ref().map(|(name, _)| name.as_str()),
            normalise: self.normalise.as_ref(),
            image_size: self.image_size,
        };
        exported.snippet = snippet::python(&self.network, self.format, &names);
        exported.module = module.map(|(_, path)| path);
        Ok(exported)
    }

    /// Writes every tensor to `out`, for this project alone: no module, no lines of Python.
    ///
    /// # Errors
    /// As [`Export::write`].
    pub fn write_alone(&self, out: &Path) -> Result<Exported> {
        check_out(out, None)?;
        self.write_tensors(out, false)
    }

    fn write_tensors(&self, out: &Path, without_norm: bool) -> Result<Exported> {
        let (left_out, kept): (Vec<_>, Vec<_>) =
            self.network.tensors.iter().cloned().partition(|(name, _)| without_norm && name.starts_with("norm."));
        let tensors = kept.len();
        write_tensors(out, &kept.into_iter().collect(), self.metadata.clone())?;
        Ok(Exported {
            file: out.to_path_buf(),
            module: None,
            format: self.format,
            complete: !self.network.is_cut() && self.network.classes.is_some(),
            tensors,
            left_out: left_out.into_iter().map(|(name, _)| name).collect(),
            snippet: String::new(),
            metadata: self.metadata.clone(),
        })
    }
}

/// A new file with the name of what it will be.
fn check_out(out: &Path, module: Option<&Path>) -> Result<()> {
    if out.extension().is_none_or(|suffix| suffix != "safetensors") {
        let reason = format!("met {}, expected a name that ends in .safetensors", out.display());
        return Err(Error::config("--out", reason));
    }
    match [Some(out), module].into_iter().flatten().find(|path| path.exists()) {
        Some(path) => Err(Error::config("--out", format!("{} is there already, expected a new file", path.display()))),
        None => Ok(()),
    }
}

/// Everything that whoever meets the file needs to know: shape, input, and where the weights are from.
fn metadata(from: &str, weights: &Pretrained, network: &Network, format: ExportFormat, size: Option<usize>) -> Value {
    let config = &network.config;
    let described = weights.encoder.metadata().cloned().unwrap_or_default();
    let patch = patch(weights);
    let (mean, std) = weights.normalise.clone().unwrap_or_default();
    let environment = match &weights.run {
        Some(_) => read_json(&Path::new(from).join("env.json")),
        None => described.clone(),
    };
    let data = weights.run.as_ref().map(|run| json!(run.data.source));
    let mut metadata = json!({
        "format": FORMAT,
        "version": 1,
        "for": format,
        "encoder": weights.encoder_config,
        "patch": patch,
        "data": { "mean": mean, "std": std, "source": data },
        "block": config.block,
        "stem": if config.stem == Stem::Small { "small (3x3, stride 1, no pooling)" } else { "imagenet (7x7, stride 2, 3x3/2 max-pool)" },
        "width": config.width,
        "depths": config.depths,
        "input_size": size.map(|size| json!([config.in_channels, size, size])),
        "preprocessing": size.map(preprocessing),
        "num_classes": network.classes,
        "classes": class_names(from, weights, &described, network.classes),
        "weights": weights.averaged.map(|averaged| if averaged { "ema" } else { "raw" }),
        "step": weights.step,
        "run": described["run"].as_str().unwrap_or(from),
        "git_commit": environment["git_commit"],
        "selfie": env!("CARGO_PKG_VERSION"),
    });
    shorten_floats(&mut metadata);
    metadata
}

/// Settings of the patches: of the run, or those that the file records.
fn patch(weights: &Pretrained) -> Value {
    match &weights.run {
        Some(run) => json!(run.patch),
        None => weights.encoder.metadata().map(|described| described["patch"].clone()).unwrap_or_default(),
    }
}

/// Returns the side of the images: of the run or file, or 224 for a network of another project with the ImageNet stem, which
/// torchvision and timm use, and this program with it.
fn image_size(weights: &Pretrained, network: &Network) -> Option<usize> {
    let recorded = patch(weights)["image_size"].as_u64().map(|size| size as usize);
    recorded.or((network.config.stem == Stem::ImageNet).then_some(224))
}

/// What the program does to an image before it normalizes it.
fn preprocessing(size: usize) -> Value {
    json!({
        "exif_orientation": "applied",
        "transparency": "over white",
        "resize": Transform::eval_resize(size),
        "interpolation": "bilinear, antialiased",
        "center_crop": size,
        "not_resized": [size, size],
    })
}

/// The classes of the classifier, where the run or the file tells them.
fn class_names(from: &str, weights: &Pretrained, described: &Value, classes: Option<usize>) -> Value {
    let names = match &weights.run {
        Some(_) => Pretrained::open(&Path::new(from).join("resnet.safetensors"), None)
            .ok()
            .and_then(|resnet| resnet.encoder.metadata().map(|metadata| metadata["classes"].clone()))
            .unwrap_or_default(),
        None => described["classes"].clone(),
    };
    let fits = names.as_array().is_some_and(|names| Some(names.len()) == classes);
    if fits { names } else { Value::Null }
}

fn read_json(path: &Path) -> Value {
    std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
