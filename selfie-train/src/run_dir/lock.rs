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

/// The right to write into a run directory; given back when dropped.
#[derive(Debug)]
pub struct RunLock {
    /// Closing it frees the lock.
    _file: File,
}

impl RunDir {
    /// Takes the directory for this process.
    ///
    /// # Errors
    /// [`Error::RunDir`] where another process has it, by its number; [`Error::Io`] where the directory cannot be written.
    pub fn lock(&self) -> Result<RunLock> {
        let path = self.lock_path();
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
                    return Err(Error::RunDir { path: self.path().to_path_buf(), reason });
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
        Ok(RunLock { _file: file })
    }

    /// Whether a process is training in the directory now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let file = File::open(self.lock_path());
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn lock_path(&self) -> std::path::PathBuf {
        Path::new(self.path()).join("run.lock")
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
