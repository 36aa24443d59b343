//! The choice of the learning rate, as the paper's protocol has it: each rate is tried on nine tenths of the labelled
//! images, the rest judges, and the best one then trains on all of them. The test split is not looked at.
//!
//! Each trial is kept as it ends, so that an interrupted choice goes on where it stopped.

use std::path::Path;

use selfie_train::Error as TrainError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Finetune, Session};
use crate::error::{Error, Result};
use crate::files;

/// Share of each class that judges.
pub(crate) const HOLDOUT: f64 = 0.1;

/// One rate, and what it came to on the held-out tenth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The base learning rate.
    pub lr: f64,
    /// Accuracy on the held-out images.
    pub accuracy: f64,
    /// How many they are.
    pub images: usize,
    /// Mean training loss at the end; none where it was not finite any more, which counts as nothing right.
    pub train_loss: Option<f64>,
}

/// What a file of trials holds.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// The settings that they were made with.
    settings: Value,
    trials: Vec<Trial>,
}

impl Finetune {
    /// Tries `finetune.tune_lrs`, keeps each trial in `file` and takes those of the same settings that are there already,
    /// then sets the rate to the best one (of equal ones the first).
    ///
    /// # Errors
    /// [`Error::Config`] where the labelled images are too few to hold any out; `Interrupted` after a request to stop.
    pub fn tune(&mut self, file: Option<&Path>, session: &Session, said: &mut dyn FnMut(&Trial)) -> Result<()> {
        if let (None, Some(run)) = (&self.lock, session.run_dir) {
            self.lock = Some(run.lock()?);
        }
        let mut settings = self.recipe()?;
        settings["finetune"]["lr"] = Value::Null; // what is chosen here
        settings["images"] = serde_json::json!([self.config.data.source, self.data.train.len()]);
        let kept = file.and_then(files::read_json::<Kept>).filter(|kept| kept.settings == settings);
        let mut kept = kept.unwrap_or_else(|| Kept { settings, trials: Vec::new() });
        let data = self.data.held_out(HOLDOUT, self.config.run.seed)?;
        for &lr in &self.config.finetune.tune_lrs {
            if kept.trials.iter().any(|trial| trial.lr == lr) {
                continue;
            }
            let mut config = self.config.clone();
            config.finetune.lr = lr;
            let mut finetune = Self::with_data(config, data.clone(), &self.origin, &self.device)?;
            let unsaved = Session { run_dir: None, ..session.clone() };
            let trial = match finetune.train(&unsaved) {
                Ok(trained) => {
                    let found = finetune.test()?;
                    let train_loss = trained.loss.is_finite().then_some(trained.loss);
                    Trial { lr, accuracy: found.top1, images: found.images, train_loss }
                }
                // A rate that is too high is only a bad one.
                Err(Error::Train(TrainError::NotFinite { .. })) => {
                    Trial { lr, accuracy: 0.0, images: data.test.len(), train_loss: None }
                }
                Err(error) => return Err(error),
            };
            said(&trial);
            kept.trials.push(trial);
            if let Some(file) = file {
                files::write_json(file, &kept)?;
            }
        }
        let none = || Error::config("finetune.tune_lrs", "no rate kept the loss finite, expected smaller ones");
        self.set_rate(best(&kept.trials).ok_or_else(none)?);
        self.trials = kept.trials;
        Ok(())
    }

    /// Takes up what the rate was chosen from, for the report of a resumed run.
    pub fn recall_trials(&mut self, file: &Path) {
        self.trials = files::read_json::<Kept>(file).map_or_else(Vec::new, |kept| kept.trials);
    }
}

/// The rate of the best accuracy.
fn best(trials: &[Trial]) -> Option<f64> {
    let better = |a: &&Trial, b: &&Trial| a.accuracy.total_cmp(&b.accuracy);
    let finite = trials.iter().filter(|trial| trial.train_loss.is_some());
    finite.rev().max_by(better).map(|trial| trial.lr) // of equal ones `max_by` takes the last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_rate_is_the_first_of_equals() {
        let trial = |lr, accuracy| Trial { lr, accuracy, images: 10, train_loss: Some(1.0) };
        assert_eq!(best(&[trial(0.01, 0.3), trial(0.03, 0.5), trial(0.1, 0.5)]), Some(0.03));
        let diverged = Trial { train_loss: None, ..trial(0.3, 0.0) };
        assert_eq!(best(&[diverged.clone(), trial(0.01, 0.0)]), Some(0.01));
        assert_eq!((best(&[diverged]), best(&[])), (None, None));
    }
}
