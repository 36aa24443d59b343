//! The result of a comparison: for each share of labels each arm's accuracy over the seeds, and its paired difference to
//! scratch.

use serde::Serialize;
use serde_json::Value;

use super::{Cell, CellResult, Comparison, Published, SCRATCH, Spread, paired};
use crate::error::Result;
use crate::finetune::FinetuneReport;

/// Everything that a comparison has to tell.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// What was done, by every arm.
    pub protocol: String,
    /// The `--data` string.
    pub data: String,
    /// The split that the accuracies are of.
    pub split: String,
    /// Its images.
    pub test_images: usize,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Updates of a training.
    pub steps: u64,
    /// Images an update.
    pub batch_size: usize,
    /// The base learning rate, or those that were tried.
    pub lrs: Vec<f64>,
    /// Width of the stem.
    pub width: usize,
    /// Side of the images.
    pub image_size: usize,
    /// The arms, with where their weights are from.
    pub arms: Vec<ArmOrigin>,
    /// The shares of labels.
    pub fractions: Vec<FractionSummary>,
    /// Cells that were not trained.
    pub left_out: Vec<LeftOut>,
    /// Hours that the trained cells took.
    pub hours: f64,
    /// What the last call ran with: device, threads, versions, command. Cells that were kept may be of another.
    pub environment: Value,
    /// The paper's rows, where they were asked for.
    pub paper: Option<Published>,
    /// Each training.
    pub cells: Vec<FinetuneReport>,
}

/// An arm and its weights.
#[derive(Debug, Clone, Serialize)]
pub struct ArmOrigin {
    /// Its name in the table.
    pub arm: String,
    /// As it was given.
    pub from: String,
    /// The weights file.
    pub checkpoint: Option<String>,
}

/// One share of labels.
#[derive(Debug, Clone, Serialize)]
pub struct FractionSummary {
    /// The share.
    pub labels: String,
    /// Images that it is.
    pub train_images: usize,
    /// Each arm.
    pub arms: Vec<ArmSummary>,
    /// Each pretrained arm against scratch.
    pub differences: Vec<Difference>,
}

/// One arm at one share of labels.
#[derive(Debug, Clone, Serialize)]
pub struct ArmSummary {
    /// Its name.
    pub arm: String,
    /// The seeds that were trained.
    pub seeds: Vec<u64>,
    /// Accuracy of each.
    pub top1: Vec<f64>,
    /// Mean and deviation of these.
    #[serde(flatten)]
    pub spread: Spread,
}

/// A pretrained arm against scratch, over the seeds that both have.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The arm.
    pub arm: String,
    /// Pairs.
    pub n: usize,
    /// The mean of the differences.
    pub mean: f64,
    /// Its 95 % interval; none of a single pair.
    pub interval: Option<(f64, f64)>,
    /// Whether the interval leaves out zero.
    pub significant: bool,
    /// The arm's deviation over that of scratch.
    pub sd_ratio: Option<f64>,
}

/// A cell that was not trained.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// Which.
    #[serde(flatten)]
    pub cell: Cell,
    /// Why.
    pub reason: &'static str,
}

impl CompareReport {
    /// Sums up the cells of `comparison` that were trained; none where not one was.
    ///
    /// # Errors
    /// Does not fail for a comparison that was prepared.
    pub fn of(
        comparison: &Comparison,
        results: &[(Cell, CellResult)],
        left_out: Vec<LeftOut>,
        environment: Value,
        paper: Option<Published>,
    ) -> Result<Option<Self>> {
        let Some((_, CellResult { report: first, .. })) = results.first() else { return Ok(None) };
        let tune = &comparison.config.finetune;
        Ok(Some(Self {
            protocol: first.protocol.clone(),
            data: first.data.clone(),
            split: first.split.clone(),
            test_images: first.accuracy.images,
            chance: first.chance,
            steps: first.steps,
            batch_size: first.batch_size,
            lrs: if tune.tune { tune.tune_lrs.clone() } else { vec![tune.lr] },
            width: first.width,
            image_size: first.image_size,
            arms: comparison.arms.iter().map(ArmOrigin::of).collect(),
            fractions: comparison.labels.iter().filter_map(|labels| fraction(comparison, labels, results)).collect(),
            left_out,
            hours: results.iter().map(|(_, result)| result.seconds).sum::<f64>() / 3600.0,
            environment,
            paper,
            cells: results.iter().map(|(_, result)| result.report.clone()).collect(),
        }))
    }

    /// The table as Markdown, with what it depends on above it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let rates: Vec<_> = self.lrs.iter().map(ToString::to_string).collect();
        let mut out = format!(
            "{}; {} steps of {}, rate {}, width {}, {} px; top-1 in per cent on the {} split of {} ({} images), mean ± \
             deviation over the seeds; difference to scratch paired by seed, with its 95 % interval (of fine-tuning: each arm is one pretraining)\n\n",
            self.protocol,
            self.steps,
            self.batch_size,
            rates.join(" | "),
            self.width,
            self.image_size,
            self.split,
            self.data,
            self.test_images
        );
        let pretrained = || self.arms.iter().filter(|arm| arm.arm != SCRATCH);
        out += "| labels | images | seeds | scratch |";
        pretrained().for_each(|arm| out += &format!(" {} | difference | deviation / scratch's |", arm.arm));
        out += "\n|---|---|---|---|";
        pretrained().for_each(|_| out += "---|---|---|");
        for fraction in &self.fractions {
            out += &fraction.row(pretrained().map(|arm| arm.arm.as_str()));
        }
        out += "\n";
        for LeftOut { cell, reason } in &self.left_out {
            out += &format!("\nLeft out: {} of the labels, seed {}, {}: {reason}", cell.labels, cell.seed, cell.arm);
        }
        if self.left_out.is_empty() { out } else { out + "\n" }
    }
}

impl ArmOrigin {
    fn of(arm: &super::Arm) -> Self {
        let (from, checkpoint) = (arm.origin.given().to_owned(), arm.origin.checkpoint().map(str::to_owned));
        Self { arm: arm.name.clone(), from, checkpoint }
    }
}

impl FractionSummary {
    /// The arm of that name, where it was trained.
    #[must_use]
    pub fn arm(&self, name: &str) -> Option<&ArmSummary> {
        self.arms.iter().find(|arm| arm.arm == name)
    }

    fn row<'a>(&self, pretrained: impl Iterator<Item = &'a str>) -> String {
        let spread = |name: &str| self.arm(name).map_or_else(|| "–".to_owned(), |arm| arm.spread.percent());
        let seeds = self.arms.iter().map(|arm| arm.spread.n).max().unwrap_or(0);
        let mut row = format!("\n| {} | {} | {seeds} | {} |", self.labels, self.train_images, spread(SCRATCH));
        for name in pretrained {
            let found = self.differences.iter().find(|difference| difference.arm == name);
            let difference = found.map_or_else(|| "–".to_owned(), Difference::words);
            let ratio =
                found.and_then(|found| found.sd_ratio).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            row += &format!(" {} | {difference} | {ratio} |", spread(name));
        }
        row
    }
}

impl Spread {
    /// "45.1 ± 0.7".
    fn percent(&self) -> String {
        let mean = 100.0 * self.mean;
        self.sd.map_or_else(|| format!("{mean:.1}"), |sd| format!("{mean:.1} ± {:.1}", 100.0 * sd))
    }
}

impl Difference {
    /// "+1.9 (+0.3 to +3.5)" in per cent, and whether that is no more than chance.
    #[must_use]
    pub fn words(&self) -> String {
        let judged = if self.interval.is_some() && !self.significant { ", not significant" } else { "" };
        format!("{}{judged}", self.figures())
    }

    /// "+1.9 (+0.3 to +3.5)" in per cent.
    pub(super) fn figures(&self) -> String {
        let mean = 100.0 * self.mean;
        match self.interval {
            None => format!("{mean:+.1} (one pair)"),
            Some((low, high)) => format!("{mean:+.1} ({:+.1} to {:+.1})", 100.0 * low, 100.0 * high),
        }
    }
}

/// One share of labels; none where nothing was trained at it.
fn fraction(comparison: &Comparison, labels: &str, results: &[(Cell, CellResult)]) -> Option<FractionSummary> {
    let here = || results.iter().filter(|(cell, _)| cell.labels == labels);
    let train_images = here().next()?.1.report.train_images;
    let of_arm = |name: &str| -> Vec<(u64, f64)> {
        let found = here().filter(|(cell, _)| cell.arm == name);
        found.map(|(cell, result)| (cell.seed, result.report.accuracy.top1)).collect()
    };
    let summary = |arm: &super::Arm| {
        let (seeds, top1): (Vec<_>, Vec<_>) = of_arm(&arm.name).into_iter().unzip();
        Some(ArmSummary { arm: arm.name.clone(), spread: Spread::of(&top1)?, seeds, top1 })
    };
    let scratch = of_arm(SCRATCH);
    let difference = |arm: &super::Arm| difference(&arm.name, &of_arm(&arm.name), &scratch);
    Some(FractionSummary {
        labels: labels.to_owned(),
        train_images,
        arms: comparison.arms.iter().filter_map(summary).collect(),
        differences: comparison.arms.iter().skip(1).filter_map(difference).collect(),
    })
}

/// `arm` against `scratch`, (seed, accuracy) each, over the seeds that both have.
fn difference(name: &str, arm: &[(u64, f64)], scratch: &[(u64, f64)]) -> Option<Difference> {
    let of_seed = |seed: u64| scratch.iter().find(|(other, _)| *other == seed).map(|(_, top1)| *top1);
    let (with, without): (Vec<_>, Vec<_>) = arm.iter().filter_map(|&(seed, top1)| Some((top1, of_seed(seed)?))).unzip();
    let differences: Vec<_> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    let (mean, interval) = paired(&differences)?;
    let deviation = |values: &[f64]| Spread::of(values).and_then(|spread| spread.sd);
    let sd_ratio = deviation(&with).zip(deviation(&without)).filter(|(_, scratch)| *scratch > 0.0);
    Some(Difference {
        arm: name.to_owned(),
        n: differences.len(),
        mean,
        interval,
        significant: interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0),
        sd_ratio: sd_ratio.map(|(with, scratch)| with / scratch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seeds_that_both_arms_have_are_paired() {
        let found = difference("run", &[(0, 0.50), (1, 0.52), (2, 0.9)], &[(1, 0.48), (0, 0.48)]).unwrap();
        // Differences 0.02 and 0.04: mean 0.03, standard error 0.01, t(1) = 12.706.
        assert_eq!(found.n, 2);
        let (low, high) = found.interval.unwrap();
        assert!((found.mean - 0.03).abs() < 1e-12 && (low + 0.09706).abs() < 1e-9 && (high - 0.15706).abs() < 1e-9);
        assert!(!found.significant && found.sd_ratio.is_none()); // scratch does not vary
        assert_eq!(found.words(), "+3.0 (-9.7 to +15.7), not significant");
    }

    #[test]
    fn a_clear_difference_is_called_so() {
        let arm = [(0, 0.60), (1, 0.61), (2, 0.62)];
        let found = difference("run", &arm, &[(0, 0.50), (1, 0.51), (2, 0.53)]).unwrap();
        // Differences 0.10, 0.10, 0.09: mean 0.0967, deviation 0.00577, half 4.303 · 0.00333 = 0.0143.
        assert!(found.significant);
        assert_eq!(found.words(), "+9.7 (+8.2 to +11.1)");
        assert!((found.sd_ratio.unwrap() - 0.01 / 0.015_275_252_3).abs() < 1e-6);
    }
}
