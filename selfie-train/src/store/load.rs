//! Weights into a store: copied into the tensors that the layers already hold, with a report of what fitted.

use candle_core::Tensor;

use super::{Content, ParamStore, Weights};
use crate::error::{Error, Result};

/// What became of each name when weights met a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LoadReport {
    /// Loaded.
    pub matched: Vec<String>,
    /// In the model, not in the file: left as they were.
    pub missing: Vec<String>,
    /// In the file, not in the model: ignored.
    pub unexpected: Vec<String>,
    /// In both with different shapes: left as they were. Name, shape in the file, shape in the model.
    pub reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl ParamStore {
    /// Loads weights that must fit the whole store: same names, same shapes. Nothing is changed where they do not.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that does not fit, its shape and the shape expected.
    pub fn load(&self, weights: &Weights) -> Result<()> {
        let report = self.compare(weights);
        match report.misfit() {
            Some(reason) => Err(Error::Weights { path: weights.path().to_path_buf(), reason }),
            None => self.copy(weights, &report),
        }
    }

    /// Loads what fits, and reports the rest. A file in which nothing fits is an error.
    ///
    /// # Errors
    /// [`Error::Weights`] where no tensor fits.
    pub fn load_matching(&self, weights: &Weights) -> Result<LoadReport> {
        let report = self.compare(weights);
        if report.matched.is_empty() {
            let misfit = report.misfit().unwrap_or_else(|| "holds no tensor".to_owned());
            let nothing = if report.reshaped.is_empty() { "no tensor fits: " } else { "" };
            let reason = format!("{nothing}{misfit}");
            return Err(Error::Weights { path: weights.path().to_path_buf(), reason });
        }
        self.copy(weights, &report)?;
        Ok(report)
    }

    fn compare(&self, weights: &Weights) -> LoadReport {
        let mut report = LoadReport::default();
        for (name, tensor) in self.tensors() {
            match weights.get(&name) {
                None => report.missing.push(name),
                Some(given) if given.dims() == tensor.dims() => report.matched.push(name),
                Some(given) => report.reshaped.push((name, given.dims().to_vec(), tensor.dims().to_vec())),
            }
        }
        // PyTorch counts batches beside its running statistics; nothing here needs the count.
        let known = |name: &str| self.get(name).is_some() || name.ends_with("num_batches_tracked");
        report.unexpected =
            weights.iter().map(|(name, _)| name).filter(|name| !known(name)).map(str::to_owned).collect();
        report
    }

    fn copy(&self, weights: &Weights, report: &LoadReport) -> Result<()> {
        let inner = self.lock();
        for (name, source) in report.matched.iter().filter_map(|name| Some((name, weights.get(name)?))) {
            let content = &inner.entries[inner.by_name[name]].content;
            match content {
                Content::Parameter(var) => var.set(&like(source, var)?)?,
                Content::Buffer(tensor) => tensor.slice_set(&like(source, tensor)?, 0, 0)?,
            }
        }
        Ok(())
    }
}

impl LoadReport {
    /// The first thing that does not fit, in words.
    #[must_use]
    pub fn misfit(&self) -> Option<String> {
        if let Some((name, got, expected)) = self.reshaped.first() {
            return Some(format!("{name} has shape {got:?}, expected {expected:?}{}", more(self.reshaped.len())));
        }
        if let Some(name) = self.missing.first() {
            return Some(format!("{name} is missing{}", more(self.missing.len())));
        }
        self.unexpected.first().map(|name| format!("{name} is not in the model{}", more(self.unexpected.len())))
    }
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

/// `source` with the type and on the device of `target`, in memory of its own.
fn like(source: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(source.to_device(target.device())?.to_dtype(target.dtype())?.contiguous()?)
}
