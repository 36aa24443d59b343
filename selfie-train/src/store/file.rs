//! A file of tensors, of this project or of another one: its index first, each tensor when it is requested.
//!
//! Files of other projects contain tensors of types that Candle does not have (`bool`, `int8`, complex numbers). They are
//! never read unless the network needs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::safetensors::Load;
use safetensors::SafeTensors;
use serde_json::Value;

use super::Weights;
use super::host::{CHECKSUM, ENTRY, checksum_of};
use super::pth::{self, Pth};
use crate::error::{Error, Result};

/// Shapes of tensors by their names.
type Shapes = BTreeMap<String, Vec<usize>>;

/// A file of tensors, not read yet.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    format: Format,
    metadata: Option<Value>,
}

#[derive(Debug)]
enum Format {
    /// Safetensors: shapes by name.
    Safetensors(Shapes),
    /// A file of `torch.save`.
    Pth(Pth),
}

impl TensorFile {
    /// Reads the index of a safetensors file or of a file of `torch.save`; the content decides, not the name. A file of this
    /// project is compared with its checksum.
    ///
    /// # Errors
    /// Returns [`Error::Weights`] if there is no such file, or it is truncated or damaged, or names something besides tensors.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Weights { path: path.to_path_buf(), reason };
        // A pipe or a device could go on without end.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(wrong("is not a regular file, expected a safetensors file or one of torch.save".to_owned()));
        }
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("{error}, expected a safetensors file")))?;
        let (format, metadata) = if pth::is_pth(&bytes) {
            let name = path.display().to_string();
            (Format::Pth(Pth::index(&bytes).map_err(|reason| wrong(reason.replace("FILE", &name)))?), None)
        } else {
            let (shapes, metadata) = safetensors_index(&bytes).map_err(wrong)?;
            (Format::Safetensors(shapes), metadata)
        };
        Ok(Self { path: path.to_path_buf(), bytes, format, metadata })
    }

    /// Returns what the file contains about itself; `None` unless this project wrote it.
    pub(crate) fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// Returns the shape of every tensor by its name.
    pub(crate) fn shapes(&self) -> Shapes {
        match &self.format {
            Format::Safetensors(shapes) => shapes.clone(),
            Format::Pth(pth) => pth.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect(),
        }
    }

    /// Reads all tensors.
    ///
    /// # Errors
    /// Returns [`Error::Weights`] with the name of a tensor that cannot be read.
    pub(crate) fn read_all(&self) -> Result<Weights> {
        let names: Vec<_> = self.shapes().into_keys().map(|name| (name.clone(), name)).collect();
        self.read(&names)
    }

    /// Reads tensors, given as pairs of the new name and the name in the file.
    ///
    /// # Errors
    /// Returns [`Error::Weights`] with the name of a tensor that is missing or cannot be read.
    pub(crate) fn read(&self, names: &[(String, String)]) -> Result<Weights> {
        let wrong = |reason: String| Error::Weights { path: self.path.clone(), reason };
        let opened = match &self.format {
            Format::Safetensors(_) => {
                Some(SafeTensors::deserialize(&self.bytes).map_err(|error| wrong(error.to_string()))?)
            }
            Format::Pth(_) => None,
        };
        let mut budget = 2 * self.bytes.len(); // two views of one storage are two tensors
        let mut tensors = BTreeMap::new();
        for (new, name) in names {
            let tensor = match (&self.format, &opened) {
                (Format::Pth(pth), _) => pth.read(&self.bytes, name, &mut budget),
                (_, Some(opened)) => opened
                    .tensor(name)
                    .map_err(|error| error.to_string())
                    .and_then(|view| view.load(&Device::Cpu).map_err(|error| error.to_string())),
                (_, None) => Err("is missing".to_owned()),
            };
            tensors.insert(new.clone(), tensor.map_err(|reason| wrong(format!("tensor {name}: {reason}")))?);
        }
        Ok(Weights::of(&self.path, tensors, self.metadata.clone()))
    }
}

/// Returns the shapes of a safetensors file, and the metadata that this project writes.
fn safetensors_index(bytes: &[u8]) -> std::result::Result<(Shapes, Option<Value>), String> {
    let (header, described) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("is neither a complete safetensors file nor one of torch.save: {error}"))?;
    let entry = described.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
    let metadata: Option<Value> =
        entry.map(|text| serde_json::from_str(text)).transpose().map_err(|error| format!("metadata: {error}"))?;
    if let Some(metadata) = &metadata {
        let found = checksum_of(&bytes[8..8 + header], &bytes[8 + header..], metadata);
        let stated = &metadata[CHECKSUM];
        if *stated != found {
            return Err(format!("damaged: its content has checksum {found}, expected {stated}"));
        }
    }
    let shapes = described.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
    Ok((shapes, metadata))
}
