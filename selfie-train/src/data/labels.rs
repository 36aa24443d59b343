//! Label budgets: the part of a labelled set that fine-tuning may see (the paper's 5, 8, 10 and 20 %).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::draw::shuffle;
use super::error::{DataError, DataResult};
use crate::seed::{Purpose, stream};

/// How many labelled images a run may use.
///
/// ```
/// use selfie_train::LabelBudget;
/// assert_eq!("5%".parse::<LabelBudget>()?, LabelBudget::Fraction(0.05));
/// assert_eq!("400/class".parse::<LabelBudget>()?, LabelBudget::PerClass(400));
/// assert_eq!(LabelBudget::Fraction(0.05).to_string(), "5%");
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LabelBudget {
    /// A share of each class, in (0, 1]; written in percent: `5%`.
    Fraction(f64),
    /// So many images of each class; written `400/class`.
    PerClass(usize),
}

impl FromStr for LabelBudget {
    type Err = DataError;

    fn from_str(text: &str) -> DataResult<Self> {
        let fail = || {
            let reason = format!("{text:?}, expected a share such as \"5%\" (above 0, up to 100) or \"400/class\"");
            DataError::config("labels", reason)
        };
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%') {
            let percent: f64 = percent.trim_end().parse().map_err(|_| fail())?;
            let in_range = percent > 0.0 && percent <= 100.0;
            in_range.then_some(Self::Fraction(percent / 100.0)).ok_or_else(fail)
        } else if let Some(count) = trimmed.strip_suffix("/class") {
            let count: usize = count.trim_end().parse().map_err(|_| fail())?;
            (count > 0).then_some(Self::PerClass(count)).ok_or_else(fail)
        } else {
            Err(fail())
        }
    }
}

impl fmt::Display for LabelBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Twelve digits hide that 0.07 * 100 is 7.000000000000001.
            Self::Fraction(share) => write!(f, "{}%", (share * 1e14).round() / 1e12),
            Self::PerClass(count) => write!(f, "{count}/class"),
        }
    }
}

impl TryFrom<String> for LabelBudget {
    type Error = DataError;

    fn try_from(text: String) -> DataResult<Self> {
        text.parse()
    }
}

impl From<LabelBudget> for String {
    fn from(budget: LabelBudget) -> Self {
        budget.to_string()
    }
}

impl LabelBudget {
    /// How many of `available` images of a class: a share is rounded up.
    fn count(self, available: usize) -> usize {
        match self {
            // The small term keeps 0.07 * 100 = 7.000000000000001 from becoming 8.
            Self::Fraction(share) => ((share * available as f64 - 1e-9).ceil() as usize).clamp(1, available),
            Self::PerClass(count) => count,
        }
    }
}

/// The labelled images that a budget allows: stratified by class, at least one a class, unlabelled images left out, in the
/// order of `dataset`.
///
/// The images of a class are put in an order drawn from (seed, class), and the budget takes the first ones: for one
/// seed a smaller budget lies inside a larger one.
///
/// # Errors
/// [`DataError::NoLabels`] without labels; [`DataError::Config`] if a class has fewer images than `N/class` asks for, or a
/// share does not lie in (0, 1].
pub fn label_subset(dataset: &Dataset, budget: LabelBudget, seed: u64) -> DataResult<Dataset> {
    if let LabelBudget::Fraction(share) = budget
        && !(share > 0.0 && share <= 1.0)
    {
        let reason = format!("a share of {share}, expected above 0 and at most 1");
        return Err(DataError::config("labels", reason));
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); dataset.classes().len()];
    for i in 0..dataset.len() {
        if let Some(label) = dataset.label(i) {
            members[label as usize].push(i as u32);
        }
    }
    let mut chosen = Vec::new();
    for (class, members) in members.iter_mut().enumerate() {
        if members.is_empty() {
            continue; // a class of the other split, or one that a selection left out
        }
        let count = budget.count(members.len());
        if count > members.len() {
            let name = &dataset.classes()[class];
            let reason = format!("{budget}, but class {name} has only {} images", members.len());
            return Err(DataError::config("labels", reason));
        }
        shuffle(members, &mut stream(seed, Purpose::LabelSubset, class as u64, 0));
        chosen.extend_from_slice(&members[..count]);
    }
    if chosen.is_empty() {
        return Err(DataError::NoLabels { given: dataset.given().to_string() });
    }
    chosen.sort_unstable();
    Ok(dataset.part(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_written_alike() {
        for text in ["5%", "8%", "7%", "0.5%", "12.5%", "100%", "400/class"] {
            assert_eq!(text.parse::<LabelBudget>().unwrap().to_string(), text);
        }
        assert_eq!("7 %".parse::<LabelBudget>().unwrap(), LabelBudget::Fraction(0.07));
    }

    #[test]
    fn what_is_no_budget_is_refused_with_the_two_forms() {
        for text in ["", "5", "0.05", "0%", "-5%", "101%", "NaN%", "inf%", "0/class", "x/class", "5/klass"] {
            let error = text.parse::<LabelBudget>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("400/class"), "{error}");
        }
    }

    #[test]
    fn shares_are_rounded_up_but_not_by_rounding_errors() {
        let count = |share, n| LabelBudget::Fraction(share).count(n);
        assert_eq!((count(0.05, 5000), count(0.07, 100), count(0.08, 5000)), (250, 7, 400));
        assert_eq!((count(0.05, 16), count(0.2, 16), count(0.001, 3), count(1.0, 9)), (1, 4, 1, 9));
    }
}
