//! `selfie pretrain-imagenet`: the main job, on 224-pixel photographs.

use selfie_eval::{EvalSplit, MaskedEval, MaskedReport, Result};
use selfie_train::{PretrainReport, RunDir};
use serde::Serialize;

use super::options::{Lengths, Shared};
use super::pretrain::{Start, next, outcome, train};
use super::screen::complain;
use super::{Interrupt, figures, report};

/// Masks that each photograph gets at the end.
const MASKS: usize = 8;
/// Said where nothing names the images.
const NO_DATA: &str = "no --data: taking the sample photographs and the narrow, short preset `sample`";

/// Pretrain on 224-pixel photographs (7x7 patches of 32x32, 12 of them masked); the main job
///
/// With --data it is the paper's ImageNet run (preset imagenet224). Without, it takes the photographs that ship with
/// the source and a narrow, short preset (sample), which ends within about a minute on two cores. The end is the
/// accuracy on the test split (val/), where there is one.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    lengths: Lengths,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    shared: Shared,
}

/// What the JSON line holds.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    pretrain: &'a PretrainReport,
    masked_eval: &'a MaskedReport,
}

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let Options { lengths, start, shared } = options;
    let screen = shared.screen();
    let preset = if shared.names_data() { "imagenet224" } else { "sample" };
    let remark = (preset == "sample" && start.resume.is_none()).then_some(NO_DATA);
    let Some(pretrained) = train(preset, remark, lengths, start, shared, interrupt)? else { return Ok(()) };
    outcome(&pretrained, &screen)?;
    let run = RunDir::open(&pretrained.run_dir)?;
    let device = shared.device()?.select()?;
    let masked_eval = MaskedEval::prepare(&run, None, run.config()?, None, &device)?;
    let masked_eval = screen.busy("finding masked patches", || masked_eval.run(MASKS))?;
    screen.result(format!(
        "photographs that no step has seen, masked patches found among those of the same photograph:\n{}",
        figures::masked(&masked_eval)
    ))?;
    keep(&masked_eval, &run);
    report::at_the_end(&pretrained.run_dir, shared.device()?, &screen)?;
    next(&pretrained, &screen)?;
    screen.json(&Report { pretrain: &pretrained, masked_eval: &masked_eval })
}

/// Keeps the accuracy for the report. If it cannot be written, the report lacks it.
fn keep(found: &MaskedReport, run: &RunDir) {
    if found.split == EvalSplit::Test
        && let Err(error) = found.keep(run)
    {
        complain(format!("the report will not show the accuracy on the test split: {error}"));
    }
}
