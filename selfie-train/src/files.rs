//! Files that are whole or not there: temporary file, flush to disk, rename.
//!
//! A process killed at any moment leaves either the old file or the new one. The temporary file has the name of the
//! target with `.tmp` behind it, so that the next write takes the same one and nothing piles up.

use std::fs::File;
use std::io::{Result as IoResult, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Makes `path` hold what `write` writes, or leaves it as it was.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&mut File) -> IoResult<()>) -> Result<()> {
    let temporary = temporary_name(path);
    let written = File::create(&temporary).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| std::fs::rename(&temporary, path)) {
        // The temporary file may not exist; the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io(path)(error));
    }
    sync_folder(path)
}

/// As [`replace_file`], with the whole content at once.
pub(crate) fn replace_with(path: &Path, content: &[u8]) -> Result<()> {
    replace_file(path, |file| file.write_all(content))
}

/// Flushes the folder of `path`, so that a rename in it survives a power cut; other systems do so themselves.
fn sync_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(path))?;
    }
    Ok(())
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
