//! Ours against PyTorch, in turns: the same step, the same threads, whole processes one after the other.
//!
//! Absolute figures move with the machine's load, so a round runs both, and what counts is the median over the rounds
//! of the ratio within a round. PyTorch runs `xtask/peer/selfie_torch.py bench` in its fastest f32 layout.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::Value;

use super::{median, round};
use crate::error::{Error, Result};

/// One step that both take.
#[derive(Debug, Clone, Copy)]
pub struct Contest {
    /// What it is, in a few words.
    pub title: &'static str,
    /// Arguments of both programs.
    pub arguments: &'static [&'static str],
    /// The ratio that this project asks of itself.
    pub goal: f64,
}

/// The steps of the table.
pub const CONTESTS: [Contest; 5] = [
    Contest { title: "width 64, batch 32, 32 px", arguments: &[], goal: 1.5 },
    Contest {
        title: "width 16, batch 64, 32 px",
        arguments: &["--width", "16", "--batch-size", "64", "--steps", "12"],
        goal: 1.4,
    },
    Contest {
        title: "width 64, batch 8, 224 px",
        arguments: &["--image-size", "224", "--patch-size", "32", "--batch-size", "8"],
        goal: 1.5,
    },
    Contest { title: "fine-tuning, batch 32, 32 px", arguments: &["--task", "finetune"], goal: 1.2 },
    Contest {
        title: "fine-tuning, batch 4, 224 px",
        arguments: &["--task", "finetune", "--image-size", "224", "--batch-size", "4"],
        goal: 1.2,
    },
];

/// How a contest ended: medians over the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The contest.
    pub title: &'static str,
    /// Our images a second.
    pub ours: f64,
    /// PyTorch's images a second.
    pub theirs: f64,
    /// Ours over theirs, round by round.
    pub ratio: f64,
    /// The ratio asked for.
    pub goal: f64,
    /// Our peak memory in MB.
    pub our_mb: f64,
    /// PyTorch's peak memory in MB.
    pub their_mb: f64,
}

/// The two programs, and how they are to run.
#[derive(Debug, Clone, Copy)]
pub struct Peers<'a> {
    /// This program.
    pub ours: &'a Path,
    /// A Python that has torch.
    pub python: &'a Path,
    /// `selfie_torch.py`.
    pub script: &'a Path,
    /// Threads of both.
    pub threads: usize,
    /// Rounds of each contest.
    pub rounds: usize,
}

impl Peers<'_> {
    /// Runs one contest; `round_done` is called after each round.
    ///
    /// # Errors
    /// Where a program cannot be started, fails, or does not end in a line of JSON.
    pub fn meet(&self, contest: &Contest, round_done: &dyn Fn()) -> Result<Standing> {
        let mut rows = Vec::with_capacity(self.rounds); // ours, theirs, our MB, their MB
        for _ in 0..self.rounds {
            let ours = self.our_step(contest.arguments, self.threads)?;
            let mut python = Command::new(self.python);
            python.arg(self.script).args(["bench", "--channels-last", "--threads"]).arg(self.threads.to_string());
            let theirs = last_line(python.args(contest.arguments))?;
            rows.push([
                number(&ours, "images_per_second")?,
                number(&theirs, "images_per_second")?,
                number(&ours, "peak_rss_mb")?,
                number(&theirs, "peak_rss_mb")?,
            ]);
            round_done();
        }
        let of = |column: usize| median(rows.iter().map(|row| row[column]));
        Ok(Standing {
            title: contest.title,
            ours: of(0),
            theirs: of(1),
            ratio: round(median(rows.iter().map(|row| row[0] / row[1])), 100.0),
            goal: contest.goal,
            our_mb: of(2),
            their_mb: of(3),
        })
    }

    /// How many times faster two threads are than one, on our widest step; `round_done` is called after each round.
    ///
    /// # Errors
    /// As [`Peers::meet`].
    pub fn two_threads_against_one(&self, round_done: &dyn Fn()) -> Result<f64> {
        let mut ratios = Vec::with_capacity(self.rounds);
        for _ in 0..self.rounds {
            let two = number(&self.our_step(&[], 2)?, "images_per_second")?;
            ratios.push(two / number(&self.our_step(&[], 1)?, "images_per_second")?);
            round_done();
        }
        Ok(round(median(ratios.into_iter()), 100.0))
    }

    fn our_step(&self, arguments: &[&str], threads: usize) -> Result<Value> {
        let mut ours = Command::new(self.ours);
        ours.args(["bench", "step", "--json", "--no-limit", "--device", "cpu", "--threads"]).arg(threads.to_string());
        last_line(ours.args(arguments))
    }
}

/// Runs a program and reads the last line of its output as JSON.
fn last_line(command: &mut Command) -> Result<Value> {
    let program = command.get_program().to_owned();
    let output = command.stderr(Stdio::inherit()).output().map_err(Error::io(&program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    parsed.filter(|_| output.status.success()).ok_or_else(|| {
        let reason = format!("{} and no line of JSON, expected success and one", output.status);
        Error::io(&program)(std::io::Error::other(reason))
    })
}

fn number(line: &Value, key: &str) -> Result<f64> {
    line[key].as_f64().ok_or_else(|| Error::config(key, "missing in the line of JSON, expected a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_read_and_a_failure_is_told() {
        let mut good = Command::new("sh");
        let value = last_line(good.args(["-c", "echo noise; echo '{\"images_per_second\": 2.5}'"])).unwrap();
        assert_eq!(number(&value, "images_per_second").unwrap(), 2.5);
        assert!(number(&value, "peak_rss_mb").is_err());
        let mut bad = Command::new("sh");
        let error = last_line(bad.args(["-c", "echo '{}'; exit 3"])).unwrap_err().to_string();
        assert!(error.starts_with("sh: ") && error.contains('3'), "{error}");
    }
}
