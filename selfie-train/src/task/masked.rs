//! The pretext task: masked patches, found among the other masked patches of their image.
//!
//! In training the mask of an image is a function of (seed, position of the image in the run's stream of images), so it is fresh in
//! every epoch, and the same however the batch is cut. In an evaluation it is a function of (seed, name of the image), so it is the
//! same in every evaluation and picture, whichever other images are in the set or cannot be read. With `patch.mask = "per-batch"` it
//! is a function of (seed, step).

use candle_core::{Device, Tensor};
use selfie_patch::{MaskSampler, MaskScope};

use super::{Phase, Task, TaskOutput, largest};
use crate::config::RunConfig;
use crate::data::{Batch, Image8};
use crate::error::Result;
use crate::model::{Mode, Output, Puzzle, SelfieModel};
use crate::picture::{Riddle, draw_all};
use crate::probe::EvalSet;
use crate::seed::{Purpose, derive};

/// Images in the picture that is made while training.
const PICTURED: usize = 4;

/// A [`SelfieModel`] with its masks.
pub struct MaskedPatches {
    model: SelfieModel,
    sampler: MaskSampler,
    scope: MaskScope,
    seed: u64,
}

impl MaskedPatches {
    /// The task of `config`, with masks and dropout from its `run.seed`.
    ///
    /// # Errors
    /// Where the numbers of patches and targets do not fit.
    pub fn new(model: SelfieModel, config: &RunConfig) -> Result<Self> {
        let scope = config.patch.mask;
        let sampler = MaskSampler::new(model.grid().num_patches(), config.patch.num_targets, scope)?;
        Ok(Self { model, sampler, scope, seed: config.run.seed })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &SelfieModel {
        &self.model
    }

    fn mode(&self, batch: &Batch, phase: Phase) -> Mode {
        match phase {
            Phase::Train { step } => {
                let dropout = derive(self.seed, Purpose::Dropout, step, 0);
                Mode::Train { dropout, first_image: batch.first_key() }
            }
            Phase::Eval { .. } => Mode::Eval,
        }
    }

    /// Returns what is asked of the images with these keys ([`Batch::keys`]) in that phase.
    ///
    /// # Errors
    /// Returns an error if there is no image or the device fails.
    pub fn puzzle(&self, images: &[u64], phase: Phase, device: &Device) -> Result<Puzzle> {
        let (masks, distractors) = match phase {
            Phase::Train { step } => {
                let step = if self.scope == MaskScope::PerBatch { step } else { 0 };
                (derive(self.seed, Purpose::Mask, step, 0), derive(self.seed, Purpose::Distractors, 0, 0))
            }
            Phase::Eval { seed } => (seed, seed),
        };
        let mask = self.sampler.sample(images.iter().copied(), masks, device)?;
        Ok(Puzzle { mask, images: images.to_vec(), seed: distractors })
    }
}

impl Task for MaskedPatches {
    fn loss(&self, batch: &Batch, phase: Phase) -> Result<TaskOutput> {
        let puzzle = self.puzzle(&batch.keys, phase, batch.images.device())?;
        answer(self.model.forward(&batch.images, &puzzle, self.mode(batch, phase))?)
    }

    /// The patches are embedded once: in eval mode that does not depend on the mask.
    fn evaluate(&self, batch: &Batch, seeds: &[u64]) -> Result<Vec<TaskOutput>> {
        let h = self.model.embed(&batch.images, Mode::Eval)?.detach(); // (B, N, D)
        let solve = |&seed: &u64| {
            let puzzle = self.puzzle(&batch.keys, Phase::Eval { seed }, h.device())?;
            answer(self.model.solve(h.clone(), &puzzle, Mode::Eval)?)
        };
        seeds.iter().map(solve).collect()
    }

    /// One mask for all images, with `patch.mask = "per-batch"`.
    fn asks_all_the_same(&self) -> bool {
        self.scope == MaskScope::PerBatch
    }

    fn chance(&self) -> f64 {
        self.model.chance()
    }

    /// The mean of the embeddings of an image's patches.
    fn features(&self, batch: &Batch) -> Result<Option<Tensor>> {
        let h = self.model.embed(&batch.images, Mode::Eval)?.detach(); // (B, N, D)
        Ok(Some(h.mean(1)?)) // (B, D)
    }

    fn activations(&self, batch: &Batch, phase: Phase) -> Result<Vec<(String, f32)>> {
        let mode = self.mode(batch, phase);
        let trunk = self.model.encoder().activations(&self.model.patches(&batch.images)?, mode.trunk())?;
        let mut found: Vec<_> = trunk.into_iter().map(|(layer, most)| (format!("encoder.{layer}"), most)).collect();
        let puzzle = self.puzzle(&batch.keys, phase, batch.images.device())?;
        let output = self.model.forward(&batch.images, &puzzle, mode)?;
        for (layer, tensor) in [
            ("encoder (h)", &output.h),
            ("attnpool (u)", &output.u),
            ("queries", &output.queries),
            ("logits", &output.logits),
        ] {
            found.push((layer.to_owned(), largest(tensor)?));
        }
        Ok(found)
    }

    fn picture(&self, set: &EvalSet, device: &Device) -> Result<Option<Image8>> {
        let set = set.pictured(PICTURED)?;
        if set.images.is_empty() {
            return Ok(None);
        }
        Ok(Some(draw_all(&Riddle::of_set(self, &set, device)?)?))
    }
}

/// What the loop needs of the model's output.
fn answer(output: Output) -> Result<TaskOutput> {
    let features = output.h.detach().flatten_to(1)?; // (B N, D)
    Ok(TaskOutput { loss: output.loss, accuracy: output.accuracy, correct: output.correct, features: Some(features) })
}
