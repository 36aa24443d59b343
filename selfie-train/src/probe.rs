//! How well a task is solved on images it does not train on: accuracy with its standard error, loss, chance.
//!
//! Each image is asked `passes` times (for masked patches: under as many masks), in eval mode. The answers of one image are
//! not independent, so the standard error is that of the mean over images: the standard deviation of their own
//! accuracies, divided by the root of their number.

mod knn;

use candle_core::{DType, Device};
use serde::Serialize;

pub use knn::{KnnProbe, KnnResult, directions};

use crate::data::{Dataset, Loader, Normalise, Transform};
use crate::error::{Error, Result};
use crate::seed::{Purpose, derive};
use crate::task::Task;

/// Images to evaluate on, and how.
#[derive(Clone)]
pub struct EvalSet {
    /// The images.
    pub images: Dataset,
    /// What makes floats of bytes.
    pub normalise: Normalise,
    /// Side of the square images that the task takes, in pixels.
    pub image_size: usize,
    /// Images at once.
    pub batch_size: usize,
    /// Loader threads.
    pub workers: usize,
    /// Times that each image is asked.
    pub passes: usize,
    /// The seed of what is asked.
    pub seed: u64,
}

impl EvalSet {
    /// The images once, in their order, as evaluation sees them.
    ///
    /// # Errors
    /// Where there is no image or a setting is out of range.
    pub fn batches(&self, device: &Device) -> Result<Loader> {
        let transform = Transform::eval(self.image_size);
        let (images, normalise) = (self.images.clone(), self.normalise.clone());
        Ok(Loader::once(images, transform, normalise, self.batch_size, self.workers, device)?)
    }

    /// The same with at most `count` of its images, evenly spaced.
    ///
    /// # Errors
    /// Does not fail for a set that was opened.
    pub fn thinned(&self, count: usize) -> Result<Self> {
        let all = self.images.len();
        if all <= count {
            return Ok(self.clone());
        }
        let chosen: Vec<_> = (0..count).map(|at| at * all / count).collect();
        Ok(Self { images: self.images.select(&chosen)?, ..self.clone() })
    }

    /// Returns the same set with at most `count` of its images, evenly spaced, which can be read ([`Dataset::readable`]): for
    /// pictures.
    ///
    /// # Errors
    /// Returns an error if an image cannot be read that must not be passed over.
    pub fn pictured(&self, count: usize) -> Result<Self> {
        let chosen = self.images.readable(count)?;
        Ok(Self { images: self.images.select(&chosen)?, ..self.clone() })
    }
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Share of right answers.
    pub accuracy: f64,
    /// Standard error of the accuracy: over images, or over passes if all images of a pass are asked the same
    /// ([`Task::asks_all_the_same`]); 0 for fewer than two of them.
    pub standard_error: f64,
    /// Mean loss.
    pub loss: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Images evaluated.
    pub images: usize,
    /// Times that each image was asked.
    pub passes: usize,
}

/// Evaluates `task` on the images of `set` that can be read.
///
/// What is asked of an image depends on the seed and the image's name alone, so the accuracy is that of the same set without the
/// other images; the loss is too, up to the rounding of sums over other batches.
///
/// # Errors
/// Returns an error if no image can be read, or one that must not be left out, or if the model fails.
pub fn evaluate(task: &impl Task, set: &EvalSet, device: &Device) -> Result<Evaluation> {
    let mut loader = set.batches(device)?;
    let seeds: Vec<u64> = (0..set.passes as u64).map(|pass| derive(set.seed, Purpose::Evaluation, pass, 0)).collect();
    let mut of_images = Vec::with_capacity(set.images.len()); // accuracy of each image
    let mut of_passes = vec![0.0; set.passes]; // sum of the images' accuracies in each pass
    let mut loss_sum = 0.0;
    while let Some(batch) = loader.next()? {
        let mut of_batch = vec![0.0; batch.len()];
        for (output, of_pass) in task.evaluate(&batch, &seeds)?.into_iter().zip(&mut of_passes) {
            loss_sum += batch.len() as f64 * f64::from(output.loss.to_scalar::<f32>()?);
            let right = output.correct.to_dtype(DType::F32)?.mean(1)?.to_vec1::<f32>()?; // (B)
            *of_pass += right.iter().map(|&right| f64::from(right)).sum::<f64>();
            of_batch.iter_mut().zip(right).for_each(|(sum, right)| *sum += f64::from(right) / set.passes as f64);
        }
        of_images.append(&mut of_batch);
    }
    if of_images.is_empty() {
        return Err(Error::NoImages { given: set.images.given().to_owned(), tried: set.images.len() });
    }
    let (accuracy, by_images) = mean_and_standard_error(&of_images);
    let standard_error = match task.asks_all_the_same() {
        // Whatever the mask does to the accuracy, it does to all images at once: the passes are what is independent.
        true => {
            of_passes.iter_mut().for_each(|sum| *sum /= of_images.len() as f64);
            mean_and_standard_error(&of_passes).1
        }
        false => by_images,
    };
    let loss = loss_sum / (of_images.len() * set.passes).max(1) as f64;
    Ok(Evaluation {
        accuracy,
        standard_error,
        loss,
        chance: task.chance(),
        images: of_images.len(),
        passes: set.passes,
    })
}

/// Mean of `values`, and its standard error: s / √n with the n - 1 form of s; 0 for less than two values.
fn mean_and_standard_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() < 2 { 0.0 } else { (squares / (n - 1.0) / n).sqrt() })
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::data::{Batch, Image8};
    use crate::task::{Phase, TaskOutput};

    /// All images are right with odd seeds and wrong with even ones.
    struct Fixed {
        shared: bool,
    }

    impl Task for Fixed {
        fn loss(&self, batch: &Batch, phase: Phase) -> Result<TaskOutput> {
            let Phase::Eval { seed } = phase else { unreachable!("never trained") };
            let right = (seed % 2) as u8;
            let device = Device::Cpu;
            Ok(TaskOutput {
                loss: Tensor::new(1f32, &device)?,
                accuracy: Tensor::new(f32::from(right), &device)?,
                correct: Tensor::from_vec(vec![right; batch.len()], (batch.len(), 1), &device)?,
                features: None,
            })
        }

        fn chance(&self) -> f64 {
            0.5
        }

        fn asks_all_the_same(&self) -> bool {
            self.shared
        }
    }

    #[test]
    fn a_mask_for_all_images_is_one_observation() {
        let images = (0..5).map(|value| Image8::new(1, 1, vec![value; 3]).unwrap()).collect();
        let images = Dataset::from_images(images, &[], &[]).unwrap();
        let normalise = Normalise::new(&[0.5; 3], &[0.5; 3]).unwrap();
        let set = EvalSet { images, normalise, image_size: 1, batch_size: 2, workers: 1, passes: 6, seed: 0 };
        let seeds = (0..6).map(|pass| derive(set.seed, Purpose::Evaluation, pass, 0) % 2);
        let of_passes: Vec<f64> = seeds.map(|right| right as f64).collect();
        let found = |shared| evaluate(&Fixed { shared }, &set, &Device::Cpu).unwrap();
        // The images agree exactly, so by images there would be no error at all.
        assert_eq!(found(false).standard_error, 0.0);
        let (mean, error) = mean_and_standard_error(&of_passes);
        assert!((found(true).accuracy - mean).abs() < 1e-12 && (found(true).standard_error - error).abs() < 1e-12);
        assert!(error > 0.0, "{of_passes:?}");
    }

    #[test]
    fn standard_error_is_that_of_the_mean_over_images() {
        // mean 0.5, squares 0.25 + 0.25 + 0 + 0 = 0.5, s² = 0.5 / 3, error = √(0.5 / 3 / 4)
        let (mean, error) = mean_and_standard_error(&[0.0, 1.0, 0.5, 0.5]);
        assert_eq!(mean, 0.5);
        assert!((error - (0.5f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_standard_error(&[0.3]), (0.3, 0.0));
    }
}
