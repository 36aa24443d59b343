//! One process at a time trains in a run directory: a lock that the system takes back when the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::RunDir;
use crate::error::{Error, Result};

/// How often the lock is asked for: a look at whether a run is alive (`runs`) holds it for a moment.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// The file that is locked.
const NAME: &str = "run.lock";

/// The right to write into a run directory; given back when dropped.
#[derive(Debug)]
pub struct RunLock {
    /// Closing it frees the lock.
    _file: File,
}

impl RunLock {
    /// Takes `folder`, which is made where it is not there, for this process.
    ///
    /// # Errors
    /// [`Error::RunDir`] where another process has it, by its number; [`Error::Io`] where it cannot be written.
    pub fn of(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(NAME);
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let process = fs::read_to_string(&path).unwrap_or_default();
                    let reason = format!(
                        "process {} is training in it, expected one at a time (another --out, or wait for it)",
                        process.trim()
                    );
                    return Err(Error::RunDir { path: folder.to_path_buf(), reason });
                }
                Err(TryLockError::Error(error)) => {
                    // Some network file systems have no locks; training matters more.
                    tracing::warn!("{}: no lock can be had: {error}", path.display());
                    break;
                }
            }
        }
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(Error::io(&path))?;
        Ok(Self { _file: file })
    }
}

impl RunDir {
    /// Takes the directory for this process.
    ///
    /// # Errors
    /// As [`RunLock::of`].
    pub fn lock(&self) -> Result<RunLock> {
        RunLock::of(self.path())
    }

    /// Whether a process is training in the directory now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let file = File::open(self.path().join(NAME));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_the_first_one_s_number() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir { path: folder.path().to_path_buf() };
        assert!(!run.is_locked());
        let first = run.lock().unwrap();
        assert!(run.is_locked());
        let error = run.lock().unwrap_err();
        assert!(error.is_config() && error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        assert!(!run.is_locked());
        run.lock().unwrap();
    }
}
