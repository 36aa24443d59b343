//! Weights on the Hugging Face hub: `hf:OWNER/NAME`, maybe with a folder or file behind it and a revision.
//!
//! The one weights file of the repository is downloaded into the hub's cache. It is looked up anew each time, so that the latest is
//! taken; without a network the one that is there serves.

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

use super::{DataError, DataResult, Hub, Listed, RepoName};

/// What is taken of several files, first to last.
const NAMES: [&str; 3] = ["model.safetensors", "encoder.safetensors", "pytorch_model.bin"];
/// Endings of weights files, the better first.
const SUFFIXES: [&str; 3] = [".safetensors", ".pth", ".pt"];

/// Downloads the weights that `name` (`OWNER/NAME`) holds; the file in the hub's cache.
///
/// # Errors
/// [`DataError::HubRefused`] where it is not there or not granted; [`DataError::Hub`] where the hub cannot be reached, or holds no
/// weights or several.
pub fn fetch_weights(name: &str) -> DataResult<PathBuf> {
    Hub::from_env().of(RepoType::Model).weights(&name.parse()?)
}

impl Hub {
    /// As [`fetch_weights`].
    pub(super) fn weights(&self, name: &RepoName) -> DataResult<PathBuf> {
        let snapshot = match self.fetch(name) {
            Err(error @ DataError::Hub { .. }) => self.complete(name).ok_or(error),
            fetched => fetched,
        }?;
        let [file] = snapshot.files.as_slice() else {
            let reason = format!("{} weights files, expected one", snapshot.files.len());
            return Err(DataError::Hub { name: name.to_string(), reason });
        };
        Ok(file.clone())
    }
}

/// The weights file among those of a repository: the one of a usual name, else the only one of the best kind.
pub(super) fn wanted(files: &[Listed]) -> Vec<Listed> {
    let base = |file: &Listed| Path::new(&file.name).file_name().unwrap_or_default().to_owned();
    for name in NAMES {
        if let Some(file) = files.iter().find(|file| base(file) == *name) {
            return vec![file.clone()];
        }
    }
    let of_kind = |suffix: &&str| files.iter().filter(|file| file.name.ends_with(*suffix)).cloned().collect::<Vec<_>>();
    SUFFIXES.iter().map(of_kind).find(|found| !found.is_empty()).unwrap_or_default()
}
