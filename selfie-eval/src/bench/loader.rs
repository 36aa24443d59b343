//! Speed of the loader alone: how many images a second become normalised batches of floats.
//!
//! The protocol is that of `loader_torch.py`: an epoch that warms the caches and is not counted, then epochs that are, each with
//! its own start; batches are taken as fast as they come. The speed is that of the median epoch.

use std::time::Instant;

use candle_core::Device;
use selfie_train::{Augment, Dataset, Loader, LoaderConfig, Normalise, Split, Transform, peak_rss_mb};
use serde::Serialize;

use super::{median, round};
use crate::error::{Error, Result};

/// Mean and deviation that everybody normalises photographs with (those of ImageNet).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// What is timed.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderBench {
    /// The `--data` string.
    pub data: String,
    /// Random changes of the images.
    pub augment: Augment,
    /// Side of the images that come out, in pixels.
    pub image_size: usize,
    /// Images a batch.
    pub batch_size: usize,
    /// Threads that load.
    pub workers: usize,
    /// Epochs that count, after one that does not.
    pub epochs: usize,
    /// The seed of order and augmentation.
    pub seed: u64,
}

/// What was measured; the order of the fields is that of the JSON.
#[derive(Debug, Clone, Serialize)]
pub struct LoaderReport {
    /// Speed of the median epoch.
    pub images_per_second: f64,
    /// Speed of each epoch.
    pub epochs: Vec<f64>,
    /// Images an epoch.
    pub images: usize,
    /// Bytes of the floats that an epoch delivers.
    pub bytes: u64,
    /// The `--data` string.
    pub data: String,
    /// Side of the images.
    pub image_size: usize,
    /// Images a batch.
    pub batch_size: usize,
    /// Threads that loaded.
    pub workers: usize,
    /// Largest resident memory so far, in MB; null where the system does not tell.
    pub peak_rss_mb: Option<u64>,
}

impl LoaderBench {
    /// Loads the train split `epochs + 1` times.
    ///
    /// # Errors
    /// Where a setting is out of range, the data are not there or an image cannot be read.
    pub fn run(&self) -> Result<LoaderReport> {
        if self.epochs == 0 {
            return Err(Error::config("--epochs", "met 0, expected at least 1"));
        }
        let data = Dataset::open(&self.data, Split::Train).map_err(selfie_train::Error::from)?;
        let timed: Vec<(u64, f64)> =
            (0..=self.epochs as u64).map(|epoch| self.epoch(&data, epoch)).collect::<Result<_>>()?;
        let rates: Vec<f64> =
            timed[1..].iter().map(|(_, seconds)| round(data.len() as f64 / seconds.max(1e-9), 10.0)).collect();
        Ok(LoaderReport {
            images_per_second: round(median(rates.iter().copied()), 10.0),
            epochs: rates,
            images: data.len(),
            bytes: timed[0].0,
            data: self.data.clone(),
            image_size: self.image_size,
            batch_size: self.batch_size,
            workers: self.workers,
            peak_rss_mb: peak_rss_mb(),
        })
    }

    /// Bytes and seconds of one epoch.
    fn epoch(&self, data: &Dataset, epoch: u64) -> Result<(u64, f64)> {
        let images = data.len() as u64;
        let config = LoaderConfig {
            batch_size: self.batch_size,
            workers: self.workers,
            seed: self.seed,
            start_position: epoch * images,
            end_position: Some((epoch + 1) * images),
            ..LoaderConfig::default()
        };
        let normalise = Normalise::new(&MEAN, &STD).map_err(selfie_train::Error::from)?;
        let transform = Transform::train(self.augment, self.image_size);
        let start = Instant::now();
        let mut loader =
            Loader::new(data.clone(), transform, normalise, config, &Device::Cpu).map_err(selfie_train::Error::from)?;
        let mut bytes = 0;
        while let Some(batch) = loader.next().map_err(selfie_train::Error::from)? {
            bytes += (batch.images.elem_count() * size_of::<f32>()) as u64;
        }
        Ok((bytes, start.elapsed().as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(epochs: usize) -> LoaderBench {
        LoaderBench {
            data: "sample".to_owned(),
            augment: Augment::RandomResizedCrop,
            image_size: 8,
            batch_size: 64,
            workers: 2,
            epochs,
            seed: 0,
        }
    }

    #[test]
    fn every_epoch_delivers_every_image() {
        let report = bench(2).run().unwrap();
        assert_eq!((report.images, report.epochs.len()), (192, 2));
        assert_eq!(report.bytes, 192 * 3 * 8 * 8 * 4);
        assert!(report.epochs.iter().all(|&rate| rate > 0.0) && report.images_per_second > 0.0);
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.starts_with("{\"images_per_second\":") && json.contains("\"data\":\"sample\""), "{json}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert!(bench(0).run().unwrap_err().to_string().starts_with("--epochs: met 0"));
        let gone = LoaderBench { data: "no/such/folder".to_owned(), ..bench(1) };
        assert!(gone.run().unwrap_err().to_string().contains("no/such/folder"));
    }
}
