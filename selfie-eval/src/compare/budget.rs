//! Which cells fit into a given time: a seed and a share with all its arms, or none of it, in the order of training.

use std::str::FromStr;
use std::time::Duration;

use super::Cell;
use crate::error::{Error, Result};

/// The time that a comparison may take: `90m`, `2h`, `1h30m`, `45s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(pub Duration);

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = || Error::config("--budget", format!("met `{text}`, expected a time such as 2h, 90m or 1h30m"));
        let (mut seconds, mut digits) = (0u64, String::new());
        for c in text.trim().chars() {
            let unit = match c {
                '0'..='9' => {
                    digits.push(c);
                    continue;
                }
                'd' => 86_400,
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return Err(fail()),
            };
            let number: u64 = digits.parse().map_err(|_| fail())?;
            seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(fail)?;
            digits.clear();
        }
        if seconds == 0 || !digits.is_empty() {
            return Err(fail());
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// What is trained, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Cells to train, in order.
    pub fits: Vec<Cell>,
    /// Cells that the time does not reach.
    pub left_out: Vec<Cell>,
}

impl Planned {
    /// Of the `missing` cells, those that `left` seconds reach where each takes `seconds`: whole groups of one seed and
    /// share, so that every arm has its pair.
    #[must_use]
    pub fn of(missing: &[Cell], seconds: f64, left: f64) -> Self {
        let mut planned = Self { fits: Vec::new(), left_out: Vec::new() };
        for group in missing.chunk_by(|a, b| (a.seed, &a.labels) == (b.seed, &b.labels)) {
            let after = (planned.fits.len() + group.len()) as f64 * seconds;
            let fits = planned.left_out.is_empty() && after <= left;
            if fits { &mut planned.fits } else { &mut planned.left_out }.extend_from_slice(group);
        }
        planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let seconds = |text: &str| text.parse::<Budget>().map(|budget| budget.0.as_secs());
        assert_eq!((seconds("2h").unwrap(), seconds("1h30m").unwrap(), seconds("45s").unwrap()), (7200, 5400, 45));
        for text in ["", "2", "h", "2x", "0m", "-1h", "1h30", "99999999999999999999h"] {
            let error = seconds(text).unwrap_err().to_string();
            assert!(error.contains("--budget") && error.contains("1h30m"), "{error}");
        }
    }

    #[test]
    fn pairs_are_never_torn_and_nothing_is_trained_behind_a_gap() {
        let cell = |arm: &str, labels: &str, seed| Cell { arm: arm.into(), labels: labels.into(), seed };
        let all: Vec<_> = (0..2)
            .flat_map(|seed| {
                ["5%", "20%"].into_iter().flat_map(move |l| [cell("scratch", l, seed), cell("run", l, seed)])
            })
            .collect();
        let planned = |missing: &[Cell], left| {
            let planned = Planned::of(missing, 10.0, left);
            (planned.fits.len(), planned.left_out.len())
        };
        assert_eq!((planned(&all, 80.0), planned(&all, 79.0), planned(&all, 9.0)), ((8, 0), (6, 2), (0, 8)));
        assert_eq!(planned(&all[1..], 10.0), (1, 6)); // the other half of the first pair is there already
    }
}
