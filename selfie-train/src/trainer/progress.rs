//! What a person sees while a run trains: one line that renews itself on a terminal, plain lines elsewhere, nothing when quiet.
//!
//! All of it goes to stderr; stdout is for results. A log file gets a line at least every half minute, however long a step takes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::heartbeat::Heartbeat;
use crate::metrics::{HeldOutMetrics, StepMetrics};
use crate::probe::Evaluation;

/// The progress of one run.
pub(super) struct Progress {
    shown: Shown,
    first_step: u64,
    steps: u64,
    started: Instant,
}

enum Shown {
    Nothing,
    Lines(Heartbeat),
    Bar(ProgressBar),
}

impl Progress {
    /// Progress from `step` to `steps`.
    pub(super) fn new(quiet: bool, step: u64, steps: u64) -> Self {
        let shown = match quiet {
            true => Shown::Nothing,
            false if std::io::stderr().is_terminal() => Shown::Bar(bar(step, steps)),
            false => Shown::Lines(Heartbeat::start(format!("step {step}/{steps}  in its first step"))),
        };
        Self { shown, first_step: step, steps, started: Instant::now() }
    }

    /// A step was done.
    pub(super) fn tick(&self, step: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(heartbeat) => {
                heartbeat.set(format!("step {step}/{}  ETA {}", self.steps, words(self.remaining(step))));
            }
            Shown::Bar(bar) => bar.set_position(step),
        }
    }

    /// A line of metrics.
    pub(super) fn step(&self, line: &StepMetrics) {
        let StepMetrics { step, epoch, loss, accuracy, chance, images_per_second, .. } = line;
        let numbers = format!(
            "epoch {epoch:.2}  loss {loss:.4}  accuracy {accuracy:.3} (chance {chance:.3})  {images_per_second:.1} images/s"
        );
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(heartbeat) => {
                say(&format!("step {step}/{}  {numbers}  ETA {}", self.steps, words(self.remaining(*step))));
                heartbeat.said();
            }
            Shown::Bar(bar) => bar.set_message(numbers),
        }
    }

    /// An evaluation on held-out images.
    pub(super) fn held_out(&self, line: &HeldOutMetrics, found: &Evaluation) {
        let Evaluation { accuracy, standard_error, chance, images, .. } = found;
        let probe = line.knn_probe_accuracy.zip(line.knn_probe_chance);
        let probe = probe
            .map_or_else(String::new, |(accuracy, chance)| format!("; kNN probe {accuracy:.3} (chance {chance:.3})"));
        self.line(&format!(
            "step {}  held-out accuracy {accuracy:.3} ± {standard_error:.3} (chance {chance:.3}, {images} images){probe}",
            line.step
        ));
    }

    /// Something to act on.
    pub(super) fn warn(&self, warning: &str) {
        tracing::debug!("{warning}");
        self.line(&format!("warning: {warning}"));
    }

    fn line(&self, line: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(heartbeat) => {
                say(line);
                heartbeat.said();
            }
            Shown::Bar(bar) => bar.println(line),
        }
    }

    /// Leaves the last line standing.
    pub(super) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.abandon();
        }
    }

    /// The time that the rest takes at the mean speed so far.
    fn remaining(&self, step: u64) -> Duration {
        let done = step.saturating_sub(self.first_step).max(1) as f64;
        self.started.elapsed().mul_f64(self.steps.saturating_sub(step) as f64 / done)
    }
}

fn bar(step: u64, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_style(bar_style("{bar:20} step {pos}/{len}  {msg}  ETA {left}"));
    bar.set_position(step);
    bar.reset_eta();
    bar
}

/// Returns the style of `template`, in which `{left}` is the time left: unknown until something is done, never 0 by then.
///
/// A template that cannot be parsed gives indicatif's own bar.
#[must_use]
pub fn bar_style(template: &str) -> ProgressStyle {
    let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let known = state.per_sec() > 0.0;
        let text = if known { words(state.eta()) } else { "unknown".to_owned() };
        let _ = out.write_str(&text);
    };
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.with_key("left", left))
}

/// A line on stderr; where nobody reads it any more (a closed pipe), training goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Returns a time in its two largest units: "42 s", "12 min", "3 h 05 min", "2 d 4 h".
#[must_use]
pub fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_two_largest_units() {
        let said = [42, 121, 11_100, 187_200].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(said, ["42 s", "2 min", "3 h 05 min", "2 d 4 h"]);
    }
}
