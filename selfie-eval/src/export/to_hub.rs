//! Weights, settings and a card to a model repository of the hub.

use std::path::{Path, PathBuf};

use selfie_train::{HubFile, HubUpload};
use serde::Serialize;

use super::card::Card;
use super::{Export, Exported};
use crate::error::{Error, Result};

/// The weights' name in the repository, which other programs look for first.
const WEIGHTS: &str = "model.safetensors";

/// A repository that may be written.
pub struct HubTarget {
    upload: HubUpload,
    name: String,
}

/// What was uploaded.
#[derive(Debug, Clone, Serialize)]
pub struct Uploaded {
    /// The repository's page.
    pub address: String,
    /// The names of its files.
    pub files: Vec<String>,
    /// What the weights file is.
    #[serde(flatten)]
    pub exported: Exported,
}

impl HubTarget {
    /// The repository that `--to hf:OWNER/NAME` names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] where it is no such name; selfie-train's where there is no token.
    pub fn open(to: &str) -> Result<Self> {
        let Some(name) = to.strip_prefix("hf:") else {
            return Err(Error::config("--to", format!("met {to}, expected hf:OWNER/NAME")));
        };
        let upload = HubUpload::prepare(name).map_err(|error| match error {
            selfie_train::DataError::Config { reason, .. } => Error::config("--to", format!("met {reason}")),
            error => error.into(),
        })?;
        Ok(Self { upload, name: name.to_owned() })
    }

    /// Writes `export` into `folder`, which must hold none of its files, and uploads it with settings and card.
    ///
    /// # Errors
    /// Where a file cannot be written, or the hub refuses.
    pub fn send(&self, export: &Export, from: &str, license: Option<&str>, folder: &Path) -> Result<Uploaded> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let exported = export.write_for(&folder.join(WEIGHTS), Some(&self.name))?;
        let mut files = vec![exported.file.clone()];
        files.extend(exported.module.clone());
        let card = Card { repository: &self.name, from, license, exported: &exported };
        let mut add = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(Error::io(&path))?;
            files.push(path);
            Ok::<_, Error>(())
        };
        add("README.md", card.text())?;
        add("config.json", format!("{:#}\n", exported.metadata))?;
        if let Ok(settings) = std::fs::read_to_string(Path::new(from).join("config.toml")) {
            add("config.toml", settings)?;
        }
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files: Vec<_> = files.iter().map(|path| HubFile { name: name(path), path: path.clone() }).collect();
        let address = self.upload.send(&files, &format!("Weights of {from}"))?;
        Ok(Uploaded { address, files: files.into_iter().map(|file| file.name).collect(), exported })
    }
}
