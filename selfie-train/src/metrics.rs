//! `metrics.jsonl`: one JSON object a line, as SPEC'd for tools; appended while a run trains, cut back when it resumes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::replace_with;
use crate::probe::{Evaluation, KnnResult};

/// What is measured every `log_every` steps. Means are over the steps since the last line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepMetrics {
    /// Steps done.
    pub step: u64,
    /// Passes over the training images, as a fraction.
    pub epoch: f64,
    /// Images drawn so far.
    pub images: u64,
    /// Mean loss.
    pub loss: f64,
    /// Mean accuracy.
    pub accuracy: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// The norm of the last step's gradient, before clipping.
    pub grad_norm: f64,
    /// How far apart the features of the last batch are, see [`feature_std`]; null where the task tells none.
    pub feature_std: Option<f64>,
    /// Updates left out so far because a loss or a gradient was not finite.
    pub skipped: u64,
    /// Speed.
    pub images_per_second: f64,
    /// Share of the time that the loop waited for images.
    pub data_wait: f64,
    /// Share of the time that went into communication between ranks, waiting for the slowest included; none where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communication: Option<f64>,
    /// Largest resident memory of the process so far, in MB; null where the system does not tell.
    pub peak_rss_mb: Option<u64>,
}

/// An evaluation on held-out images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOutMetrics {
    /// Steps done.
    pub step: u64,
    /// Mean loss.
    pub held_out_loss: f64,
    /// Accuracy.
    pub held_out_accuracy: f64,
    /// Its standard error, by images.
    pub held_out_standard_error: f64,
    /// Images evaluated.
    pub held_out_images: usize,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Accuracy of the kNN probe, a quick look and no result: few images, compared in feature space. None without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knn_probe_accuracy: Option<f64>,
    /// What guessing would score there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knn_probe_chance: Option<f64>,
}

impl HeldOutMetrics {
    pub(crate) fn new(step: u64, found: &Evaluation, knn: Option<&KnnResult>) -> Self {
        Self {
            step,
            held_out_loss: found.loss,
            held_out_accuracy: found.accuracy,
            held_out_standard_error: found.standard_error,
            held_out_images: found.images,
            chance: found.chance,
            knn_probe_accuracy: knn.map(|knn| knn.accuracy),
            knn_probe_chance: knn.map(|knn| knn.chance),
        }
    }
}

/// How far apart features are: 0 where all have collapsed to one point, 1 where their directions are spread evenly.
///
/// The standard deviation of each dimension over the unit-length features, its mean over the dimensions, times √D (Chen and He,
/// "SimSiam", arXiv 2011.10566, section 4.1).
///
/// # Errors
/// Where `features` is not (n, D), or the device fails.
pub fn feature_std(features: &Tensor) -> Result<f64> {
    let (_, dim) = features.dims2()?;
    let features = features.detach().to_dtype(DType::F32)?;
    let length = (features.sqr()?.sum_keepdim(1)?.sqrt()? + 1e-12)?; // (n, 1)
    let unit = features.broadcast_div(&length)?; // (n, D)
    let centred = unit.broadcast_sub(&unit.mean_keepdim(0)?)?; // (n, D)
    let deviation = centred.sqr()?.mean(0)?.sqrt()?.mean_all()?.to_scalar::<f32>()?;
    Ok(f64::from(deviation) * (dim as f64).sqrt())
}

/// The open file.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
    /// Whether the file held an evaluation of the last step when it was opened.
    ends_with_evaluation: bool,
}

impl MetricsFile {
    /// Opens `path` for the lines after `step`: later ones, and a line cut short by a crash, are taken off first.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self> {
        let mut ends_with_evaluation = false;
        if path.exists() {
            let text = read_lossy(path)?;
            let kept: String = text
                .lines()
                .filter(|line| step_of(line).is_some_and(|at| at <= step))
                .map(|line| format!("{line}\n"))
                .collect();
            replace_with(path, kept.as_bytes())?;
            ends_with_evaluation = kept.lines().rev().take_while(|line| step_of(line) == Some(step)).any(is_evaluation);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_path_buf(), file, ends_with_evaluation })
    }

    /// Whether an earlier session has written the evaluation of the step that this one begins with.
    pub(crate) fn ends_with_evaluation(&self) -> bool {
        self.ends_with_evaluation
    }

    pub(crate) fn write(&mut self, metrics: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(metrics).map_err(|error| Error::io(&self.path)(error.into()))?;
        writeln!(self.file, "{line}").map_err(Error::io(&self.path))
    }
}

/// All whole lines of a metrics file.
///
/// # Errors
/// [`Error::Io`] where it cannot be read.
pub fn read_metrics(path: &Path) -> Result<Vec<Value>> {
    let text = read_lossy(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The text of `path`. A byte that is not UTF-8 spoils its own line, which is then not JSON, and no other.
fn read_lossy(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?["step"].as_u64()
}

fn is_evaluation(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|line| line["held_out_accuracy"].is_number())
}

/// The largest resident memory of this process so far, in MB; `None` where the system does not tell.
#[must_use]
pub fn peak_rss_mb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_spoiled_line_is_dropped_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, b"{\"step\": 1}\n{\"st\xffep\": 2}\n{\"step\": 3}\n{\"step\": 4").unwrap();
        let steps = |lines: Vec<Value>| lines.iter().filter_map(|line| line["step"].as_u64()).collect::<Vec<_>>();
        assert_eq!(steps(read_metrics(&path).unwrap()), [1, 3]);
        MetricsFile::open(&path, 3).unwrap().write(&serde_json::json!({ "step": 5 })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\": 1}\n{\"step\": 3}\n{\"step\":5}\n");
    }

    #[test]
    fn features_at_one_point_have_no_deviation_and_axes_have_much() {
        let of = |rows: &[[f32; 2]]| {
            let features = Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap();
            feature_std(&features).unwrap()
        };
        assert!(of(&[[3.0, 4.0], [0.3, 0.4]]) < 1e-3); // one direction, whatever the length
        // (±1, 0) and (0, ±1): each dimension has mean 0 and deviation √½, times √2 is 1.
        assert!((of(&[[2.0, 0.0], [-1.0, 0.0], [0.0, 5.0], [0.0, -1.0]]) - 1.0).abs() < 1e-6);
    }
}
