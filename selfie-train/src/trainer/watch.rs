//! Warnings that a person can act on: what is wrong, by which figure, and what to try. Each is said once a session.

use crate::config::Plan;
use crate::metrics::StepMetrics;
use crate::schedule::warmup_steps;

/// Share of the time that may be spent waiting for images.
const MOST_WAITING: f64 = 0.2;
/// Features nearer to each other than this have collapsed ([`crate::metrics::feature_std`]: 0 is one point, 1 evenly spread).
const LEAST_SPREAD: f64 = 0.01;
/// Share of chance that an accuracy must lie above it by, beyond its standard error.
const ABOVE_CHANCE: f64 = 0.02;
/// A loss so many times its lowest, and that of guessing, diverges.
const DIVERGES: f64 = 2.0;

/// What has been seen of a session, and said.
pub(super) struct Watch {
    chance: f64,
    /// The end of the warm-up, and the step from which no learning at all is worth a word.
    warmed_up: u64,
    judged_from: u64,
    lines: u64,
    /// Images since the warm-up, and the sum of their accuracies.
    images: f64,
    right: f64,
    images_before: u64,
    lowest_loss: f64,
    said: [bool; 4],
}

impl Watch {
    pub(super) fn new(plan: &Plan, chance: f64, images_before: u64) -> Self {
        let steps = plan.run.steps;
        let warmed_up = warmup_steps(&plan.schedule, steps);
        Self {
            chance,
            warmed_up,
            judged_from: warmed_up + (steps / 5).clamp(50, 1000),
            lines: 0,
            images: 0.0,
            right: 0.0,
            images_before,
            lowest_loss: f64::INFINITY,
            said: [false; 4],
        }
    }

    /// What the line gives reason to say.
    pub(super) fn look(&mut self, line: &StepMetrics) -> Vec<String> {
        let images = line.images.saturating_sub(self.images_before) as f64;
        self.images_before = line.images;
        self.lines += 1;
        if line.step > self.warmed_up && line.accuracy.is_finite() {
            self.images += images;
            self.right += images * line.accuracy;
        }
        let found = [self.at_chance(line), self.collapsed(line), self.diverges(line), self.waits(line)];
        self.lowest_loss = self.lowest_loss.min(line.loss);
        let fresh = found.into_iter().zip(&mut self.said).filter_map(|(warning, said)| {
            let warning = warning.filter(|_| !*said)?;
            *said = true;
            Some(format!("step {}: {warning}", line.step))
        });
        fresh.collect()
    }

    fn at_chance(&self, line: &StepMetrics) -> Option<String> {
        let chance = self.chance;
        let accuracy = self.right / self.images;
        // By images, whose answers depend on each other. One standard error, and asked again at every line: a run that learns
        // is left alone, one that does not is found out in the end.
        let error = (chance * (1.0 - chance) / self.images).sqrt();
        let lost = line.step >= self.judged_from && accuracy < chance + error.max(ABOVE_CHANCE * chance);
        lost.then(|| {
            let steps = line.step - self.warmed_up;
            format!(
                "accuracy {accuracy:.3} is that of guessing ({chance:.3}) {steps} steps after the warm-up; try a lower \
                 optim.lr, or loss.logits = \"cosine\""
            )
        })
    }

    fn collapsed(&self, line: &StepMetrics) -> Option<String> {
        let spread = line.feature_std.filter(|&spread| spread < LEAST_SPREAD && line.step > self.warmed_up)?;
        Some(format!(
            "the features of all patches are nearly the same (standard deviation {spread:.4}, 1 is evenly spread); try a \
             lower optim.lr or less optim.weight_decay"
        ))
    }

    fn diverges(&self, line: &StepMetrics) -> Option<String> {
        let (loss, lowest, guess) = (line.loss, self.lowest_loss, -self.chance.ln());
        (self.lines > 2 && loss > DIVERGES * lowest && loss > DIVERGES * guess).then(|| {
            format!(
                "loss {loss:.3} has left its lowest, {lowest:.3}, and that of guessing, {guess:.3}: the learning rate \
                 ({:.2e} now) diverges; try a lower optim.lr, or optim.clip_norm = 1",
                line.lr
            )
        })
    }

    fn waits(&self, line: &StepMetrics) -> Option<String> {
        // The first line has the start of the loader in it.
        (self.lines > 1 && line.data_wait > MOST_WAITING).then(|| {
            format!(
                "{:.0} % of the time went by waiting for images; try more data.workers, or smaller image files",
                100.0 * line.data_wait
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;

    fn line(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 0.0,
            images: step * 100,
            loss: 1.0,
            accuracy: 0.5,
            chance: 0.25,
            lr: 0.1,
            grad_norm: 1.0,
            feature_std: Some(0.4),
            skipped: 0,
            images_per_second: 1.0,
            communication: None,
            data_wait: 0.1,
            peak_rss_mb: None,
        }
    }

    fn said(lines: impl IntoIterator<Item = StepMetrics>) -> Vec<String> {
        let mut plan = RunConfig::default().pretrain_plan();
        plan.run.steps = 1000; // warm-up 100, judged from 300
        let mut watch = Watch::new(&plan, 0.25, 0);
        lines.into_iter().flat_map(|line| watch.look(&line)).collect()
    }

    fn run(change: impl Fn(&mut StepMetrics)) -> Vec<String> {
        said((1..=10).map(|at| {
            let mut line = line(at * 50);
            change(&mut line);
            line
        }))
    }

    #[test]
    fn a_run_that_learns_is_left_alone() {
        assert_eq!(run(|_| {}), Vec::<String>::new());
    }

    /// A figure, a way out, and what makes a line troublesome.
    type Case = (&'static str, &'static str, fn(&mut StepMetrics));

    #[test]
    fn each_trouble_is_said_once_with_its_figure_and_a_way_out() {
        let cases: [Case; 4] = [
            ("0.251 is that of guessing (0.250)", "optim.lr", |line| line.accuracy = 0.251),
            ("standard deviation 0.0010", "optim.weight_decay", |line| line.feature_std = Some(0.001)),
            ("loss 9.000 has left its lowest, 1.000", "optim.clip_norm", |line| {
                line.loss = if line.step > 300 { 9.0 } else { 1.0 }
            }),
            ("35 % of the time", "data.workers", |line| line.data_wait = 0.35),
        ];
        for (figure, way_out, change) in cases {
            let said = run(change);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].contains(figure) && said[0].contains(way_out), "{}", said[0]);
        }
    }

    #[test]
    fn no_judgement_on_learning_during_the_warm_up() {
        let early = (1..=5).map(|at| {
            let mut line = line(at * 20);
            (line.accuracy, line.feature_std) = (0.25, Some(0.0));
            line
        });
        assert_eq!(said(early), Vec::<String>::new());
    }
}
