//! The images of a plan: how many, and how large their files are.

use selfie_train::{RunConfig, Split};

use crate::error::{Error, Result};

/// ILSVRC 2012: training images, and bytes of `ILSVRC2012_img_train.tar`.
const IMAGENET: (u64, f64) = (1_281_167, 147_897_477_120.0);

/// Training images, held-out ones included.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// How many.
    pub count: u64,
    /// Mean size of an image's file, where it is known.
    pub bytes_each: Option<f64>,
    /// Where that size is from.
    pub bytes_origin: &'static str,
    source: String,
}

impl Images {
    /// What was given by hand.
    ///
    /// # Errors
    /// [`Error::Config`] for a number that cannot be.
    pub fn given(count: u64, bytes_each: Option<f64>) -> Result<Self> {
        if count == 0 {
            return Err(Error::config("--images", "met 0, expected at least 1"));
        }
        if let Some(bytes) = bytes_each.filter(|bytes| !(bytes.is_finite() && *bytes > 0.0)) {
            return Err(Error::config("--image-bytes", format!("met {bytes}, expected a number above 0")));
        }
        Ok(Self { count, bytes_each, bytes_origin: "as given", source: "as given".to_owned() })
    }

    /// Those of a preset's own data set, which need not be here; of other data, which are counted. What is given takes the place of both.
    ///
    /// # Errors
    /// Where data cannot be opened, or a number cannot be.
    pub fn of(preset: &str, config: &RunConfig, count: Option<u64>, bytes_each: Option<f64>) -> Result<Self> {
        let source = &config.data.source;
        let own = RunConfig::preset(preset)?.data.source == *source;
        let tar = "the mean of ImageNet's files (147.9 GB)";
        let known = match preset {
            "imagenet224" if own => Some((IMAGENET.0, IMAGENET.1 / IMAGENET.0 as f64, tar, "ImageNet")),
            "imagenet32" if own => Some((IMAGENET.0, 3.0 * 32.0 * 32.0, "pixels as they are", "ImageNet 32x32")),
            "cifar10" if own => Some((50_000, 1.0 + 3.0 * 32.0 * 32.0, "label and pixels", "CIFAR-10")),
            _ => None,
        };
        let given = count.map(|count| Self::given(count, bytes_each)).transpose()?;
        let mut images = match (given, known) {
            (Some(given), _) => given,
            (None, Some((count, bytes, bytes_origin, name))) => {
                Self { count, bytes_each: Some(bytes), bytes_origin, source: name.to_owned() }
            }
            (None, None) => {
                let count = config.data.open(Split::Train)?.len() as u64;
                Self { source: source.clone(), ..Self::given(count, None)? }
            }
        };
        match (bytes_each, known) {
            (Some(_), _) => {
                let given = Self::given(1, bytes_each)?;
                (images.bytes_each, images.bytes_origin) = (given.bytes_each, given.bytes_origin);
            }
            (None, Some((_, bytes, origin, _))) => (images.bytes_each, images.bytes_origin) = (Some(bytes), origin),
            (None, None) => {}
        }
        Ok(images)
    }

    /// Images that are trained on.
    pub(super) fn trained(&self, holdout: f64) -> f64 {
        (self.count as f64 * (1.0 - holdout)).round()
    }

    pub(super) fn origin(&self, holdout: f64) -> String {
        let kept = if holdout > 0.0 { format!(" less {:.1} % held out", 1e2 * holdout) } else { String::new() };
        format!("{} ({}){kept}", self.count, self.source)
    }
}
