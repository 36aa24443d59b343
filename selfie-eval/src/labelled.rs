//! Labelled images for training and for the test, checked before any work.

use std::collections::BTreeSet;
use std::path::Path;

use selfie_train::{BadImages, DataConfig, DataError, Dataset, LabelBudget, Split, escape_field, label_subset};

use crate::error::{Error, Result};
use crate::holdout::stratified_holdout;

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
    /// The images of all three that could not be read.
    pub bad: BadImages,
}

impl Labelled {
    /// Opens the data that `config` names, with `budget` (`5%`, `400/class`) of the training labels, drawn from `seed`.
    ///
    /// ```
    /// let config = selfie_train::DataConfig { source: "sample".into(), ..Default::default() };
    /// let data = selfie_eval::Labelled::open(&config, "4/class", 0)?;
    /// assert_eq!((data.classes().len(), data.train.len(), data.test.len()), (12, 48, 48));
    /// # Ok::<(), selfie_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a split or its labels are missing, the budget cannot be, or a class of the test split has no training
    /// image.
    pub fn open(config: &DataConfig, budget: &str, seed: u64) -> Result<Self> {
        let parsed: LabelBudget = budget.parse().map_err(|error: DataError| match error {
            DataError::Config { reason, .. } => Error::config("finetune.labels", format!("met {reason}")),
            error => error.into(),
        })?;
        let (source, bad) = (config.source.as_str(), config.bad_images());
        let all = config.open(Split::Train)?.with_bad_images(&bad);
        let train = label_subset(&all, parsed, seed)?;
        let test = config.open(Split::Test)?.with_bad_images(&bad);
        let labelled: Vec<_> = (0..test.len()).filter(|&i| test.label(i).is_some()).collect();
        if labelled.is_empty() {
            return Err(DataError::NoLabels { given: format!("the test split of {source}") }.into());
        }
        let test = test.select(&labelled)?;
        check_classes(&train, &test)?;
        Ok(Self { all, train, test, budget: parsed.to_string(), bad })
    }

    /// The training images in two parts, to choose a setting by: `share` of each class (rounded, never all of it) takes
    /// the place of the test split, the others are trained on.
    ///
    /// # Errors
    /// [`Error::Config`] where no class has an image to spare.
    pub fn held_out(&self, share: f64, seed: u64) -> Result<Self> {
        let labels: Vec<u32> = (0..self.train.len()).filter_map(|i| self.train.label(i)).collect();
        let (fit, held_out) = stratified_holdout(&labels, self.classes().len(), share, seed);
        if held_out.is_empty() {
            let reason = format!(
                "met {} labelled images in {} classes, of which {} % is none, expected more labels",
                labels.len(),
                self.classes().len(),
                100.0 * share
            );
            return Err(Error::config("finetune.tune", reason));
        }
        let part = |at: Vec<u32>| self.train.select(&at.into_iter().map(|i| i as usize).collect::<Vec<_>>());
        Ok(Self { train: part(fit)?, test: part(held_out)?, ..self.clone() })
    }

    /// Writes the images whose labels may be used, a name and its class a line with a tab between, in their order.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_labels(&self, file: &Path) -> Result<()> {
        let class = |i: usize| self.train.label(i).and_then(|label| self.classes().get(label as usize));
        let line = |i: usize| {
            let (name, class) = (self.train.name(i), class(i)?);
            Some(format!("{}\t{}\n", escape_field(&name), escape_field(class)))
        };
        let lines = (0..self.train.len()).filter_map(line);
        std::fs::write(file, lines.collect::<String>()).map_err(Error::io(file))
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
