//! Named tensors of a file, and how their names change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde_json::Value;

use super::file::TensorFile;
use crate::error::{Error, Result};

/// Named tensors read from a file, on the CPU.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    metadata: Option<Value>,
}

impl Weights {
    /// Reads all tensors of a safetensors file, or of a file of `torch.save`; the content decides, not the name. Tensors of
    /// `torch.save` have their full names: the keys of all dictionaries above them, joined by dots.
    ///
    /// # Errors
    /// Returns [`Error::Weights`](crate::Error::Weights) if the file is missing, truncated or damaged, or names something
    /// besides tensors, or if a tensor has a type that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        TensorFile::open(path)?.read_all()
    }

    /// Tensors that were read from `path`.
    pub(super) fn of(path: &Path, tensors: BTreeMap<String, Tensor>, metadata: Option<Value>) -> Self {
        Self { path: path.to_path_buf(), tensors, metadata }
    }

    /// Checks that every value is finite.
    ///
    /// # Errors
    /// Returns [`Error::Weights`](crate::Error::Weights) with the name of the first tensor that contains NaN or an infinite
    /// value.
    pub fn check_finite(&self) -> Result<()> {
        for (name, tensor) in &self.tensors {
            let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let count = values.iter().filter(|value| !value.is_finite()).count();
            if count > 0 {
                let reason = format!("tensor {name}: {count} of {} values are NaN or infinite", values.len());
                return Err(Error::Weights { path: self.path.clone(), reason });
            }
        }
        Ok(())
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
