//! The state of a run, copied: training goes on while it is written.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{FORMAT, Record, VERSION};
use crate::ema::Ema;
use crate::error::{Error, Result};
use crate::optim::Optimizer;
use crate::store::{HostTensor, ParamStore, write_host};

/// Everything that a checkpoint holds, in memory of its own.
pub(crate) struct Snapshot {
    tensors: BTreeMap<String, HostTensor>,
    metadata: Value,
}

impl Snapshot {
    /// Copies the state.
    ///
    /// # Errors
    /// Where the device fails.
    pub(crate) fn take(store: &ParamStore, optimizer: &Optimizer, ema: Option<&Ema>, record: &Record) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in store.tensors() {
            tensors.insert(format!("model.{name}"), HostTensor::copy(&tensor)?);
        }
        tensors.extend(optimizer.copied_state()?.into_iter().map(|(name, copy)| (format!("optim.{name}"), copy)));
        let averages = ema.map_or(Ok(Vec::new()), Ema::copied)?;
        tensors.extend(averages.into_iter().map(|(name, copy)| (format!("ema.{name}"), copy)));
        let mut metadata =
            serde_json::to_value(record).map_err(|error| Error::config("checkpoint record", error.to_string()))?;
        metadata["format"] = FORMAT.into();
        metadata["version"] = VERSION.into();
        Ok(Self { tensors, metadata })
    }

    /// Writes it to `path`; whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub(crate) fn write(self, path: &Path) -> Result<()> {
        write_host(path, &self.tensors, self.metadata)
    }
}
