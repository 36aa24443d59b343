//! One training of a comparison, and the file that keeps what it came to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files;
use crate::finetune::FinetuneReport;

/// Which training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The start of the network.
    pub arm: String,
    /// Share or number of the labels.
    pub labels: String,
    /// The seed of labels, first values, order and augmentation.
    pub seed: u64,
}

/// What a cell came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellResult {
    /// Everything that it depends on.
    pub settings: Value,
    /// How long it took, tuning and test with it.
    pub seconds: f64,
    /// Its figure.
    pub report: FinetuneReport,
}

impl Cell {
    /// `cells/ARM-LABELS-seedN.KIND.json` below `folder`.
    pub(super) fn file(&self, folder: &Path, kind: &str) -> PathBuf {
        let labels = self.labels.replace('%', "pct").replace('/', "-per-");
        let arm = plain(&self.arm);
        folder.join("cells").join(format!("{arm}-{labels}-seed{}.{kind}.json", self.seed))
    }
}

/// A name as it stands in the name of a file.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

impl CellResult {
    /// Keeps it: whole or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, cell: &Cell, folder: &Path) -> Result<()> {
        files::write_json(&cell.file(folder, "result"), self)
    }

    /// What `path` keeps, if it was made with `settings`.
    pub(super) fn read(path: &Path, settings: &Value) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let refuse = |reason: String| Err(Error::config("--out", format!("{}: {reason}", path.display())));
        let Some(kept) = files::read_json::<Self>(path) else {
            return refuse("is no result of a cell; remove it, and the cell is trained again".to_owned());
        };
        match first_difference("", &kept.settings, settings) {
            None => Ok(Some(kept)),
            Some(difference) => refuse(format!("was made with other settings: {difference}; expected another --out")),
        }
    }
}

/// The first setting that differs, as "run.seed met 1, expected 2".
fn first_difference(at: &str, met: &Value, expected: &Value) -> Option<String> {
    if let (Value::Object(met), Value::Object(expected)) = (met, expected) {
        let keys: std::collections::BTreeSet<_> = met.keys().chain(expected.keys()).collect();
        let none = &Value::Null;
        return keys.into_iter().find_map(|key| {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            first_difference(&path, met.get(key).unwrap_or(none), expected.get(key).unwrap_or(none))
        });
    }
    (met != expected).then(|| format!("{at} met {met}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_are_named_by_arm_labels_and_seed() {
        let cell = |arm: &str, labels: &str| Cell { arm: arm.to_owned(), labels: labels.to_owned(), seed: 2 };
        let file = |cell: Cell| cell.file(Path::new("out"), "result");
        assert_eq!(file(cell("runs/a b", "5%")), Path::new("out/cells/runs_a_b-5pct-seed2.result.json"));
        assert_eq!(file(cell("x", "4/class")), Path::new("out/cells/x-4-per-class-seed2.result.json"));
    }

    #[test]
    fn the_first_setting_that_differs_is_named() {
        let (a, b) = (json!({"run": {"seed": 1, "x": 2}}), json!({"run": {"seed": 1, "x": 3}, "y": null}));
        assert_eq!(first_difference("", &a, &b).unwrap(), "run.x met 2, expected 3");
        assert_eq!(first_difference("", &a, &a), None);
    }
}
