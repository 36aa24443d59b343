//! Features of any images, to a file: as a stream, and from where it stopped.
//!
//! Images go through the trunk batch by batch in their own order, and their features to disk; memory does not grow with
//! their number. The end is made of what is on disk then ([`formats`]), so an interrupted run ends in the same bytes as
//! one that was not: batches begin at the same images.

mod formats;
mod images;
mod partial;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use selfie_encoder::Trunk;
use selfie_patch::PatchGrid;
use selfie_train::{RunConfig, StopFlag, checksum};
use serde::Serialize;
use serde_json::{Value, json};

pub use formats::EmbedFormat;
pub use images::EmbedSplit;

use crate::error::{Error, Result};
use crate::features::{FeatureKind, View, features_of};
use crate::origin::Origin;
use crate::transfer::{held_trunk, load_trunk};
use formats::Finished;
use images::Images;
use partial::Partial;

/// A frozen trunk and the images that it is shown.
pub struct Embed {
    config: RunConfig,
    images: Images,
    trunk: Trunk,
    grid: PatchGrid,
    kinds: Vec<FeatureKind>,
    view: View,
    device: Device,
    of: Value,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct EmbedReport {
    /// The files, the features first.
    pub files: Vec<PathBuf>,
    /// Rows: images that could be read.
    pub images: usize,
    /// Images that could not, and have no row.
    pub left_out: usize,
    /// Rows that contain NaN or an infinite value.
    pub non_finite: usize,
    /// Name of the first such image.
    pub first_non_finite: Option<String>,
    /// Images that an earlier, interrupted call had done.
    pub resumed_at: usize,
    /// Each kind of features and its width D.
    pub features: Vec<(FeatureKind, usize)>,
    /// Stages of the network that the features come after.
    pub stages: usize,
    /// Seconds of this call.
    pub seconds: f64,
    /// Its speed.
    pub images_per_second: f64,
    /// What the features are of.
    pub of: Value,
}

impl Embed {
    /// Opens the images of `config` and loads the trunk.
    ///
    /// # Errors
    /// Where settings, data or weights do not fit; all of it before any work.
    pub fn prepare(
        mut config: RunConfig,
        origin: &Origin,
        kinds: &[FeatureKind],
        split: EmbedSplit,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let images = Images::open(&config.data, split)?;
        let encoder = held_trunk(&config.encoder, origin.weights());
        let (store, trunk) = load_trunk(&encoder, origin.weights(), config.run.seed, device)?;
        let view = View::of(&mut config, images.first())?;
        let weights = checksum(store.tensors().iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        let mut of = json!({
            "from": origin.given(),
            "checkpoint": origin.checkpoint(),
            "weights_crc32": format!("{weights:08x}"),
            "data": config.data.source,
            "split": format!("{split:?}").to_lowercase(),
            "num_images": images.len(),
            "names_crc32": names_checksum(&images),
            "features": kinds,
            "image_size": config.patch.image_size,
            "patch_size": config.patch.patch_size,
            "mean": config.data.mean,
            "std": config.data.std,
            "batch_size": view.batch_size,
            "on_bad_image": config.data.on_bad_image,
        });
        of.sort_all_objects();
        let (grid, kinds, device) = (config.patch.grid()?, kinds.to_vec(), device.clone());
        Ok(Self { config, images, trunk, grid, kinds, view, device, of })
    }

    /// The settings, with mean and standard deviation filled in.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Returns whether mean and standard deviation were measured on the images, because neither the weights nor the settings
    /// give them.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.view.measured
    }

    /// Images to go through.
    #[must_use]
    pub fn num_images(&self) -> usize {
        self.images.len()
    }

    /// Writes the features to `out` as `format`; `progress` is told the number of images gone through. Where an earlier
    /// call was interrupted, this one goes on behind it.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a request to stop, with everything so far kept; else where an image must be read and
    /// cannot, or the disk is full.
    pub fn run(
        &self,
        out: &Path,
        format: EmbedFormat,
        stop: &StopFlag,
        progress: &mut dyn FnMut(usize),
    ) -> Result<EmbedReport> {
        format.check(out, &self.kinds)?;
        let widths: Vec<_> = self.kinds.iter().map(|kind| (*kind, self.trunk.embed_dim())).collect();
        let width = widths.iter().map(|(_, width)| width).sum();
        let mut partial = Partial::open(out, &self.of, width)?;
        let (begun, resumed_at) = (Instant::now(), partial.position().1);
        progress(resumed_at);
        for (first, images) in self.images.from(resumed_at)? {
            let mut loader = self.view.batches(&images, &self.device)?;
            while let Some(batch) = loader.next()? {
                let parts = self.kinds.iter().map(|kind| features_of(&self.trunk, &self.grid, *kind, &batch.images));
                let rows = Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?; // (B, all kinds)
                let values = rows.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let numbers: Vec<_> = batch.indices.iter().map(|i| first + i).collect();
                // The end of the batch, with the images of it that were left out: the next batch begins there in any case.
                let next = first + loader.position() as usize;
                partial.add(&numbers, &values, next)?;
                progress(next);
                if stop.load(Ordering::SeqCst) {
                    partial.save()?;
                    return Err(Error::Stopped { done: next, of: self.images.len() });
                }
            }
        }
        partial.save()?;
        let rows = partial.position().0;
        let finished = Finished { partial: &partial, images: &self.images, widths: &widths, of: &self.of, rows };
        let files = finished.write(out, format)?;
        let non_finite = partial.non_finite();
        partial.remove()?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(EmbedReport {
            files,
            images: rows,
            left_out: self.images.len() - rows,
            non_finite: non_finite.rows as usize,
            first_non_finite: non_finite
                .first
                .and_then(|i| self.images.known(i as usize))
                .map(|known| known.name.clone()),
            resumed_at,
            features: widths,
            stages: self.trunk.config().depths.len(),
            seconds,
            images_per_second: (self.images.len() - resumed_at) as f64 / seconds.max(1e-9),
            of: self.of.clone(),
        })
    }

    /// The images that could not be read in this call, with the reasons.
    #[must_use]
    pub fn bad_images(&self) -> Vec<(String, String)> {
        self.images.bad.all()
    }
}

/// What tells these images from others, as far as their names do.
fn names_checksum(images: &Images) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for known in (0..images.len()).filter_map(|i| images.known(i)) {
        hasher.update(known.name.as_bytes());
        hasher.update(&[0]);
    }
    format!("{:08x}", hasher.finalize())
}
