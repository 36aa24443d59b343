//! The `[data]` section of a run's configuration.

use serde::{Deserialize, Serialize};

use super::bad_images::{BadImages, OnBadImage};
use super::colour::Colours;
use super::dataset::Dataset;
use super::error::{DataError, DataResult};
use super::source::Split;
use super::splits::Chosen;

/// Which images a run reads, what it holds out, and how it augments them.
///
/// ```
/// use selfie_train::{Augment, DataConfig};
/// let config = DataConfig {
///     source: "folder:photos".into(),
///     augment: Augment::Flip,
///     ..Default::default()
/// };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The `--data` string: `sample`, a path, or one of `folder:DIR`, `list:FILE`, `cifar10:DIR`, `imagenet32:DIR`,
    /// `mnist:DIR`, `fashion-mnist:DIR`, `parquet:GLOB`, `tar:GLOB`, `hf:OWNER/NAME`.
    pub source: String,
    /// Splits to train on, by the names that are shown when the data are opened, such as `["train", "extra"]`. Empty: the
    /// split that is called `train` or `training`, or all images of data without splits.
    pub train_splits: Vec<String>,
    /// Splits to test on, by name. Empty: the first one found of `val`, `validation`, `valid`, `dev`, `test`, `testing`,
    /// `eval` and `evaluation`.
    pub test_splits: Vec<String>,
    /// Share of the training images kept away from training for the run's own curves, in [0, 1). They are chosen by a
    /// hash of their names, so they are the same images in every run.
    pub holdout: f64,
    /// Threads that read, decode and augment, beside the compute threads; at least 1. Their number changes no bit.
    pub workers: usize,
    /// Random changes of a training image. Evaluation never uses them.
    pub augment: Augment,
    /// Smallest and largest share of the image's area that a random resized crop takes.
    pub crop_scale: [f64; 2],
    /// Smallest and largest ratio of width to height of a random resized crop.
    pub crop_ratio: [f64; 2],
    /// Share of the training images that are mirrored left to right.
    pub flip: f64,
    /// Colour jitter of pretraining: strengths of brightness, contrast, saturation and hue; all 0 is off.
    pub jitter: [f64; 4],
    /// Share of the training images that are jittered.
    pub jitter_share: f64,
    /// Share of the training images that lose their colour in pretraining.
    pub grayscale: f64,
    /// Share of the training images that are blurred in pretraining.
    pub blur: f64,
    /// Mean per channel, of pixels scaled to 0..1. Empty: measured from the training images.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of pixels scaled to 0..1. Empty: measured from the training images.
    pub std: Vec<f32>,
    /// What is done about an image that cannot be read: `skip` draws another one for it (an evaluation leaves it out) and
    /// lists it in the run's `bad-images.txt`, `fail` ends the run.
    pub on_bad_image: OnBadImage,
    /// Largest share of bad images among all images of the run, training, held-out and test images together, in [0, 1]; beyond it
    /// the run ends.
    pub max_bad_images: f64,
}

/// Random changes of a training image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// A random part of the image (`data.crop_scale`, `data.crop_ratio`), resized to the wanted size, then a flip (for
    /// photographs).
    #[default]
    RandomResizedCrop,
    /// A random crop of the image padded by reflection, by an eighth of its size, then a flip (for 32-pixel images).
    PaddedCrop,
    /// The view that evaluation takes, then a flip.
    Flip,
    /// The view that evaluation takes.
    None,
}

impl Augment {
    /// The name that a configuration gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RandomResizedCrop => "random-resized-crop",
            Self::PaddedCrop => "padded-crop",
            Self::Flip => "flip",
            Self::None => "none",
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        let colours = Colours::default();
        Self {
            source: "sample".into(),
            train_splits: Vec::new(),
            test_splits: Vec::new(),
            holdout: 0.02,
            workers: 2,
            augment: Augment::default(),
            crop_scale: [0.08, 1.0],
            crop_ratio: [0.75, 4.0 / 3.0],
            flip: 0.5,
            jitter: colours.jitter,
            jitter_share: colours.jitter_share,
            grayscale: colours.grayscale,
            blur: colours.blur,
            mean: Vec::new(),
            std: Vec::new(),
            on_bad_image: OnBadImage::default(),
            max_bad_images: 0.05,
        }
    }
}

impl DataConfig {
    /// The changes of colour and sharpness in pretraining.
    pub fn colours(&self) -> Colours {
        let &Self { jitter, jitter_share, grayscale, blur, .. } = self;
        Colours { jitter, jitter_share, grayscale, blur }
    }

    /// Opens one split of the data.
    ///
    /// # Errors
    /// [`DataError`] names the folder, file, scheme or split and what was expected.
    pub fn open(&self, split: Split) -> DataResult<Dataset> {
        let chosen = Chosen { train: &self.train_splits, test: &self.test_splits };
        Dataset::open_chosen(&self.source, split, &chosen)
    }

    /// Opens the split to train on and the split to test on, as far as the data have them.
    ///
    /// # Errors
    /// As [`DataConfig::open`]; at least one split is required.
    pub fn open_all(&self) -> DataResult<Vec<(Split, Dataset)>> {
        let train = match self.open(Split::Train) {
            Err(missing @ DataError::NoSplit { .. }) => match self.open(Split::Test) {
                Ok(test) => return Ok(vec![(Split::Test, test)]),
                Err(_) => return Err(missing),
            },
            train => train?,
        };
        let test = train.has_test_split().then(|| self.open(Split::Test)).transpose()?;
        Ok([(Split::Train, Some(train)), (Split::Test, test)]
            .into_iter()
            .filter_map(|(split, data)| Some((split, data?)))
            .collect())
    }

    /// An empty list of bad images, with this policy.
    pub fn bad_images(&self) -> BadImages {
        BadImages::new(self.on_bad_image, self.max_bad_images)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`DataError::Config`] names the first field that is out of its range.
    pub fn validate(&self) -> DataResult<()> {
        if self.source.trim().is_empty() {
            let reason = "empty, expected a --data string such as \"sample\" or a folder";
            return Err(DataError::config("data.source", reason));
        }
        if !(0.0..1.0).contains(&self.holdout) {
            let reason = format!("{}, expected a share in [0, 1)", self.holdout);
            return Err(DataError::config("data.holdout", reason));
        }
        if !(1..=1024).contains(&self.workers) {
            return Err(DataError::config("data.workers", format!("{}, expected 1 to 1024", self.workers)));
        }
        range("data.crop_scale", self.crop_scale, 1.0, "above 0 and at most 1")?;
        range("data.crop_ratio", self.crop_ratio, f64::MAX, "above 0")?;
        if !(0.0..=1.0).contains(&self.flip) {
            return Err(DataError::config("data.flip", format!("{}, expected a share from 0 to 1", self.flip)));
        }
        self.colours().validate(&Colours::DATA_KEYS)?;
        if !(0.0..=1.0).contains(&self.max_bad_images) {
            let reason = format!("{}, expected a share in [0, 1]", self.max_bad_images);
            return Err(DataError::config("data.max_bad_images", reason));
        }
        if self.mean.is_empty() != self.std.is_empty() {
            let reason = "only one of data.mean and data.std is set, expected both or neither";
            return Err(DataError::config("data.mean", reason));
        }
        if self.mean.is_empty() {
            return Ok(());
        }
        super::Normalise::new(&self.mean, &self.std).map(|_| ())
    }
}

/// The smallest and the largest value, in this order.
fn range(field: &'static str, [low, high]: [f64; 2], most: f64, expected: &str) -> DataResult<()> {
    if low > 0.0 && low <= high && high <= most {
        return Ok(());
    }
    let reason = format!("[{low}, {high}], expected the smallest and the largest, {expected}");
    Err(DataError::config(field, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_round_trips() {
        let config = DataConfig::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("augment = \"random-resized-crop\""), "{text}");
        assert_eq!(toml::from_str::<DataConfig>(&text).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<DataConfig>("holdut = 0.1").unwrap_err();
        assert!(error.to_string().contains("holdut"), "{error}");
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let case = |change: fn(&mut DataConfig)| {
            let mut config = DataConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(case(|c| c.source.clear()).starts_with("data.source: "));
        assert!(case(|c| c.holdout = 1.0).starts_with("data.holdout: 1,"));
        assert!(case(|c| c.holdout = f64::NAN).starts_with("data.holdout: NaN"));
        assert!(case(|c| c.max_bad_images = 1.5).starts_with("data.max_bad_images: 1.5"));
        assert!(case(|c| c.workers = 0).starts_with("data.workers: 0"));
        assert!(case(|c| c.crop_scale = [0.5, 0.4]).starts_with("data.crop_scale: [0.5, 0.4]"));
        assert!(case(|c| c.crop_scale = [0.1, 1.1]).starts_with("data.crop_scale: [0.1, 1.1]"));
        assert!(case(|c| c.crop_ratio = [0.0, 1.0]).starts_with("data.crop_ratio: [0, 1]"));
        assert!(case(|c| c.flip = -0.1).starts_with("data.flip: -0.1"));
        assert!(case(|c| c.grayscale = 2.0).starts_with("data.grayscale: 2,"));
        assert!(case(|c| c.mean = vec![0.5; 3]).starts_with("data.mean: "));
        let short = case(|c| (c.mean, c.std) = (vec![0.5; 2], vec![0.5; 3]));
        assert!(short.starts_with("data.mean: 2 numbers beside 3"), "{short}");
        let zero = case(|c| (c.mean, c.std) = (vec![0.5; 3], vec![0.5, 0.0, 0.5]));
        assert!(zero.starts_with("data.std: "), "{zero}");
    }
}
