//! The one training loop: whatever is trained goes through it, with the same accumulation, clipping, metrics, evaluation and checkpoints.
//!
//! Everything random is a function of the seed, the step and the place in the data, and the state that a checkpoint holds is the state that
//! the loop carries. So a run that is stopped anywhere and resumed makes the same bits as one that is not.

mod progress;
mod state;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::{Best, Checkpoint, Record};
use crate::config::Plan;
use crate::data::Loader;
use crate::error::{Error, Result};
use crate::gradients::{Gradients, clip_factor};
use crate::metrics::{HeldOutMetrics, MetricsFile, StepMetrics};
use crate::probe::{EvalSet, Evaluation, evaluate};
use crate::run_dir::RunDir;
use crate::schedule::learning_rate;
use crate::store::{ParamStore, Parameter};
use crate::task::{Phase, Task};
use progress::Progress;
pub use state::{TrainReport, TrainState};
use window::Window;

/// Set it, and the loop ends after the step it is at, with its state saved.
pub type StopFlag = Arc<AtomicBool>;

/// What the loop works on; the state that changes is [`TrainState`].
pub struct Trainer<'a, T: Task> {
    /// What is trained.
    pub task: &'a T,
    /// Its tensors.
    pub store: &'a ParamStore,
    /// Length, batch, cadence, optimiser and schedule.
    pub plan: &'a Plan,
    /// Training images, those of one epoch.
    pub epoch_images: usize,
    /// What is evaluated every `run.eval_every` steps and at the end.
    pub held_out: Option<EvalSet>,
    /// Where metrics and checkpoints go; nothing is written without.
    pub run_dir: Option<&'a RunDir>,
    /// The settings that every checkpoint carries.
    pub recipe: Value,
    /// No progress.
    pub quiet: bool,
    /// The request to stop.
    pub stop: StopFlag,
}

impl<T: Task> Trainer<'_, T> {
    /// Trains from `state` to the end of the plan on the batches of `loader`, which starts at [`TrainState::position`].
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a request to stop, with the state saved; else whatever failed, with the last checkpoint intact.
    pub fn train(&self, state: &mut TrainState, loader: &mut Loader) -> Result<TrainReport> {
        let run = &self.plan.run;
        let parameters = self.store.parameters();
        let mut metrics = match self.run_dir {
            Some(dir) => Some(MetricsFile::open(&dir.metrics_path(), state.step)?),
            None => None,
        };
        let progress = Progress::new(self.quiet, state.step, run.steps);
        let mut window = Window::new(loader.waited());
        let mut last = None;
        let mut held_out = None;
        let mut checkpoint = None;

        while state.step < run.steps {
            // One batch, in parts where it does not fit at once; their gradients add up to that of the batch.
            let gradients = self.gradients(state.step, loader, &parameters, &mut window)?;

            // One update.
            let lr = learning_rate(state.step, &self.plan.schedule, run.steps, self.plan.optim.lr);
            let is_last = state.step + 1 == run.steps;
            let log = (state.step + 1).is_multiple_of(run.log_every) || is_last;
            let clip = self.plan.optim.clip_norm;
            let grad_norm = if log || clip > 0.0 { gradients.norm()? } else { 0.0 };
            state.optimizer.step(&gradients, lr, clip_factor(grad_norm, clip))?;
            drop(gradients);
            state.step += 1;
            progress.tick(state.step);

            // What it came to: only here is the loss read from the device.
            if log {
                let line = self.measure(state, &window, loader, lr, grad_norm)?;
                progress.step(&line);
                write(&mut metrics, &line)?;
                last = Some(line);
                window.restart(loader.waited());
            }

            // Held-out images.
            if is_last || (run.eval_every > 0 && state.step.is_multiple_of(run.eval_every)) {
                window.pause();
                held_out = self.evaluate(state, &progress, &mut metrics)?;
                window.resume();
            }

            // State to disk: at its time, at the end, and when asked to stop.
            let stopping = self.stop.load(Ordering::Relaxed) && !is_last;
            let due = run.checkpoint_every > 0 && state.step.is_multiple_of(run.checkpoint_every);
            if due || is_last || stopping {
                window.pause();
                checkpoint = self.save(state)?;
                window.resume();
            }
            if stopping {
                progress.finish();
                return Err(Error::Interrupted { step: state.step, checkpoint });
            }
        }
        progress.finish();

        // A run that was complete already has nothing left but its evaluation.
        if held_out.is_none() {
            held_out = self.evaluate(state, &progress, &mut None)?;
        }
        Ok(TrainReport {
            steps: state.step,
            loss: last.as_ref().map_or(f64::NAN, |line| line.loss),
            accuracy: last.as_ref().map_or(f64::NAN, |line| line.accuracy),
            chance: self.task.chance(),
            images_per_second: window.session_images_per_second(),
            held_out,
            best: state.best,
            checkpoint,
        })
    }

    /// The gradient of the mean loss over one batch, which goes through the model in micro-batches.
    fn gradients(
        &self,
        step: u64,
        loader: &mut Loader,
        parameters: &[Parameter],
        window: &mut Window,
    ) -> Result<Gradients> {
        let batch = loader.next()?.ok_or_else(|| Error::config("run.steps", "the loader has no further batch"))?;
        let (size, micro) = (batch.len(), self.plan.run.micro_batch());
        let mut gradients = Gradients::default();
        for (part, start) in (0..size).step_by(micro).enumerate() {
            let piece = batch.narrow(start, micro.min(size - start))?;
            let output = self.task.loss(&piece, Phase::Train { step, part: part as u64 })?;
            let share = piece.len() as f64 / size as f64;
            let loss = if share == 1.0 { output.loss } else { (output.loss * share)? };
            gradients.add(Gradients::backward(&loss, parameters)?)?;
            window.add(&loss, &(output.accuracy * share)?, piece.len())?;
        }
        window.end_step();
        Ok(gradients)
    }

    fn measure(
        &self,
        state: &TrainState,
        window: &Window,
        loader: &Loader,
        lr: f64,
        grad_norm: f64,
    ) -> Result<StepMetrics> {
        let images = state.position(self.plan);
        Ok(StepMetrics {
            step: state.step,
            epoch: images as f64 / self.epoch_images.max(1) as f64,
            images,
            loss: window.loss()?,
            accuracy: window.accuracy()?,
            chance: self.task.chance(),
            lr,
            grad_norm,
            images_per_second: window.images_per_second(),
            data_wait: window.data_wait(loader.waited()),
            peak_rss_mb: crate::metrics::peak_rss_mb(),
        })
    }

    fn evaluate(
        &self,
        state: &mut TrainState,
        progress: &Progress,
        metrics: &mut Option<MetricsFile>,
    ) -> Result<Option<Evaluation>> {
        let Some(set) = &self.held_out else {
            return Ok(None);
        };
        let found = evaluate(self.task, set, self.store.device())?;
        if state.best.is_none_or(|best| found.accuracy > best.accuracy) {
            state.best = Some(Best { step: state.step, accuracy: found.accuracy });
        }
        progress.held_out(state.step, &found);
        let line = HeldOutMetrics {
            step: state.step,
            held_out_loss: found.loss,
            held_out_accuracy: found.accuracy,
            held_out_standard_error: found.standard_error,
            held_out_images: found.images,
            chance: found.chance,
        };
        write(metrics, &line)?;
        Ok(Some(found))
    }

    /// Writes a checkpoint, then moves `latest` to it; `None` without a run directory.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written; the one before is then intact.
    pub fn save(&self, state: &TrainState) -> Result<Option<PathBuf>> {
        let Some(dir) = self.run_dir else {
            return Ok(None);
        };
        let record = Record {
            step: state.step,
            updates: state.optimizer.updates(),
            position: state.position(self.plan),
            train_images: self.epoch_images as u64,
            best: state.best,
            config: self.recipe.clone(),
        };
        let path = dir.checkpoint(state.step);
        Checkpoint::write(&path, self.store, &state.optimizer, &record)?;
        dir.point_latest(state.step, self.plan.run.keep_last)?;
        Ok(Some(path))
    }
}

fn write(metrics: &mut Option<MetricsFile>, line: &impl Serialize) -> Result<()> {
    metrics.as_mut().map_or(Ok(()), |file| file.write(line))
}
