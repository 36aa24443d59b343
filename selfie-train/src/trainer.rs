//! The one training loop: whatever is trained goes through it, with the same accumulation, clipping, metrics, evaluation and checkpoints.
//!
//! Everything random is a function of the seed, the step and the place in the data, and the state that a checkpoint holds is the state that
//! the loop carries. So a run that is stopped anywhere and resumed makes the same bits as one that is not. State is saved before
//! held-out images are evaluated, so a run that resumes from a step with an evaluation begins with it. What watches the loop
//! ([`Journal`]) and what writes beside it ([`Saver`]) are called from it, top to bottom, and change nothing of the state.

mod exchange;
mod finite;
mod journal;
mod pass;
mod progress;
mod saver;
mod state;
mod watch;
mod window;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use crate::checkpoint::{Best, Record, Snapshot, TrainingImages};
use crate::config::Plan;
use crate::data::{DataError, Loader};
use crate::error::{Error, Result};
use crate::gradients::clip_factor;
use crate::metrics::{HeldOutMetrics, StepMetrics, feature_std};
use crate::probe::{EvalSet, Evaluation, KnnProbe, evaluate};
use crate::ranks::Ranks;
use crate::run_dir::RunDir;
use crate::schedule::learning_rate;
use crate::store::ParamStore;
use crate::task::Task;
use journal::Journal;
pub use progress::{bar_style, words};
use saver::Saver;
pub use state::{TrainReport, TrainState};
use window::{Waited, Window};

/// Set it, and the loop ends after the step that it computes, with its state saved; several ranks on GPUs, after the next that is looked at.
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
    pub images: TrainingImages,
    /// The processes that take part; what follows is rank 0's affair.
    pub ranks: &'a Ranks,
    /// What is evaluated every `run.eval_every` steps and at the end.
    pub held_out: Option<EvalSet>,
    /// A look at the features beside it, where there are labels.
    pub knn: Option<KnnProbe>,
    /// Where metrics and checkpoints go; nothing is written without. The caller holds its lock.
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
    /// [`Error::Interrupted`] after a request to stop, with the state saved; [`Error::NotFinite`], [`Error::NotSaved`]; else whatever
    /// failed, with the last checkpoint intact.
    pub fn train(&self, state: &mut TrainState, loader: &mut Loader) -> Result<TrainReport> {
        let run = &self.plan.run;
        self.ranks.broadcast(self.store)?;
        let parameters = self.store.parameters();
        let mut journal = Journal::open(self.run_dir, self.plan, self.task.chance(), self.quiet, state.step)?;
        let mut saver = Saver::new(self.run_dir, run);
        let mut window = Window::new(self.waited(loader));
        let mut last = None;

        // The checkpoint that this session begins with was saved before the evaluation of its step.
        let mut saved_best = state.best;
        let mut held_out = None;
        if state.step > 0 && self.evaluates_after(state.step) {
            held_out = self.evaluate(state, &mut journal)?;
        }

        while state.step < run.steps {
            // One batch, in parts: those of the ranks, and what fits into one at once. Their gradients add up to that of the batch.
            let no_batch = || Error::config("run.steps", "the loader has no further batch");
            let batch = loader.next()?.ok_or_else(no_batch)?;
            let statistics = self.statistics()?;
            let mut pass = self.pass(&batch, state.step, &parameters)?;
            let asked_to_stop = self.exchange(&mut pass, state.step + 1)?;
            // Whoever stops looks first, to save nothing that is not sound.
            let watched = asked_to_stop || self.is_watched(state.step + 1);
            let grad_norm = if watched { Some(pass.gradients.norm()?) } else { None };

            // One update, unless it would ruin the weights.
            let lr = learning_rate(state.step, &self.plan.schedule, run.steps, self.plan.optim.lr);
            if pass.is_finite(grad_norm, &window)? {
                let clip = grad_norm.map_or(1.0, |norm| clip_factor(norm, self.plan.optim.clip_norm));
                state.optimizer.step(&pass.gradients, lr, clip)?;
                state.ema.as_mut().map_or(Ok(()), |ema| ema.update(self.store))?;
                window.add(&pass)?;
            } else {
                let flaw = self.skip(state, &pass, grad_norm.unwrap_or(f64::NAN), &batch, statistics, saver.last())?;
                journal.warn(&flaw);
            }
            let features = pass.features; // the gradients are freed here
            state.step += 1;
            journal.tick(state.step);
            saver.check()?;

            // What it came to.
            let is_last = state.step == run.steps;
            if state.step.is_multiple_of(run.log_every) || is_last {
                let line =
                    self.measure(state, &window, loader, lr, grad_norm.unwrap_or(f64::NAN), features.as_ref())?;
                journal.step(&line)?;
                last = Some(line);
                window.restart(self.waited(loader));
            }

            // State to disk: at its time, at the end, and when asked to stop. It is copied here and written beside the training.
            let stopping = asked_to_stop && !is_last;
            let due = run.checkpoint_every > 0 && state.step.is_multiple_of(run.checkpoint_every);
            if due || is_last || stopping {
                window.pause();
                self.ranks.check_equal(self.store, state.step)?;
                saver.save(state.step, || self.snapshot(state))?;
                saved_best = state.best;
                window.resume();
            }
            if stopping {
                let checkpoint = saver.finish()?;
                journal.finish();
                return Err(Error::Interrupted { step: state.step, checkpoint });
            }

            // Held-out images, when the state of the step is safe.
            if self.evaluates_after(state.step) {
                window.pause();
                saver.settle()?;
                held_out = self.evaluate(state, &mut journal)?;
                window.resume();
            }
        }
        if state.best != saved_best {
            saver.save(state.step, || self.snapshot(state))?; // the last evaluation was the best
        }
        let checkpoint = saver.finish()?;
        journal.finish();
        Ok(TrainReport {
            steps: state.step,
            loss: last.as_ref().map_or(f64::NAN, |line| line.loss),
            accuracy: last.as_ref().map_or(f64::NAN, |line| line.accuracy),
            chance: self.task.chance(),
            images_per_second: window.session_images_per_second(),
            communication: (!self.ranks.is_alone()).then(|| window.session_communication()),
            held_out,
            best: state.best,
            checkpoint,
        })
    }

    /// Whether held-out images are evaluated after `step` steps.
    fn evaluates_after(&self, step: u64) -> bool {
        let run = &self.plan.run;
        step == run.steps || (run.eval_every > 0 && step.is_multiple_of(run.eval_every))
    }

    /// What the loop has waited so far: for images, and for the other ranks.
    fn waited(&self, loader: &Loader) -> Waited {
        Waited { images: loader.waited(), ranks: self.ranks.time_spent() }
    }

    fn measure(
        &self,
        state: &TrainState,
        window: &Window,
        loader: &Loader,
        lr: f64,
        grad_norm: f64,
        features: Option<&candle_core::Tensor>,
    ) -> Result<StepMetrics> {
        let images = state.position(self.plan);
        let waited = window.share(self.waited(loader));
        Ok(StepMetrics {
            step: state.step,
            epoch: images as f64 / self.images.count.max(1) as f64,
            images,
            loss: window.loss()?.unwrap_or(f64::NAN),
            accuracy: window.accuracy()?.unwrap_or(f64::NAN),
            chance: self.task.chance(),
            lr,
            grad_norm,
            feature_std: features.map(feature_std).transpose()?,
            skipped: state.skipped,
            images_per_second: window.images_per_second(),
            data_wait: waited.0,
            communication: (!self.ranks.is_alone()).then_some(waited.1),
            peak_rss_mb: crate::metrics::peak_rss_mb(),
        })
    }

    /// Evaluates the held-out images with the average of the weights, if the run keeps one. A part that fails is left out with a
    /// warning: nothing that only looks ends a run, except for images that the settings do not let pass.
    fn evaluate(&self, state: &mut TrainState, journal: &mut Journal) -> Result<Option<Evaluation>> {
        let Some(set) = &self.held_out else {
            return Ok(None);
        };
        let (device, step) = (self.store.device(), state.step);
        let look = || {
            let found = or_warn(step, "the evaluation of held-out images", evaluate(self.task, set, device))?;
            let probe = |probe: &KnnProbe| or_warn(step, "the kNN probe", probe.ask(self.task, device));
            let knn = self.knn.as_ref().map_or(Ok(None), probe)?.flatten();
            let picture = match self.run_dir {
                Some(_) => or_warn(step, "the picture of held-out images", self.task.picture(set, device))?.flatten(),
                None => None,
            };
            Ok((found, knn, picture))
        };
        let (found, knn, picture) = match &state.ema {
            Some(ema) => ema.in_place_of(self.store, look)?,
            None => look()?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        if state.best.is_none_or(|best| found.accuracy > best.accuracy) {
            state.best = Some(Best { step, accuracy: found.accuracy });
        }
        let line = HeldOutMetrics::new(step, &found, knn.as_ref());
        journal.held_out(&line, &found, picture.as_ref())?;
        Ok(Some(found))
    }

    /// Writes a checkpoint now, then moves `latest` to it; nothing without a run directory.
    ///
    /// # Errors
    /// [`Error::NotSaved`] where it cannot be written; the one before is then intact.
    pub fn save(&self, state: &TrainState) -> Result<()> {
        let mut saver = Saver::new(self.run_dir, &self.plan.run);
        saver.save(state.step, || self.snapshot(state))?;
        saver.finish().map(drop)
    }

    fn snapshot(&self, state: &TrainState) -> Result<Snapshot> {
        let record = Record {
            step: state.step,
            updates: state.optimizer.updates(),
            skipped: state.skipped,
            position: state.position(self.plan),
            train_images: self.images.count as u64,
            image_names: Some(self.images.names.clone()),
            best: state.best,
            config: self.recipe.clone(),
        };
        Snapshot::take(self.store, &state.optimizer, state.ema.as_ref(), &record)
    }
}

/// What was found; nothing and a warning if it failed. Images that must not be passed over are an error still, and so is a system that
/// cannot read: the step is saved, and a resumed run does not lack the result.
fn or_warn<T>(step: u64, what: &str, found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(
            error @ Error::Data(DataError::Image { .. } | DataError::TooManyBad { .. } | DataError::Storage { .. }),
        ) => Err(error),
        Err(error) => {
            tracing::warn!("step {step}: {what} failed and is left out: {error}");
            Ok(None)
        }
    }
}
