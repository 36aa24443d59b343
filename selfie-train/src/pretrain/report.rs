//! Result of a pretraining, as the command line prints it.

use std::path::PathBuf;

use serde::Serialize;

use crate::checkpoint::Best;
use crate::probe::Evaluation;

/// Result of a finished run.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainReport {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Steps done, with those of earlier sessions.
    pub steps: u64,
    /// Mean training loss over the last steps.
    pub loss: f64,
    /// Mean training accuracy over the last steps.
    pub accuracy: f64,
    /// Accuracy at chance level.
    pub chance: f64,
    /// Mean speed of this session.
    pub images_per_second: f64,
    /// Processes that shared the training.
    pub ranks: usize,
    /// Share of the time that went into communication between them; `None` for one process.
    pub communication: Option<f64>,
    /// Wall time of this session.
    pub seconds: f64,
    /// Masked-patch accuracy on the held-out images; `None` if `data.holdout` is 0.
    pub held_out: Option<Evaluation>,
    /// The best of the run's evaluations.
    pub best: Option<Best>,
    /// Images that could not be read, on all ranks; `bad-images.txt` lists those of rank 0.
    pub bad_images: usize,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Classes of the data; 0 if it has no labels.
    pub classes: usize,
    /// Training images with a label.
    pub labeled_images: usize,
    /// Whether the data has a test split.
    pub has_test_split: bool,
    /// Files of the run.
    pub files: Vec<PathBuf>,
}
