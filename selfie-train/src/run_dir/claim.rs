//! Names of new runs, each taken by one process only.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::clock::utc_now;
use crate::error::{Error, Result};

/// A new directory for a run that has not begun yet. Dropping the claim removes the directory if nothing was written into it.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// The folder above, if it is new too.
    new_folder: Option<PathBuf>,
}

impl Claim {
    /// Makes `runs/NAME-DATE-seedN`, or the first free one of `...-2`, `...-3`; of two processes each gets its own.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be made.
    pub fn of(name: &str, seed: u64) -> Result<Self> {
        Self::below(Path::new("runs"), name, seed)
    }

    fn below(folder: &Path, name: &str, seed: u64) -> Result<Self> {
        let new_folder = (!folder.exists()).then(|| folder.to_path_buf());
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let (year, month, day) = utc_now().date();
        let name = format!("{name}-{year:04}{month:02}{day:02}-seed{seed}");
        let mut number = 1;
        loop {
            let path = folder.join(if number == 1 { name.clone() } else { format!("{name}-{number}") });
            // Making a directory is atomic: only one process succeeds.
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, new_folder }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io(path)(error)),
            }
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Both fail if a run has begun there.
        let _ = fs::remove_dir(&self.path);
        let _ = self.new_folder.as_ref().map(fs::remove_dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_gets_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let claims: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Claim::below(folder.path(), "quick", 3).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut paths: Vec<_> = claims.iter().map(|claim| claim.path().to_path_buf()).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 8);
        fs::write(paths[0].join("env.json"), "{}").unwrap();
        drop(claims);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [paths[0].clone()]);
    }
}
