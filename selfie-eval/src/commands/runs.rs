//! `selfie runs`: a table of the runs below a folder.

use std::path::PathBuf;

use selfie_eval::{Result, RunState, RunSummary};

use super::screen::{Screen, complain};

/// List the runs below a folder: state, step, loss, accuracy, speed, when they last wrote
#[derive(clap::Args)]
pub struct Options {
    /// Where to look, four folders deep
    #[arg(value_name = "DIR", default_value = "runs")]
    folder: PathBuf,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let screen = Screen::new(options.json, options.json);
    let mut runs = Vec::new();
    for run in RunSummary::below(&options.folder)? {
        match run {
            Ok(run) => runs.push(run),
            Err(error) => complain(format!("left out: {error}")),
        }
    }
    if runs.is_empty() {
        screen.result(format!("no runs below {}", options.folder.display()))?;
    } else {
        screen.result(table(&runs))?;
    }
    screen.json(&serde_json::json!({ "runs": runs }))
}

fn table(runs: &[RunSummary]) -> String {
    let head = ["run", "state", "step", "loss", "accuracy", "held out", "chance", "images/s", "when"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(runs.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            // Words to the left, numbers to the right.
            if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(run: &RunSummary) -> [String; 9] {
    let number =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let state = match run.state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Stopped => "stopped",
    };
    [
        run.path.display().to_string(),
        state.to_owned(),
        format!("{}/{}", run.step, run.steps),
        number(run.loss, 4),
        number(run.accuracy, 3),
        number(run.held_out_accuracy, 3),
        number(run.chance, 3),
        number(run.images_per_second, 1),
        run.idle_seconds.map_or_else(|| "-".to_owned(), ago),
    ]
}

/// "12 s ago", "5 min ago", "3 h ago", "2 d ago".
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_are_said_in_one_unit() {
        assert_eq!([5, 300, 9000, 400_000].map(super::ago), ["5 s ago", "5 min ago", "2 h ago", "4 d ago"]);
    }
}
