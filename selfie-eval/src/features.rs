//! Features of a frozen trunk (a patch network P, or all four stages of a fine-tuned network): of whole images, and of
//! their patches.
//!
//! `image` is the whole image through the trunk, as fine-tuning uses it; `patches` is the mean of the embeddings of
//! the image's patches, as pretraining saw them. Both in eval mode, without augmentation.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, Tensor};
use selfie_encoder::{Mode, Trunk};
use selfie_patch::PatchGrid;
use selfie_train::{
    Dataset, FeatureRows, ImageFeatures, Loader, Normalise, RunConfig, Transform, channel_stats, normalise_of,
};

use crate::error::{Error, Result};

/// Which features of an image.
///
/// ```
/// use selfie_eval::FeatureKind;
/// assert_eq!("patches".parse::<FeatureKind>()?, FeatureKind::Patches);
/// assert_eq!(FeatureKind::Image.to_string(), "image");
/// # Ok::<(), selfie_eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// The whole image through the trunk.
    Image,
    /// The mean of the embeddings of its patches.
    Patches,
}

impl FeatureKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Image, Self::Patches];
}

impl FromStr for FeatureKind {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == word);
        found.ok_or_else(|| Error::config("--features", format!("met `{word}`, expected image or patches")))
    }
}

impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Patches => "patches",
        })
    }
}

/// How images become batches of an evaluation.
#[derive(Clone)]
pub struct View {
    /// What makes floats of bytes.
    pub normalise: Normalise,
    /// Side of the square that every image is brought to, in pixels.
    pub image_size: usize,
    /// Images at once.
    pub batch_size: usize,
    /// Loader threads.
    pub workers: usize,
    /// Whether mean and standard deviation were measured on the images.
    pub measured: bool,
}

/// Images that mean and deviation are measured on, at most, where the origin does not tell them.
const STATS_IMAGES: usize = 10_000;

impl View {
    /// As `config` has it; mean and deviation that it does not tell are measured on `images`, and put into it.
    ///
    /// # Errors
    /// Where an image cannot be read, or the numbers do not fit the channels.
    pub fn of(config: &mut RunConfig, images: &Dataset) -> Result<Self> {
        let measured = config.data.mean.is_empty();
        if measured {
            let images = images.clone().with_channels(config.encoder.in_channels);
            (config.data.mean, config.data.std) = channel_stats(&images, STATS_IMAGES)?;
        }
        Ok(Self {
            normalise: normalise_of(config)?,
            image_size: config.patch.image_size,
            batch_size: config.run.eval_batch(),
            workers: config.data.workers,
            measured,
        })
    }

    /// All of `images` once, in their order.
    ///
    /// # Errors
    /// Where there is no image or a setting is out of range.
    pub fn batches(&self, images: &Dataset, device: &Device) -> Result<Loader> {
        let transform = Transform::eval(self.image_size);
        Ok(Loader::once(images.clone(), transform, self.normalise.clone(), self.batch_size, self.workers, device)?)
    }
}

/// Features of one kind.
#[derive(Debug, Clone)]
pub struct Features {
    /// Which features.
    pub kind: FeatureKind,
    /// One row for each image that could be read, with the image that it is of.
    pub rows: ImageFeatures,
}

/// Returns the features of those of `images` that can be read, each kind that is asked for; `progress` receives the number of images
/// done.
///
/// # Errors
/// Returns an error if no image can be read, or one that must not be left out, or if images do not fit the grid.
pub fn extract(
    trunk: &Trunk,
    grid: &PatchGrid,
    kinds: &[FeatureKind],
    images: &Dataset,
    view: &View,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Features>> {
    let mut all: Vec<_> = kinds.iter().map(|_| FeatureRows::new(images)).collect();
    let mut loader = view.batches(images, device)?;
    while let Some(batch) = loader.next()? {
        for (kind, rows) in kinds.iter().zip(&mut all) {
            rows.add(&batch, &features_of(trunk, grid, *kind, &batch.images)?)?; // (B, D)
        }
        progress(loader.position() as usize);
    }
    let finish = |(kind, rows): (&FeatureKind, FeatureRows)| Ok(Features { kind: *kind, rows: rows.finish()? });
    kinds.iter().zip(all).map(finish).collect()
}

/// The features of one batch: (B, C, H, W) -> (B, D). Detached: else every batch would keep all its activations.
pub(crate) fn features_of(trunk: &Trunk, grid: &PatchGrid, kind: FeatureKind, images: &Tensor) -> Result<Tensor> {
    let features = match kind {
        FeatureKind::Image => trunk.forward(images, Mode::Eval)?, // (B, D)
        FeatureKind::Patches => patches(trunk, grid, images)?,    // (B, D)
    };
    Ok(features.detach())
}

/// The mean of the embeddings of an image's patches: (B, C, H, W) -> (B, D).
fn patches(trunk: &Trunk, grid: &PatchGrid, images: &Tensor) -> Result<Tensor> {
    let patches = grid.split(images)?; // (B, N, C, P, P)
    let (b, n, c, p, _) = patches.dims5()?;
    let h = trunk.forward(&patches.reshape((b * n, c, p, p))?, Mode::Eval)?; // (B N, D)
    Ok(h.reshape((b, n, trunk.embed_dim()))?.mean(1)?) // (B, D)
}
