//! Accuracy on the test split, as the run's directory keeps it: `result.json` of a fine-tuning, and `masked-eval.json` of a
//! pretraining.

use std::path::Path;

use selfie_train::RunDir;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::svg::escape;
use super::tiles::{beside, share};
use crate::accuracy::ClassAccuracy;
use crate::finetune::FinetuneReport;
use crate::masked_eval::MaskedReport;
use crate::runs::RunSummary;

/// Most classes that are shown at once; more are shown in a box that scrolls.
const AT_ONCE: usize = 24;

/// An accuracy on the test split.
pub struct Tested {
    /// Share of the images, or of the masked patches.
    pub accuracy: f64,
    standard_error: f64,
    images: u64,
    chance: f64,
    classes: Vec<ClassAccuracy>,
}

/// What is read of `masked-eval.json`.
#[derive(Deserialize)]
struct Kept {
    accuracy: f64,
    standard_error: f64,
    images: u64,
    chance: f64,
    step: u64,
}

impl Tested {
    /// Reads the result of the run's last weights; `None` if it has none.
    pub fn of(run: &RunDir, summary: &RunSummary) -> Option<Self> {
        if summary.kind == "finetune" {
            let report: FinetuneReport = read(&run.path().join("result.json"))?;
            let found = report.accuracy;
            let (accuracy, standard_error, images) = (found.top1, found.standard_error, found.images as u64);
            return Some(Self { accuracy, standard_error, images, chance: report.chance, classes: found.per_class });
        }
        let kept: Kept = read(&MaskedReport::place(run))?;
        let Kept { accuracy, standard_error, images, chance, step } = kept;
        (step == summary.step).then_some(Self { accuracy, standard_error, images, chance, classes: Vec::new() })
    }

    /// Returns what stands below the accuracy.
    pub fn beside(&self) -> String {
        beside(Some(self.standard_error), Some(self.images), Some(self.chance))
    }

    /// Returns the table of the classes, those with the lowest accuracy first; nothing for a pretraining.
    pub fn classes(&self) -> String {
        if self.classes.is_empty() {
            return String::new();
        }
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by(|a, b| a.top1.total_cmp(&b.top1)); // stable: equal ones stay in the order of the data
        let row = |class: &&ClassAccuracy| {
            format!(
                "<tr><td>{}</td><td><meter value=\"{:.4}\">{}</meter></td><td>{}</td><td>{} of {}</td></tr>\n",
                escape(&class.class),
                class.top1,
                share(class.top1),
                share(class.top1),
                class.correct,
                class.images
            )
        };
        let boxed = if classes.len() > AT_ONCE { " boxed" } else { "" };
        format!(
            "<h2>Class by class</h2><p>Accuracy on the test split, lowest first.</p>\n<div class=\"scroll{boxed}\">\
             <table class=\"classes\"><thead><tr><th>class</th><th></th><th>accuracy</th><th>images</th></tr></thead>\n\
             {}</table></div>\n",
            classes.iter().map(row).collect::<String>()
        )
    }
}

/// Reads a JSON file; `None` if it is missing or of another form.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_their_accuracy_with_their_whole_names() {
        let class = |name: &str, correct| ClassAccuracy {
            class: name.to_owned(),
            top1: f64::from(correct) / 4.0,
            images: 4,
            correct: correct as usize,
        };
        let long = format!("{} <b>", "x".repeat(80));
        let classes = vec![class("good", 4), class(&long, 1), class("also good", 4)];
        let tested = Tested { accuracy: 0.75, standard_error: 0.1, images: 12, chance: 0.3, classes };
        let table = tested.classes();
        let place = |word: &str| table.find(word).unwrap();
        assert!(place(&escape(&long)) < place("<td>good") && place("<td>good") < place("<td>also good"), "{table}");
        assert!(table.contains("25.0\u{a0}%") && table.contains("1 of 4") && !table.contains("<b>"));
    }
}
