//! Everything that watches the loop and changes nothing of it: the progress that a person sees, `metrics.jsonl`, TensorBoard's
//! events, and warnings.

use super::progress::Progress;
use super::watch::Watch;
use crate::config::Plan;
use crate::data::Image8;
use crate::error::Result;
use crate::metrics::{HeldOutMetrics, MetricsFile, StepMetrics};
use crate::picture::encode_png;
use crate::probe::Evaluation;
use crate::run_dir::RunDir;
use crate::tensorboard::EventFile;

/// The record of one session.
pub(super) struct Journal {
    progress: Progress,
    watch: Watch,
    files: Option<(MetricsFile, EventFile)>,
    /// The step of an evaluation that an earlier session has recorded.
    recorded: Option<u64>,
}

impl Journal {
    /// Opens the record of the steps after `step`; without a directory nothing is written. Lines of later steps, which an earlier
    /// session wrote after its last checkpoint, are taken off.
    pub(super) fn open(run_dir: Option<&RunDir>, plan: &Plan, chance: f64, quiet: bool, step: u64) -> Result<Self> {
        let open = |dir: &RunDir| -> Result<_> {
            Ok((MetricsFile::open(&dir.metrics_path(), step)?, EventFile::create(&dir.tensorboard_path(), step)?))
        };
        let files = run_dir.map(open).transpose()?;
        let recorded = files.as_ref().is_some_and(|(metrics, _)| metrics.ends_with_evaluation());
        Ok(Self {
            recorded: recorded.then_some(step),
            progress: Progress::new(quiet, step, plan.run.steps),
            watch: Watch::new(plan, chance, step * plan.run.batch_size as u64),
            files,
        })
    }

    /// A step was done.
    pub(super) fn tick(&self, step: u64) {
        self.progress.tick(step);
    }

    /// Something to act on.
    pub(super) fn warn(&self, warning: &str) {
        self.progress.warn(warning);
    }

    /// A line of metrics, with the warnings that it gives reason for.
    pub(super) fn step(&mut self, line: &StepMetrics) -> Result<()> {
        let StepMetrics { step, loss, accuracy, images_per_second, data_wait, .. } = line;
        tracing::info!(step, loss, accuracy, images_per_second, data_wait, "trained");
        self.progress.step(line);
        self.watch.look(line).iter().for_each(|warning| self.progress.warn(warning));
        let Some((metrics, events)) = &mut self.files else {
            return Ok(());
        };
        metrics.write(line)?;
        events.scalars(line.step, &scalars(line))
    }

    /// An evaluation on held-out images, and a picture of it.
    pub(super) fn held_out(
        &mut self,
        line: &HeldOutMetrics,
        found: &Evaluation,
        picture: Option<&Image8>,
    ) -> Result<()> {
        tracing::info!(step = line.step, accuracy = found.accuracy, loss = found.loss, "held out");
        self.progress.held_out(line, found);
        if self.recorded == Some(line.step) {
            return Ok(()); // made again, to begin where that session was
        }
        let Some((metrics, events)) = &mut self.files else {
            return Ok(());
        };
        metrics.write(line)?;
        let knn = line.knn_probe_accuracy.unwrap_or(f64::NAN);
        let values =
            [("held_out/accuracy", found.accuracy), ("held_out/loss", found.loss), ("held_out/knn_probe", knn)];
        events.scalars(line.step, &values)?;
        if let Some(picture) = picture {
            let size = (picture.width(), picture.height());
            events.picture(line.step, "held_out/masked_patches", size, &encode_png(picture)?)?;
        }
        Ok(())
    }

    /// Leaves the last line standing.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }
}

/// What TensorBoard shows of a line.
fn scalars(line: &StepMetrics) -> [(&'static str, f64); 9] {
    [
        ("train/loss", line.loss),
        ("train/accuracy", line.accuracy),
        ("train/chance", line.chance),
        ("train/lr", line.lr),
        ("train/grad_norm", line.grad_norm),
        ("train/feature_std", line.feature_std.unwrap_or(f64::NAN)),
        ("speed/images_per_second", line.images_per_second),
        ("speed/data_wait", line.data_wait),
        ("speed/peak_rss_mb", line.peak_rss_mb.map_or(f64::NAN, |mb| mb as f64)),
    ]
}
