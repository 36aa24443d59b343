//! Checkpoints written beside the training: the loop copies its state, a thread of its own brings the copy to disk and then moves `latest`.
//!
//! One is written at a time; the next waits for it. What fails is told at the next step, and ends the run: the checkpoint
//! before is intact.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::checkpoint::Snapshot;
use crate::config::RunSettings;
use crate::error::{Error, Result};
use crate::run_dir::{Keep, RunDir};

/// Writes the checkpoints of one run.
pub(super) struct Saver {
    run_dir: Option<RunDir>,
    keep: Keep,
    writing: Option<(u64, JoinHandle<Result<()>>)>,
    /// The step of the last checkpoint that is safe.
    last: Option<u64>,
}

impl Saver {
    /// A saver that writes into `run_dir`, or nothing.
    pub(super) fn new(run_dir: Option<&RunDir>, run: &RunSettings) -> Self {
        let known = run_dir.and_then(|dir| dir.latest_step());
        let keep = Keep { last: run.keep_last, every: run.keep_every };
        Self { run_dir: run_dir.cloned(), keep, writing: None, last: known }
    }

    /// The step of the last checkpoint that is safe.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Takes a snapshot and begins to write it, after the one before it is on disk.
    pub(super) fn save(&mut self, step: u64, snapshot: impl FnOnce() -> Result<Snapshot>) -> Result<()> {
        let Some(run_dir) = self.run_dir.clone() else {
            return Ok(());
        };
        let begun = Instant::now();
        self.wait()?;
        let waited = begun.elapsed();
        let snapshot = snapshot()?;
        let stalled = begun.elapsed();
        tracing::info!(step, ?waited, ?stalled, "state copied");
        let keep = self.keep;
        let write = move || {
            let begun = Instant::now();
            let path = run_dir.checkpoint(step);
            snapshot.write(&path)?;
            run_dir.point_latest(step, keep)?;
            tracing::info!(step, path = %path.display(), took = ?begun.elapsed(), "checkpoint written");
            Ok(())
        };
        let thread = std::thread::Builder::new().name("selfie-checkpoint".to_owned()).spawn(write);
        let thread = thread.map_err(|error| self.failed(step, Error::io("a thread for the checkpoint")(error)))?;
        self.writing = Some((step, thread));
        Ok(())
    }

    /// Tells, without waiting, whether what was being written has failed.
    pub(super) fn check(&mut self) -> Result<()> {
        match &self.writing {
            Some((_, thread)) if thread.is_finished() => self.wait(),
            _ => Ok(()),
        }
    }

    /// Waits until what is being written is safe.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.wait()
    }

    /// Waits until everything is on disk; the last checkpoint, where there is a run directory and one was written.
    pub(super) fn finish(&mut self) -> Result<Option<PathBuf>> {
        self.wait()?;
        let path = |dir: &RunDir| self.last.map(|step| dir.checkpoint(step));
        Ok(self.run_dir.as_ref().and_then(path))
    }

    fn wait(&mut self) -> Result<()> {
        let Some((step, thread)) = self.writing.take() else {
            return Ok(());
        };
        let panicked = |_| Err(Error::io("the checkpoint's thread")(std::io::Error::other("it panicked")));
        thread.join().unwrap_or_else(panicked).map_err(|error| self.failed(step, error))?;
        self.last = Some(step);
        Ok(())
    }

    fn failed(&self, step: u64, source: Error) -> Error {
        Error::NotSaved { step, last: self.last, source: Box::new(source) }
    }
}

impl Drop for Saver {
    /// What is being written is written to its end, also where training ends with an error.
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            tracing::error!("{error}");
        }
    }
}
