//! A kNN probe: whether images of one class lie near each other in feature space. A quick look while a run trains, and no result:
//! few images, no tuning.
//!
//! Each held-out image is given the class that most of its K nearest training images have, by cosine, each voting with the
//! weight exp(cosine / 0.07) (Wu et al., "Instance Discrimination", arXiv 1805.01978, section 3.4).

use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::EvalSet;
use crate::data::Dataset;
use crate::error::Result;
use crate::task::Task;

/// Neighbours that vote.
const NEIGHBOURS: usize = 10;
const TEMPERATURE: f32 = 0.07;
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
    /// Images that were asked about.
    pub images: usize,
    /// Images that they were compared with.
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

    /// Asks `task`; none where it has no features.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn ask(&self, task: &impl Task, device: &Device) -> Result<Option<KnnResult>> {
        let (Some(bank), Some(asked)) = (directions(task, &self.bank, device)?, directions(task, &self.asked, device)?)
        else {
            return Ok(None);
        };
        let cosines = asked.matmul(&bank.t()?)?.to_vec2::<f32>()?; // (asked, bank)
        let labels: Vec<_> = (0..self.bank.images.len()).filter_map(|i| self.bank.images.label(i)).collect();
        let right =
            |(i, cosines): (usize, &Vec<f32>)| self.asked.images.label(i) == Some(vote(cosines, &labels, self.classes));
        let found = cosines.iter().enumerate().filter(|&asked| right(asked)).count();
        Ok(Some(KnnResult {
            accuracy: found as f64 / cosines.len() as f64,
            chance: 1.0 / self.classes as f64,
            images: cosines.len(),
            bank: labels.len(),
        }))
    }
}

/// Features of all images of `set` in unit length: (n, D) on the CPU; none where the task has none.
///
/// # Errors
/// Where an image cannot be read.
pub fn directions(task: &impl Task, set: &EvalSet, device: &Device) -> Result<Option<Tensor>> {
    let mut parts = Vec::new();
    let mut loader = set.batches(device)?;
    while let Some(batch) = loader.next()? {
        let Some(features) = task.features(&batch)? else {
            return Ok(None);
        };
        parts.push(features.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?);
    }
    let features = Tensor::cat(&parts, 0)?; // (n, D)
    let length = (features.sqr()?.sum_keepdim(1)?.sqrt()? + 1e-12)?; // (n, 1)
    Ok(Some(features.broadcast_div(&length)?))
}

/// The class that the nearest of `labels` vote for.
fn vote(cosines: &[f32], labels: &[u32], classes: usize) -> u32 {
    let mut order: Vec<usize> = (0..cosines.len()).collect();
    order.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b)));
    let mut votes = vec![0.0; classes];
    for &near in order.iter().take(NEIGHBOURS) {
        votes[labels[near] as usize] += (cosines[near] / TEMPERATURE).exp();
    }
    let best = votes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map_or(0, |(class, _)| class as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_images_outvote_many_far_ones() {
        // Two of class 1 at cosine 0.9 against eight of class 0 at 0.5: e^(0.9/0.07) is 300 times e^(0.5/0.07).
        let cosines = [0.5, 0.5, 0.5, 0.5, 0.9, 0.5, 0.5, 0.9, 0.5, 0.5, 0.1];
        let labels = [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0];
        assert_eq!(vote(&cosines, &labels, 2), 1);
        assert_eq!(vote(&[0.2; 3], &[1, 0, 1], 2), 1);
    }
}
