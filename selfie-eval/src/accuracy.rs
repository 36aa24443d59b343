//! Accuracy of a classifier: top-1 over all images, and class by class.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Top-1 accuracy over a labelled split.
///
/// ```
/// use selfie_eval::Accuracy;
/// let classes = ["cat".to_owned(), "dog".to_owned()];
/// let found = Accuracy::new(&[0, 1, 1, 1], &[0, 0, 1, 1], &classes)?;
/// assert_eq!((found.top1, found.per_class[0].top1, found.per_class[1].top1), (0.75, 0.5, 1.0));
/// # Ok::<(), selfie_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Share of images whose likeliest class is their own.
    pub top1: f64,
    /// Its standard error: that of a share of independent images.
    pub standard_error: f64,
    /// Images that were asked.
    pub images: usize,
    /// Images whose class was found.
    pub correct: usize,
    /// The classes that have an image in this split, in the order of their numbers.
    pub per_class: Vec<ClassAccuracy>,
}

/// Accuracy over the images of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// Its name.
    pub class: String,
    /// Share of its images whose class was found.
    pub top1: f64,
    /// Its images.
    pub images: usize,
    /// Those whose class was found.
    pub correct: usize,
}

impl Accuracy {
    /// Compares `predicted` with `labels`, numbers of `classes` both.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, there is no image, or a label is no class.
    pub fn new(predicted: &[u32], labels: &[u32], classes: &[String]) -> Result<Self> {
        if predicted.len() != labels.len() || labels.is_empty() {
            return Err(Error::Shape {
                what: "predicted classes",
                expected: format!("{} of them, at least 1", labels.len()),
                got: predicted.len().to_string(),
            });
        }
        let mut counts = vec![(0, 0); classes.len()]; // images and right answers of each class
        for (predicted, label) in predicted.iter().zip(labels) {
            let count = counts.get_mut(*label as usize).ok_or_else(|| Error::Shape {
                what: "label",
                expected: format!("below {} classes", classes.len()),
                got: label.to_string(),
            })?;
            count.0 += 1;
            count.1 += usize::from(predicted == label);
        }
        let images = labels.len();
        let correct = counts.iter().map(|count| count.1).sum();
        let top1 = share(correct, images);
        let with_images = classes.iter().zip(counts).filter(|(_, count)| count.0 > 0);
        let per_class = with_images.map(|(class, (images, correct))| ClassAccuracy {
            class: class.clone(),
            top1: share(correct, images),
            images,
            correct,
        });
        Ok(Self {
            top1,
            standard_error: (top1 * (1.0 - top1) / images as f64).sqrt(),
            images,
            correct,
            per_class: per_class.collect(),
        })
    }
}

fn share(correct: usize, images: usize) -> f64 {
    correct as f64 / images as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn top1_counts_images_and_not_classes() {
        // Class a: 1 of 4, class c: 1 of 1; the mean over classes would be 0.625, over images it is 2 of 5.
        let found = Accuracy::new(&[0, 1, 1, 2, 2], &[0, 0, 0, 0, 2], &classes(&["a", "b", "c"])).unwrap();
        assert_eq!((found.top1, found.correct, found.images), (0.4, 2, 5));
        assert!((found.standard_error - (0.24f64 / 5.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn classes_without_images_are_left_out() {
        let found = Accuracy::new(&[0, 2], &[0, 2], &classes(&["a", "b", "c"])).unwrap();
        let names: Vec<_> = found.per_class.iter().map(|class| class.class.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Accuracy::new(&[0], &[0, 1], &classes(&["a", "b"])).is_err());
        assert!(Accuracy::new(&[], &[], &classes(&["a"])).is_err());
        let error = Accuracy::new(&[0], &[7], &classes(&["a"])).unwrap_err().to_string();
        assert!(error.contains("label") && error.contains('7'), "{error}");
    }
}
