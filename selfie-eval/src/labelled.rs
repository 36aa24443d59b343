//! Labelled images for training and for the test, checked before any work.

use std::collections::BTreeSet;

use selfie_train::{DataError, Dataset, LabelBudget, Split, label_subset};

use crate::error::{Error, Result};

/// Both labelled splits of a data set.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// All images of the train split, labelled or not.
    pub all: Dataset,
    /// Those whose labels may be used: the budget's share of each class.
    pub train: Dataset,
    /// The labelled images of the test split, all of them.
    pub test: Dataset,
    /// The budget, as written.
    pub budget: String,
}

impl Labelled {
    /// Opens the data that a `--data` string names, with `budget` (`5%`, `400/class`) of the training labels, drawn
    /// from `seed`.
    ///
    /// ```
    /// let data = selfie_eval::Labelled::open("sample", "4/class", 0)?;
    /// assert_eq!((data.classes().len(), data.train.len(), data.test.len()), (12, 48, 48));
    /// # Ok::<(), selfie_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a split or its labels are missing, the budget cannot be, or a class of the test split has no training
    /// image.
    pub fn open(source: &str, budget: &str, seed: u64) -> Result<Self> {
        let parsed: LabelBudget = budget.parse().map_err(|error: DataError| match error {
            DataError::Config { reason, .. } => Error::config("finetune.labels", format!("met {reason}")),
            error => error.into(),
        })?;
        let all = Dataset::open(source, Split::Train)?;
        let train = label_subset(&all, parsed, seed)?;
        let test = Dataset::open(source, Split::Test)?;
        let labelled: Vec<_> = (0..test.len()).filter(|&i| test.label(i).is_some()).collect();
        if labelled.is_empty() {
            return Err(DataError::NoLabels { given: format!("the test split of {source}") }.into());
        }
        let test = test.select(&labelled)?;
        check_classes(&train, &test)?;
        Ok(Self { all, train, test, budget: parsed.to_string() })
    }

    /// The names of the classes, those of both splits.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }
}

/// At least two classes to tell apart, and every one that is asked for was shown.
fn check_classes(train: &Dataset, test: &Dataset) -> Result<()> {
    let present = |images: &Dataset| (0..images.len()).filter_map(|i| images.label(i)).collect::<BTreeSet<_>>();
    let (shown, asked) = (present(train), present(test));
    let fail = |reason: String| Err(Error::config("data.source", format!("{}: {reason}", train.given())));
    if let Some(class) = asked.difference(&shown).next() {
        let name = &train.classes()[*class as usize];
        return fail(format!("class {name} of the test split has no training image, expected at least one"));
    }
    if shown.len() < 2 {
        return fail(format!("{} class with training images, expected at least 2", shown.len()));
    }
    Ok(())
}
