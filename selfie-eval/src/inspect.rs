//! What a data set holds: whether every image can be read, how large they are, how they are labelled, their mean and deviation.

use selfie_train::{DataError, Dataset, Image8, Split, channel_stats_of, visit_images};
use serde::Serialize;

use crate::error::Result;

/// Images that cannot be read, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadImage {
    /// The image's name in the data.
    pub name: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// One split of a data set, every image of it decoded.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// `train` or `test`.
    pub split: &'static str,
    /// Number of images.
    pub images: usize,
    /// Those that can be decoded.
    pub readable: usize,
    /// Those that cannot.
    pub bad: Vec<BadImage>,
    /// Widths and heights of the readable ones.
    pub sizes: Sizes,
    /// Their labels.
    pub labels: Labels,
}

/// The smallest and the largest of the images' sides, in pixels; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The smallest width.
    pub min_width: usize,
    /// The largest width.
    pub max_width: usize,
    /// The smallest height.
    pub min_height: usize,
    /// The largest height.
    pub max_height: usize,
}

/// How a split is labelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Labels {
    /// Classes of the data set.
    pub classes: usize,
    /// Images with a label.
    pub labelled: usize,
    /// Images of the class of this split that has least; classes without an image count.
    pub smallest_class: usize,
    /// Images of the class that has most.
    pub largest_class: usize,
}

/// Mean and deviation of a split.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// `train` or `test`.
    pub split: &'static str,
    /// Number of images.
    pub images: usize,
    /// Images that were measured.
    pub measured: usize,
    /// Mean per channel, of pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel.
    pub std: Vec<f32>,
    /// The split's labels.
    pub labels: Labels,
}

/// A split's name.
#[must_use]
pub fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "test",
    }
}

/// Decodes every image of a split on `threads` threads; `done` is called after each.
///
/// # Errors
/// [`DataError::Storage`] if the system fails to read; none of a single image, for those are part of the result.
pub fn verify(data: &Dataset, split: Split, threads: usize, done: &(dyn Fn() + Sync)) -> Result<Verified> {
    let numbers: Vec<u32> = (0..data.len() as u32).collect();
    let parts = visit_images(data, &numbers, threads, |part: &mut Part, i, image| {
        match image {
            Ok(image) => part.add(&image),
            Err(error @ DataError::Storage { .. }) => return Err(error),
            Err(error) => part.bad.push((i, error)),
        }
        done();
        Ok(())
    })?;
    let mut all = Part::default();
    parts.into_iter().for_each(|part| all.merge(part));
    all.bad.sort_unstable_by_key(|(i, _)| *i);
    let bad = all.bad.iter().map(|(i, error)| BadImage { name: data.name(*i), reason: error.reason() });
    let bad: Vec<_> = bad.collect();
    Ok(Verified {
        split: split_name(split),
        images: data.len(),
        readable: data.len() - bad.len(),
        bad,
        sizes: all.sizes(),
        labels: Labels::of(data),
    })
}

/// Measures mean and deviation on at most `most` images of a split; `done` is called after each.
///
/// # Errors
/// An image that cannot be read, where the data set does not pass over such.
pub fn stats(data: &Dataset, split: Split, most: usize, done: &(dyn Fn() + Sync)) -> Result<Stats> {
    let (mean, std) = channel_stats_of(data, most, done)?;
    let measured = most.min(data.len());
    Ok(Stats { split: split_name(split), images: data.len(), measured, mean, std, labels: Labels::of(data) })
}

impl Labels {
    fn of(data: &Dataset) -> Self {
        let mut counts = vec![0; data.classes().len()];
        for label in (0..data.len()).filter_map(|i| data.label(i)) {
            counts[label as usize] += 1;
        }
        Self {
            classes: counts.len(),
            labelled: counts.iter().sum(),
            smallest_class: counts.iter().copied().min().unwrap_or(0),
            largest_class: counts.iter().copied().max().unwrap_or(0),
        }
    }
}

/// What one thread saw.
#[derive(Default)]
struct Part {
    sides: Option<Sizes>,
    bad: Vec<(usize, DataError)>,
}

impl Part {
    fn add(&mut self, image: &Image8) {
        let (w, h) = (image.width(), image.height());
        self.widen(Sizes { min_width: w, max_width: w, min_height: h, max_height: h });
    }

    fn widen(&mut self, by: Sizes) {
        let known = self.sides.unwrap_or(by);
        self.sides = Some(Sizes {
            min_width: known.min_width.min(by.min_width),
            max_width: known.max_width.max(by.max_width),
            min_height: known.min_height.min(by.min_height),
            max_height: known.max_height.max(by.max_height),
        });
    }

    fn merge(&mut self, other: Self) {
        other.sides.into_iter().for_each(|sides| self.widen(sides));
        self.bad.extend(other.bad);
    }

    fn sizes(&self) -> Sizes {
        self.sides.unwrap_or(Sizes { min_width: 0, max_width: 0, min_height: 0, max_height: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn data() -> Dataset {
        let image = |w: usize, h: usize| Image8::new(w, h, vec![51; w * h * 3]).unwrap();
        let images = vec![image(2, 3), image(5, 1), image(4, 4)];
        Dataset::from_images(images, &[0, 2, 2], &["a", "b", "c"]).unwrap()
    }

    #[test]
    fn every_image_is_counted_with_its_size_and_label() {
        let done = AtomicUsize::new(0);
        let found = verify(&data(), Split::Train, 2, &|| _ = done.fetch_add(1, Ordering::Relaxed)).unwrap();
        assert_eq!((found.images, found.readable, found.bad.len(), done.into_inner()), (3, 3, 0, 3));
        assert_eq!(found.sizes, Sizes { min_width: 2, max_width: 5, min_height: 1, max_height: 4 });
        assert_eq!(found.labels, Labels { classes: 3, labelled: 3, smallest_class: 0, largest_class: 2 });
    }

    #[test]
    fn stats_are_those_of_the_pixels() {
        let found = stats(&data(), Split::Test, 2, &|| ()).unwrap();
        assert_eq!((found.split, found.measured, found.mean), ("test", 2, vec![0.2; 3]));
    }
}
