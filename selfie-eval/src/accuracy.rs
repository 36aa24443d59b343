//! Accuracy of a classifier: top-1 over all images, and class by class.

use selfie_train::ImageFeatures;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Top-1 accuracy over a labelled split.
///
/// ```
/// use selfie_eval::{Accuracy, Answer};
/// let classes = ["cat".to_owned(), "dog".to_owned()];
/// let answers = [(0, 0), (1, 0), (1, 1), (1, 1)].map(|(predicted, label)| Answer { predicted, label });
/// let found = Accuracy::new(&answers, &classes)?;
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

/// The class that was predicted for an image, and the image's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The predicted class.
    pub predicted: u32,
    /// The image's class.
    pub label: u32,
}

impl Answer {
    /// Pairs the classes that were predicted from `rows`, one a row, with those of the rows' images.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if there is not one prediction a row, or an error if an image has no label.
    pub fn of(rows: &ImageFeatures, predicted: &[u32]) -> Result<Vec<Self>> {
        if predicted.len() != rows.len() {
            let (expected, got) = (format!("{}, one for each row", rows.len()), predicted.len().to_string());
            return Err(Error::Shape { what: "predicted classes", expected, got });
        }
        Ok(rows.labels()?.into_iter().zip(predicted).map(|(label, &predicted)| Self { predicted, label }).collect())
    }
}

impl Accuracy {
    /// Counts the right ones of `answers`, whose classes are numbers of `classes`.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if there is no answer, or a label is not below the number of classes.
    pub fn new(answers: &[Answer], classes: &[String]) -> Result<Self> {
        if answers.is_empty() {
            let (expected, got) = ("at least 1".to_owned(), "0".to_owned());
            return Err(Error::Shape { what: "predicted classes", expected, got });
        }
        let mut counts = vec![(0, 0); classes.len()]; // images and right answers of each class
        for Answer { predicted, label } in answers {
            let count = counts.get_mut(*label as usize).ok_or_else(|| Error::Shape {
                what: "label",
                expected: format!("below {} classes", classes.len()),
                got: label.to_string(),
            })?;
            count.0 += 1;
            count.1 += usize::from(predicted == label);
        }
        let images = answers.len();
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

    fn answers<const N: usize>(predicted: [u32; N], labels: [u32; N]) -> Vec<Answer> {
        predicted.into_iter().zip(labels).map(|(predicted, label)| Answer { predicted, label }).collect()
    }

    fn classes(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn top1_counts_images_and_not_classes() {
        // Class a: 1 of 4, class c: 1 of 1; the mean over classes would be 0.625, over images it is 2 of 5.
        let found = Accuracy::new(&answers([0, 1, 1, 2, 2], [0, 0, 0, 0, 2]), &classes(&["a", "b", "c"])).unwrap();
        assert_eq!((found.top1, found.correct, found.images), (0.4, 2, 5));
        assert!((found.standard_error - (0.24f64 / 5.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn classes_without_images_are_left_out() {
        let found = Accuracy::new(&answers([0, 2], [0, 2]), &classes(&["a", "b", "c"])).unwrap();
        let names: Vec<_> = found.per_class.iter().map(|class| class.class.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Accuracy::new(&[], &classes(&["a"])).is_err());
        let error = Accuracy::new(&answers([0], [7]), &classes(&["a"])).unwrap_err().to_string();
        assert!(error.contains("label") && error.contains('7'), "{error}");
    }
}
