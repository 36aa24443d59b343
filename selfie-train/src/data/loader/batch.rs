//! A batch of images on the device.

use candle_core::{Device, Tensor};

use super::queue::Filled;
use crate::data::error::DataResult;

/// Images on the device, with what is known of them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Normalised floats, (B, C, H, W).
    pub images: Tensor,
    /// Classes, (B) u32, where every image of the batch has one.
    pub labels: Option<Tensor>,
    /// Numbers of the images in the data set.
    pub indices: Vec<usize>,
    /// What the random draws for each image depend on, beside a seed: in training its position, counted over all epochs; in an
    /// evaluation a hash of its name, so that images which are left out change nothing for the others.
    pub keys: Vec<u64>,
}

impl Batch {
    pub(super) fn new(
        filled: Filled,
        (channels, height, width): (usize, usize, usize),
        device: &Device,
    ) -> DataResult<Self> {
        let count = filled.indices.len();
        let images = Tensor::from_vec(filled.floats, (count, channels, height, width), device)?; // (B, C, H, W)
        let labels = filled.labels.map(|labels| Tensor::from_vec(labels, count, device)); // (B)
        Ok(Self { images, labels: labels.transpose()?, indices: filled.indices, keys: filled.keys })
    }

    /// Number of images B.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no image; a loader delivers no such batch.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Key of the first image: in training those of the others count on from it.
    pub(crate) fn first_key(&self) -> u64 {
        self.keys.first().copied().unwrap_or(0)
    }

    /// `len` images from `start` on, as a micro-batch that shares the memory.
    ///
    /// # Errors
    /// [`crate::DataError::Tensor`] if the range does not lie inside of the batch.
    pub fn narrow(&self, start: usize, len: usize) -> DataResult<Self> {
        let images = self.images.narrow(0, start, len)?; // (len, C, H, W)
        let labels = self.labels.as_ref().map(|labels| labels.narrow(0, start, len)); // (len)
        Ok(Self {
            images,
            labels: labels.transpose()?,
            indices: self.indices[start..start + len].to_vec(),
            keys: self.keys[start..start + len].to_vec(),
        })
    }
}
