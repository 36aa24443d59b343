//! `result.json`: the JSON line of a command, kept beside what it was computed from.

use std::path::{Path, PathBuf};

use selfie_eval::{Error, Result, write_json};
use serde::Serialize;

const NAME: &str = "result.json";

/// Whether an evaluation may write into `folder`; asked before any work.
pub fn check_free(folder: Option<&Path>) -> Result<()> {
    match folder {
        Some(folder) if folder.join(NAME).exists() => {
            let reason = format!("{} holds a {NAME} already, expected a new folder", folder.display());
            Err(Error::config("--out", reason))
        }
        Some(folder) if folder.exists() && !folder.is_dir() => {
            Err(Error::config("--out", format!("{} is a file, expected a folder", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Writes `result` into `folder`, which is made where it is not there: whole, or not at all.
pub fn write(folder: &Path, result: &impl Serialize) -> Result<PathBuf> {
    let path = folder.join(NAME);
    write_json(&path, result)?;
    Ok(path)
}
