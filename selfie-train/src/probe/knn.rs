//! A kNN probe: whether images of one class lie near each other in feature space. A quick look while a run trains, and no result:
//! few images, no tuning.
//!
//! Each held-out image is given the class that its nearest training images vote for ([`Neighbours`]).

use candle_core::{Device, Tensor};
use serde::Serialize;

use super::EvalSet;
use crate::data::Dataset;
use crate::error::Result;
use crate::features::{FeatureRows, ImageFeatures};
use crate::neighbours::Neighbours;
use crate::task::Task;

/// Neighbours that vote.
const NEIGHBOURS: usize = 10;
/// Held-out images that are asked about, at most.
const ASKED: usize = 256;

/// Labelled images to compare, and labelled images to ask about.
#[derive(Clone)]
pub struct KnnProbe {
    bank: EvalSet,
    asked: EvalSet,
    classes: usize,
}

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnnResult {
    /// Share of the images that were given their class.
    pub accuracy: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Images that were asked about and could be read.
    pub images: usize,
    /// Images that they were compared with and could be read.
    pub bank: usize,
}

impl KnnProbe {
    /// A probe of `set`'s images against at most `size` of `train`; none where there are no labels, or `size` is 0.
    ///
    /// # Errors
    /// Does not fail for data that were opened.
    pub fn new(set: &EvalSet, train: &Dataset, size: usize) -> Result<Option<Self>> {
        let labelled = |images: &Dataset| {
            let labelled: Vec<_> = (0..images.len()).filter(|&i| images.label(i).is_some()).collect();
            images.select(&labelled)
        };
        let (bank, asked) = (labelled(train)?, labelled(&set.images)?);
        let classes = train.classes().len();
        if size == 0 || bank.is_empty() || asked.is_empty() || classes < 2 {
            return Ok(None);
        }
        let [bank, asked] = [bank, asked].map(|images| EvalSet { images, ..set.clone() });
        Ok(Some(Self { bank: bank.thinned(size)?, asked: asked.thinned(ASKED)?, classes }))
    }

    /// Returns what `task` makes of the images; `None` if it has no features.
    ///
    /// # Errors
    /// Returns an error if no image of either set can be read, or one that must not be left out.
    pub fn ask(&self, task: &impl Task, device: &Device) -> Result<Option<KnnResult>> {
        let (Some(bank), Some(asked)) = (directions(task, &self.bank, device)?, directions(task, &self.asked, device)?)
        else {
            return Ok(None);
        };
        let neighbors = Neighbours::of(&bank)?;
        let nearest = neighbors.nearest(asked.values(), NEIGHBOURS)?;
        let right = |(row, near): &(usize, &Vec<_>)| asked.label(*row) == Some(neighbors.vote(near));
        let found = nearest.iter().enumerate().filter(right).count();
        Ok(Some(KnnResult {
            accuracy: found as f64 / asked.len() as f64,
            chance: 1.0 / self.classes as f64,
            images: asked.len(),
            bank: bank.len(),
        }))
    }
}

/// Returns the features of the images of `set` that can be read, in unit length; `None` if the task has no features.
///
/// # Errors
/// Returns an error if no image can be read, or one that must not be left out.
pub fn directions(task: &impl Task, set: &EvalSet, device: &Device) -> Result<Option<ImageFeatures>> {
    let mut rows = FeatureRows::new(&set.images);
    let mut loader = set.batches(device)?;
    while let Some(batch) = loader.next()? {
        let Some(features) = task.features(&batch)? else {
            return Ok(None);
        };
        rows.add(&batch, &features)?;
    }
    rows.finish()?.map(unit_length).map(Some)
}

/// The rows of `features` divided by their lengths: (n, D).
fn unit_length(features: &Tensor) -> candle_core::Result<Tensor> {
    let length = (features.sqr()?.sum_keepdim(1)?.sqrt()? + 1e-12)?; // (n, 1)
    features.broadcast_div(&length)
}
