//! Small JSON files that are written whole or not at all.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Writes `value` as JSON, and makes the folder that it lies in: to a temporary file beside it, which then takes its place.
///
/// # Errors
/// Where it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::io(path)(error.into()))?;
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text + "\n").map_err(Error::io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(Error::io(path))
}

/// What `path` holds; none where it is not there or not that.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
