//! `selfie masked-eval`: the pretext task on images that were not trained on.

use std::path::PathBuf;

use selfie_eval::{EvalSplit, MaskedEval, MaskedReport, Result};
use selfie_train::RunDir;

use super::options::Shared;
use super::pools;
use super::screen::complain;
use super::{figures, result_file, settings};

/// Accuracy of the pretext task beside chance, over several masks an image
#[derive(clap::Args)]
pub struct Options {
    /// The run whose model is asked, with its own settings
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// The checkpoint of that step [default: the latest]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Which images: test, train (without the held-out ones) or heldout [default: test where there is one, else
    /// heldout]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Masks that each image gets
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    masks: u16,
    #[command(flatten)]
    shared: Shared,
}

pub fn run(options: &Options) -> Result<()> {
    let shared = &options.shared;
    let screen = shared.screen();
    let run = RunDir::open(&options.from)?;
    let config = run.config()?.with_overrides(shared.config.as_deref(), &shared.overrides()?)?;
    let split = options.split.as_deref().map(str::parse::<EvalSplit>).transpose()?;
    pools::ensure(config.run.threads)?;
    result_file::check_free(shared.out.as_deref())?;
    let device = shared.device()?.select()?;
    let shown = settings::of(&config, &["data", "patch", "encoder"])?;
    let eval = MaskedEval::prepare(&run, options.checkpoint, config, split, &device)?;
    screen.note(format!("{shown}\ndevice     {}", selfie_train::describe_device(&device)))?;
    let report = screen.busy("finding masked patches", || eval.run(options.masks.into()))?;
    screen.result(format!(
        "{}, from {} (step {})\n{}",
        report.protocol,
        report.from.display(),
        report.step,
        figures::masked(&report)
    ))?;
    if eval.is_own_test_split(&run)? && options.checkpoint.is_none() {
        match report.keep(&run) {
            Ok(()) => {
                screen.note(format!("wrote      {} (for the run's report)", MaskedReport::place(&run).display()))?
            }
            Err(error) => complain(format!("the run's report will not show this accuracy: {error}")),
        }
    }
    if let Some(folder) = &shared.out {
        screen.result(format!("wrote      {}", result_file::write(folder, &report)?.display()))?;
    }
    screen.json(&report)
}
