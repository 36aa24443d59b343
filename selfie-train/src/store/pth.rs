//! Index of a file of `torch.save` (`.pth`, `.pt`, `.ckpt`): its tensors by name, each read when it is requested.
//!
//! Two layouts exist. Since PyTorch 1.6 the file is a zip archive that contains one pickle and one member per storage
//! ([`archive`]); before, it was a sequence of pickles followed by the storages ([`legacy`]). Both pickles are interpreted by
//! [`pickle`], which accepts what `torch.load(weights_only=True)` accepts and calls nothing. Candle's own reader is not used:
//! it rejects the objects that training programs store beside a state_dict, such as `Counter` or `torch.Size`.
//!
//! Every tensor is checked against the size of its storage, so that a file cannot request more memory than it has bytes.

mod archive;
mod legacy;
mod named;
mod names;
mod object;
mod pickle;
mod tensor;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use candle_core::Tensor;

use tensor::Described;

/// How a zip archive begins.
const ZIP: &[u8] = b"PK\x03\x04";

/// The tensors of a file and the places of their storages in it.
#[derive(Debug)]
pub(super) struct Pth {
    tensors: BTreeMap<String, Described>,
    storages: HashMap<String, Range<usize>>,
}

/// Returns whether `bytes` are a file of `torch.save`, in either layout.
pub(super) fn is_pth(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP) || is_pickle(bytes)
}

/// Returns whether `bytes` begin with a pickle of protocol 2 or later.
fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

impl Pth {
    /// Reads the index of a file.
    ///
    /// # Errors
    /// Returns the reason in words if the file is damaged, contains a name that `torch.load(weights_only=True)` rejects, or
    /// contains no tensor.
    pub(super) fn index(bytes: &[u8]) -> Result<Self, String> {
        let (pickle, storages) = if is_pickle(bytes) { legacy::parts(bytes)? } else { archive::parts(bytes)? };
        let tensors = named::tensors(&pickle)?;
        if tensors.is_empty() {
            return Err("contains no tensor, expected a state_dict (torch.save(model.state_dict(), FILE))".to_owned());
        }
        Ok(Self { tensors, storages })
    }

    /// Returns the name and the shape of every tensor, in the order of the names.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape()))
    }

    /// Reads the tensor `name` of the file with these bytes, as `f32` on the CPU; its size in bytes is taken from `budget`.
    ///
    /// # Errors
    /// Returns the reason in words if the tensor does not fit into its storage, has a type that is not read, or exceeds the
    /// budget.
    pub(super) fn read(&self, bytes: &[u8], name: &str, budget: &mut usize) -> Result<Tensor, String> {
        let tensor = self.tensors.get(name).ok_or("is missing")?;
        let key = tensor.storage();
        let place = self.storages.get(key).ok_or_else(|| format!("its storage {key} is missing"))?;
        tensor.read(&bytes[place.clone()], budget)
    }
}

#[cfg(test)]
#[path = "pth/tests.rs"]
mod tests;
