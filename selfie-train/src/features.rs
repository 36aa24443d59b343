//! Features of images, each row bound to the image that it is of.
//!
//! An evaluation leaves out images that cannot be read, so the rows of its features are fewer than the images of its data set, and
//! row `i` need not be of image `i`. Labels, names and pictures are therefore looked up by row, through the number of the row's
//! image: no second list exists that could be shifted against the first.

use candle_core::{DType, Device, Tensor};

use crate::data::{Batch, DataError, Dataset};
use crate::error::{Error, Result};

/// Features of the images of a data set that could be read.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_train::{Batch, Dataset, FeatureRows, Image8};
/// let pixel = || Image8::new(1, 1, vec![0; 3]);
/// let images = Dataset::from_images(vec![pixel()?, pixel()?, pixel()?], &[0, 1, 1], &["cat", "dog"])?;
/// // The batch of a loader that had to leave out image 0.
/// let batch = Batch { images: Tensor::zeros((2, 3, 1, 1), candle_core::DType::F32, &Device::Cpu)?,
///     labels: None, indices: vec![1, 2], keys: vec![1, 2] };
/// let mut rows = FeatureRows::new(&images);
/// rows.add(&batch, &Tensor::new(&[[0.1f32], [0.2]], &Device::Cpu)?)?;
/// let features = rows.finish()?;
/// assert_eq!((features.len(), features.index(0), features.label(0)), (2, 1, Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    images: Dataset,
    /// The number in `images` of the image of each row.
    indices: Vec<usize>,
    values: Tensor, // (n, D) f32 on the CPU
}

/// [`ImageFeatures`] in the making: batch after batch.
pub struct FeatureRows {
    images: Dataset,
    indices: Vec<usize>,
    parts: Vec<Tensor>,
}

impl FeatureRows {
    /// No rows yet, for images of `images`.
    #[must_use]
    pub fn new(images: &Dataset) -> Self {
        Self { images: images.clone(), indices: Vec::new(), parts: Vec::new() }
    }

    /// Adds the features of the images of `batch`, which a loader of the data set returned: (B, D), a row an image.
    ///
    /// # Errors
    /// Returns an error if the number of rows is not the number of images, or an image is not of the data set.
    pub fn add(&mut self, batch: &Batch, features: &Tensor) -> Result<()> {
        let (rows, _) = features.dims2()?;
        if rows != batch.len() || batch.indices.iter().any(|&i| i >= self.images.len()) {
            let (images, of) = (batch.len(), self.images.len());
            let reason = format!("features: got {rows} rows, expected one for each of {images} images of the {of}");
            return Err(candle_core::Error::Msg(reason).into());
        }
        self.parts.push(features.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?);
        self.indices.extend_from_slice(&batch.indices);
        Ok(())
    }

    /// Number of rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no row yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Returns all rows.
    ///
    /// # Errors
    /// Returns [`Error::NoImages`] if there is none.
    pub fn finish(self) -> Result<ImageFeatures> {
        if self.is_empty() {
            return Err(Error::NoImages { given: self.images.given().to_owned(), tried: self.images.len() });
        }
        let values = Tensor::cat(&self.parts, 0)?; // (n, D)
        Ok(ImageFeatures { images: self.images, indices: self.indices, values })
    }
}

impl ImageFeatures {
    /// Number of rows n, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "features of no image cannot be made")]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// The features: (n, D) of `f32` on the CPU.
    #[must_use]
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The data set that the images belong to.
    #[must_use]
    pub fn images(&self) -> &Dataset {
        &self.images
    }

    /// The number of a row's image in [`ImageFeatures::images`].
    ///
    /// # Panics
    /// If `row` is not below [`ImageFeatures::len`]; so do `label` and `name`.
    #[must_use]
    pub fn index(&self, row: usize) -> usize {
        self.indices[row]
    }

    /// The class of a row's image.
    #[must_use]
    pub fn label(&self, row: usize) -> Option<u32> {
        self.images.label(self.indices[row])
    }

    /// The name of a row's image.
    #[must_use]
    pub fn name(&self, row: usize) -> String {
        self.images.name(self.indices[row])
    }

    /// The classes of all rows, in their order.
    ///
    /// # Errors
    /// Returns [`DataError::NoLabels`] if an image has none.
    pub fn labels(&self) -> Result<Vec<u32>> {
        let labels: Option<Vec<_>> = (0..self.len()).map(|row| self.label(row)).collect();
        Ok(labels.ok_or_else(|| DataError::NoLabels { given: self.images.given().to_owned() })?)
    }

    /// Returns the rows with these numbers, in this order.
    ///
    /// # Errors
    /// Returns an error if there is none, or a number is not below [`ImageFeatures::len`].
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let values = self.values.index_select(&Tensor::from_slice(rows, rows.len(), &Device::Cpu)?, 0)?;
        let indices = rows.iter().map(|&row| self.indices[row as usize]).collect();
        Ok(Self { images: self.images.clone(), indices, values })
    }

    /// Returns the same images with other features: `change` of the present ones, a row for a row.
    ///
    /// # Errors
    /// Returns the error of `change`, or an error if the number of rows changes.
    pub fn map(&self, change: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let values = change(&self.values)?;
        if values.dims2()?.0 != self.len() {
            let reason = format!("features: got {:?}, expected {} rows", values.dims(), self.len());
            return Err(candle_core::Error::Msg(reason).into());
        }
        Ok(Self { values, ..self.clone() })
    }
}
