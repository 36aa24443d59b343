//! The images of one or both splits in one row of numbers, with what is known of each.

use std::str::FromStr;

use selfie_train::{BadImages, DataConfig, Dataset, Split};

use crate::error::{Error, Result};
use crate::inspect::split_name;

/// Which images are embedded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmbedSplit {
    /// Those to train on.
    Train,
    /// Those to test on.
    Test,
    /// The former, then the latter where there are any.
    #[default]
    All,
}

impl FromStr for EmbedSplit {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            "all" => Ok(Self::All),
            _ => Err(Error::config("--split", format!("met `{word}`, expected train, test or all"))),
        }
    }
}

/// The images, numbered through all splits.
pub(crate) struct Images {
    parts: Vec<(Split, Dataset)>,
    pub(crate) bad: BadImages,
}

/// What is known of an image.
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) split: &'static str,
    pub(crate) label: Option<u32>,
}

impl Images {
    pub(crate) fn open(config: &DataConfig, wanted: EmbedSplit) -> Result<Self> {
        let bad = config.bad_images();
        let parts = match wanted {
            EmbedSplit::Train => vec![(Split::Train, config.open(Split::Train)?)],
            EmbedSplit::Test => vec![(Split::Test, config.open(Split::Test)?)],
            EmbedSplit::All => config.open_all()?,
        };
        let parts = parts.into_iter().map(|(split, images)| (split, images.with_bad_images(&bad))).collect();
        Ok(Self { parts, bad })
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(_, images)| images.len()).sum()
    }

    pub(crate) fn classes(&self) -> &[String] {
        self.first().classes()
    }

    /// Those of the first split; there always is one.
    pub(crate) fn first(&self) -> &Dataset {
        &self.parts[0].1
    }

    /// The splits from image `next` on, each with the number of its first image that is left.
    pub(crate) fn from(&self, next: usize) -> Result<Vec<(usize, Dataset)>> {
        let mut start = 0;
        let mut left = Vec::new();
        for (_, images) in &self.parts {
            let end = start + images.len();
            if next < end {
                let first = next.saturating_sub(start);
                let rest: Vec<_> = (first..images.len()).collect();
                left.push((start + first, if first == 0 { images.clone() } else { images.select(&rest)? }));
            }
            start = end;
        }
        Ok(left)
    }

    pub(crate) fn known(&self, mut image: usize) -> Option<Known> {
        for (split, images) in &self.parts {
            match image.checked_sub(images.len()) {
                Some(behind) => image = behind,
                None => {
                    let (name, label) = (images.name(image), images.label(image));
                    return Some(Known { name, split: split_name(*split), label });
                }
            }
        }
        None
    }
}
