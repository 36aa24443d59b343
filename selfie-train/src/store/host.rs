//! Tensors in plain memory, and the safetensors file that they become.
//!
//! A copy is apart from the model, which may train on while the file is written. The file carries one metadata entry: sorted JSON with a
//! CRC-32 of the tensors and of itself, so that the same state is the same bytes and a damaged file is known. Tensors lie in the order
//! of their names.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

use crate::error::Result;
use crate::files::replace_file;
use crate::shortest::shorten_floats;

/// The one metadata entry.
pub(super) const ENTRY: &str = "selfie";
/// Where the checksum stands in it.
pub(super) const CHECKSUM: &str = "crc32";
/// Where it says what the checksum covers, and the word for the whole file.
const COVERS: &str = "crc32_of";
const FILE: &str = "file";
/// Stands for the checksum while it is computed.
const BLANK: &str = "00000000";
/// Values that are turned into bytes at once; they stay in a core's first cache.
const CHUNK: usize = 1 << 12;

/// A tensor's shape and values.
#[derive(Debug, Clone)]
pub(crate) struct HostTensor {
    dims: Vec<usize>,
    values: Vec<f32>,
}

impl HostTensor {
    /// A copy of `tensor` as `f32`.
    pub(crate) fn copy(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self { dims: tensor.dims().to_vec(), values })
    }

    /// A copy of `values` in the shape of `dims`.
    pub(crate) fn of(dims: &[usize], values: &[f32]) -> Self {
        Self { dims: dims.to_vec(), values: values.to_vec() }
    }

    /// The same as a tensor on the CPU.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values, self.dims, &Device::Cpu)?)
    }

    /// Adds the values, as a file holds them, to a checksum.
    fn hash_into(&self, hasher: &mut crc32fast::Hasher) {
        let hashed: std::result::Result<(), std::convert::Infallible> = self.bytes(|bytes| {
            hasher.update(bytes);
            Ok(())
        });
        let Ok(()) = hashed;
    }

    /// The values as the file holds them, piece by piece.
    fn bytes<E>(&self, mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>) -> std::result::Result<(), E> {
        let mut buffer = [0; 4 * CHUNK];
        for values in self.values.chunks(CHUNK) {
            let bytes = &mut buffer[..4 * values.len()];
            bytes.chunks_exact_mut(4).zip(values).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
            take(bytes)?;
        }
        Ok(())
    }
}

/// The CRC-32 of names and values: what tells weights from other weights, wherever they lie.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let of = |name: &str, value: f32| selfie_train::checksum([(name, &Tensor::new(&[1.0, value], &Device::Cpu)?)]);
/// assert_eq!(of("a", 2.0)?, of("a", 2.0)?);
/// assert_ne!(of("a", 2.0)?, of("b", 2.0)?);
/// assert_ne!(of("a", 2.0)?, of("a", 2.5)?);
/// # Ok::<(), selfie_train::Error>(())
/// ```
///
/// # Errors
/// Where the device fails.
pub fn checksum<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        HostTensor::copy(tensor)?.hash_into(&mut hasher);
    }
    Ok(hasher.finalize())
}

/// Writes `f32` tensors and `metadata` (a JSON object) to `path`: to a temporary file, flushed to disk, then renamed.
///
/// # Errors
/// [`crate::Error::Io`] where the disk is full or the folder cannot be written; whatever stood at `path` is then untouched.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>, mut metadata: Value) -> Result<()> {
    shorten_floats(&mut metadata);
    let copied = tensors.iter().map(|(name, tensor)| Ok((name.clone(), HostTensor::copy(tensor)?)));
    write_host(path, &copied.collect::<Result<_>>()?, metadata)
}

/// As [`write_tensors`], of tensors that are copied already.
pub(crate) fn write_host(path: &Path, tensors: &BTreeMap<String, HostTensor>, mut metadata: Value) -> Result<()> {
    metadata[CHECKSUM] = Value::String(BLANK.to_owned());
    metadata[COVERS] = Value::String(FILE.to_owned());
    metadata.sort_all_objects();
    let blank = header(tensors, &metadata);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(blank.as_bytes());
    for tensor in tensors.values() {
        tensor.hash_into(&mut hasher);
    }
    metadata[CHECKSUM] = Value::String(format!("{:08x}", hasher.finalize()));
    let header = header(tensors, &metadata); // as long as with the blank checksum
    replace_file(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        tensors.values().try_for_each(|tensor| tensor.bytes(|bytes| out.write_all(bytes)))?;
        out.flush()
    })
}

/// The checksum that a file of ours should have, from its `header`, the bytes of its tensors, and what it says of itself.
///
/// It covers the whole file, with the checksum itself blanked out; in files of earlier versions the tensors and the metadata.
pub(super) fn checksum_of(header: &[u8], tensors: &[u8], metadata: &Value) -> String {
    let mut hasher = crc32fast::Hasher::new();
    if metadata[COVERS] == FILE {
        let stated = format!("{CHECKSUM}\\\":\\\"{}", metadata[CHECKSUM].as_str().unwrap_or_default());
        let at = header.windows(stated.len()).position(|window| window == stated.as_bytes());
        let (before, after) = header.split_at(at.map_or(0, |at| at + stated.len()));
        hasher.update(&before[..before.len().saturating_sub(BLANK.len())]);
        hasher.update(if before.is_empty() { b"" } else { BLANK.as_bytes() });
        hasher.update(after);
        hasher.update(tensors);
    } else {
        let mut rest = metadata.clone();
        rest.as_object_mut().map(|entries| entries.remove(CHECKSUM));
        rest.sort_all_objects();
        hasher.update(tensors);
        hasher.update(rest.to_string().as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}

/// The JSON that opens a safetensors file: metadata, then type, shape and place of each tensor; padded to 8 bytes.
fn header(tensors: &BTreeMap<String, HostTensor>, metadata: &Value) -> String {
    let mut entries = vec![format!("\"__metadata__\":{}", json!({ ENTRY: metadata.to_string() }))];
    let mut start = 0;
    for (name, tensor) in tensors {
        let end = start + 4 * tensor.values.len();
        // Written piece by piece, so that the order of the keys is ours.
        let (name, shape) = (json!(name), json!(tensor.dims));
        entries.push(format!("{name}:{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}"));
        start = end;
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    header
}
