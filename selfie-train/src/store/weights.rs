//! Weights read from a safetensors file or one of PyTorch's, with what is wrong said in one line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde_json::Value;

use super::host::{CHECKSUM, ENTRY, checksum_of};
use super::pth;
use crate::error::{Error, Result};

/// Named tensors read from a file, on the CPU.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    metadata: Option<Value>,
}

impl Weights {
    /// Reads any safetensors file (one of ours is checked against its checksum), or the tensors that `torch.save` wrote; what
    /// the file holds decides, not its name.
    ///
    /// # Errors
    /// [`Error::Weights`] where the file is missing, no such file, cut short or damaged, or asks for more than tensors.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Weights { path: path.to_path_buf(), reason };
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("{error}, expected a safetensors file")))?;
        if pth::is_pth(&bytes) {
            let tensors = pth::read(&bytes).map_err(wrong)?;
            return Ok(Self { path: path.to_path_buf(), tensors, metadata: None });
        }
        let (header, described) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| wrong(format!("no complete safetensors file: {error}")))?;
        let entry = described.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
        let metadata = match entry {
            None => None,
            Some(text) => {
                Some(serde_json::from_str::<Value>(text).map_err(|error| wrong(format!("metadata: {error}")))?)
            }
        };
        if let Some(metadata) = &metadata {
            let (found, stated) =
                (checksum_of(&bytes[8..8 + header], &bytes[8 + header..], metadata), &metadata[CHECKSUM]);
            if *stated != found {
                return Err(wrong(format!("damaged: its content has checksum {found}, expected {stated}")));
            }
        }
        let tensors =
            candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: path.to_path_buf(), tensors: tensors.into_iter().collect(), metadata })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says of itself, where it is one of ours.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// Names and tensors, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Only the tensors below `prefix` (`encoder` takes `encoder.conv1.weight` as `conv1.weight`).
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        let inner = |name: &String| name.strip_prefix(prefix)?.strip_prefix('.').map(str::to_owned);
        self.renamed(|name| inner(name))
    }

    /// All tensors, with `prefix` and a dot in front of their names.
    #[must_use]
    pub fn above(&self, prefix: &str) -> Self {
        self.renamed(|name| Some(format!("{prefix}.{name}")))
    }

    fn renamed(&self, rename: impl Fn(&String) -> Option<String>) -> Self {
        let tensors = self.tensors.iter().filter_map(|(name, tensor)| Some((rename(name)?, tensor.clone()))).collect();
        Self { path: self.path.clone(), tensors, metadata: self.metadata.clone() }
    }
}
