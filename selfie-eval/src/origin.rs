//! Where weights come from, as `--from` says it: a run, a weights file, or nowhere.

use std::path::{Path, PathBuf};

use selfie_encoder::{EncoderConfig, Stem};
use selfie_patch::PatchConfig;
use selfie_train::{DataError, Pretrained, RunConfig, RunDir, Wanted, fetch_weights};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Where `env.json` of a fine-tuning run notes its origin.
const RECORD: &str = "finetune";

/// The word for no weights.
pub(crate) const SCRATCH: &str = "scratch";

/// What `--from` names.
#[derive(Debug, Clone)]
pub struct Origin {
    given: String,
    checkpoint: Option<String>,
    prefix: Option<String>,
    weights: Option<Pretrained>,
}

/// The run directory or weights file here that `option` names as `from`; weights of the hub (`hf:OWNER/NAME`) are
/// downloaded. `step` names a checkpoint, which only a run has.
///
/// # Errors
/// [`Error::Config`] where there is nothing of that name; selfie-train's errors where the hub has none.
pub fn weights_path(option: &str, from: &str, step: Option<u64>) -> Result<PathBuf> {
    let path = match from.strip_prefix("hf:") {
        None => PathBuf::from(from),
        Some(name) => fetch_weights(name).map_err(|error| match error {
            DataError::Config { reason, .. } => Error::config(option, format!("met {reason}")),
            error => error.into(),
        })?,
    };
    if !path.exists() {
        let reason = format!(
            "met {from}, but there is no such file or folder, expected a run, a weights file, hf:OWNER/NAME or the word \
             scratch"
        );
        return Err(Error::config(option, reason));
    }
    match step {
        Some(step) if path.is_file() => {
            Err(Error::config("--checkpoint", format!("met {step} with {option} {from}, a file, expected a run")))
        }
        _ => Ok(path),
    }
}

impl Origin {
    /// No weights at all.
    #[must_use]
    pub fn scratch() -> Self {
        Self { given: SCRATCH.to_owned(), checkpoint: None, prefix: None, weights: None }
    }

    /// Opens a run directory (its latest checkpoint, or the one of `step`), a weights file, `hf:OWNER/NAME`, or the word
    /// `scratch`. `prefix` chooses the network in a file of another project that contains several.
    ///
    /// # Errors
    /// Returns [`Error::Config`] if there is nothing of that name, and the errors of [`Pretrained::open`].
    pub fn open(from: &str, step: Option<u64>, prefix: Option<&str>) -> Result<Self> {
        let given = from.to_owned();
        if from == SCRATCH {
            return match step {
                None => Ok(Self::scratch()),
                Some(step) => {
                    Err(Error::config("--checkpoint", format!("met {step} with --from scratch, expected none")))
                }
            };
        }
        let wanted = Wanted { step, prefix, ..Wanted::default() };
        let weights = Pretrained::open_wanted(&weights_path("--from", from, step)?, &wanted)?;
        let prefix = prefix.map(str::to_owned);
        Ok(Self { given, checkpoint: Some(weights.file.display().to_string()), prefix, weights: Some(weights) })
    }

    /// What a fine-tuning run in `run` began with, by name only: its weights stand in its own checkpoint.
    ///
    /// # Errors
    /// Where `run` is no fine-tuning run.
    pub fn of_run(run: &RunDir) -> Result<Self> {
        let path = run.path().join("env.json");
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let environment: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(given) = environment[RECORD]["from"].as_str() else {
            let reason = "is no fine-tuning run, expected one that `finetune` made".to_owned();
            return Err(selfie_train::Error::RunDir { path: run.path().to_path_buf(), reason }.into());
        };
        let checkpoint = environment[RECORD]["checkpoint"].as_str().map(str::to_owned);
        let prefix = environment[RECORD]["prefix"].as_str().map(str::to_owned);
        Ok(Self { given: given.to_owned(), checkpoint, prefix, weights: None })
    }

    /// The same with its weights read again, for a run that was stopped before it had a checkpoint of its own.
    ///
    /// # Errors
    /// Where the weights are not there any more.
    pub fn reopened(&self) -> Result<Self> {
        let wanted = Wanted { prefix: self.prefix.as_deref(), ..Wanted::default() };
        let open = |file: &String| Pretrained::open_wanted(Path::new(file), &wanted);
        let weights = self.checkpoint.as_ref().map(open).transpose()?;
        Ok(Self { weights, ..self.clone() })
    }

    /// `environment` with what [`Origin::of_run`] reads.
    #[must_use]
    pub fn noted_in(&self, mut environment: Value) -> Value {
        environment[RECORD] = json!({ "from": self.given, "checkpoint": self.checkpoint });
        if let Some(prefix) = &self.prefix {
            environment[RECORD]["prefix"] = json!(prefix);
        }
        environment
    }

    /// As it was given.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The trunk's tensors and what is known of them; none from scratch.
    #[must_use]
    pub fn weights(&self) -> Option<&Pretrained> {
        self.weights.as_ref()
    }

    /// The weights file (of a run: its checkpoint).
    #[must_use]
    pub fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }

    /// The settings to start from, before a file and options are laid over them: the run's own; or those of `preset`;
    /// or what the weights file tells of its geometry. `told` says that a configuration file gives the settings,
    /// `data` that data other than the sample were named.
    ///
    /// # Errors
    /// [`Error::Config`] where nothing tells the geometry, or a run meets a preset.
    pub fn base(&self, preset: Option<&str>, told: bool, data: bool) -> Result<RunConfig> {
        let weights = self.weights.as_ref();
        if let Some(run) = weights.and_then(|weights| weights.run.as_ref()) {
            return match preset {
                None => Ok(run.clone()),
                Some(name) => {
                    let reason = format!(
                        "met {name} with --from {}, expected none: a run has its settings (--set changes them)",
                        self.given
                    );
                    Err(Error::config("--preset", reason))
                }
            };
        }
        let known = weights.and_then(|weights| weights.encoder_config.as_ref());
        let mut config = match (preset, known) {
            (Some(name), _) => RunConfig::preset(name)?,
            (None, Some(encoder)) => self.of_geometry(encoder)?,
            (None, None) if told => RunConfig::default(),
            (None, None) if weights.is_none() && !data => RunConfig::preset("sample")?,
            (None, None) => {
                let names: Vec<_> = RunConfig::preset_names().collect();
                let reason = format!(
                    "missing: --from {} tells no geometry, expected one of {}, or --config",
                    self.given,
                    names.join(", ")
                );
                return Err(Error::config("--preset", reason));
            }
        };
        if let Some((mean, std)) = weights.and_then(|weights| weights.normalise.clone()) {
            (config.data.mean, config.data.std) = (mean, std);
        }
        Ok(config)
    }

    /// The preset of the same stem, with the network and the grid of the weights file.
    fn of_geometry(&self, encoder: &EncoderConfig) -> Result<RunConfig> {
        let mut config = RunConfig::preset(if encoder.stem == Stem::Small { "cifar10" } else { "imagenet224" })?;
        config.encoder = encoder.clone();
        config.data.source = "sample".to_owned(); // a weights file tells no data
        let metadata = self.weights.as_ref().and_then(|weights| weights.encoder.metadata());
        let described = metadata.map(|metadata| metadata.get("config").unwrap_or(metadata));
        let patch = described.and_then(|described| described.get("patch")).cloned();
        if let Some(patch) = patch.and_then(|patch| serde_json::from_value::<PatchConfig>(patch).ok()) {
            config.patch = patch;
        }
        Ok(config)
    }
}
