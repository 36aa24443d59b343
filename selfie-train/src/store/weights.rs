//! Weights in a safetensors file: reading with what is wrong said in one line, and writing that leaves no half a file.
//!
//! safetensors' metadata is a map without order, so ours is one entry, `selfie`, that holds sorted JSON: the same state is the
//! same bytes. It carries a CRC-32 of the tensors and of itself, which tells a damaged file from a good one. Tensors lie in the order
//! of their names.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files::replace_file;

/// The one metadata entry.
const ENTRY: &str = "selfie";
/// Where the checksum stands in it.
const CHECKSUM: &str = "crc32";

/// Named tensors read from a file, on the CPU.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    metadata: Option<Value>,
}

impl Weights {
    /// Reads any safetensors file; one of ours is checked against its checksum.
    ///
    /// # Errors
    /// [`Error::Weights`] where the file is missing, no safetensors file, cut short or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Weights { path: path.to_path_buf(), reason };
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("{error}, expected a safetensors file")))?;
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
            let mut rest = metadata.clone();
            let told = rest.as_object_mut().and_then(|entries| entries.remove(CHECKSUM)).unwrap_or_default();
            rest.sort_all_objects();
            let found = checksum(std::iter::once(&bytes[8 + header..]), &rest);
            if told != found {
                return Err(wrong(format!("damaged: its content has checksum {found}, expected {told}")));
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

/// Writes `f32` tensors and `metadata` (a JSON object) to `path`: to a temporary file, flushed to disk, then renamed.
///
/// # Errors
/// [`Error::Io`] where the disk is full or the folder cannot be written; whatever stood at `path` is then untouched.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>, mut metadata: Value) -> Result<()> {
    let mut data = Vec::with_capacity(tensors.len());
    for tensor in tensors.values() {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        data.push(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
    metadata.sort_all_objects();
    let checksum = checksum(data.iter().map(Vec::as_slice), &metadata);
    metadata[CHECKSUM] = Value::String(checksum);
    metadata.sort_all_objects();
    let header = header(tensors, &metadata);
    replace_file(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        data.iter().try_for_each(|bytes| out.write_all(bytes))?;
        out.flush()
    })
}

/// The JSON that opens a safetensors file: metadata, then type, shape and place of each tensor; padded to 8 bytes.
fn header(tensors: &BTreeMap<String, Tensor>, metadata: &Value) -> String {
    let mut entries = vec![format!("\"__metadata__\":{}", json!({ ENTRY: metadata.to_string() }))];
    let mut start = 0;
    for (name, tensor) in tensors {
        let end = start + 4 * tensor.elem_count();
        // Written piece by piece, so that the order of the keys is ours.
        let (name, shape) = (json!(name), json!(tensor.dims()));
        entries.push(format!("{name}:{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}"));
        start = end;
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    header
}

/// CRC-32 over all tensors and then the metadata without it, as eight hexadecimal digits.
fn checksum<'a>(tensors: impl Iterator<Item = &'a [u8]>, metadata: &Value) -> String {
    let mut hasher = crc32fast::Hasher::new();
    tensors.for_each(|bytes| hasher.update(bytes));
    hasher.update(metadata.to_string().as_bytes());
    format!("{:08x}", hasher.finalize())
}
