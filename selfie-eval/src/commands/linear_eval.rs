//! `selfie linear-eval`: a linear classifier on frozen features.

use selfie_eval::{LinearReport, Result, Tuning};

use super::figures;
use super::frozen::Asked;

/// Linear evaluation: logistic regression on the features of the frozen patch network
///
/// Features are standardised; the strength of the L2 regularisation is chosen on a tenth of the training images, then
/// the regression is trained to convergence on all of them and tested once.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    asked: Asked,
}

pub fn run(options: &Options) -> Result<()> {
    let asked = &options.asked;
    let (frozen, screen) = (asked.prepare()?, asked.shared.screen());
    let bar = screen.bar(frozen.data().train.len() + frozen.data().test.len(), "images");
    let position = &mut |done| bar.set_position(done as u64);
    let report = LinearReport::of(&frozen, &asked.kinds()?, &Tuning::default(), position)?;
    bar.finish_and_clear();
    screen.result(words(&report))?;
    asked.keep(&frozen, &report)?;
    screen.json(&report)
}

fn words(report: &LinearReport) -> String {
    let context = &report.context;
    let mut lines = figures::frozen(report.protocol, context);
    for result in &report.results {
        let chosen = match result.holdout_accuracy {
            Some(accuracy) => {
                format!("chosen at accuracy {accuracy:.4} on {} held-out training images", result.holdout_images)
            }
            None => "not chosen: no class has an image to spare".to_owned(),
        };
        let end = if result.converged { "converged" } else { "NOT converged" };
        lines.push(format!(
            "features   {}, D = {}; l2 = {}, {chosen}; {end} after {} steps",
            result.features, result.dim, result.l2, result.iterations
        ));
        lines.push(figures::accuracy(&result.accuracy, context.split, &context.data, context.chance));
    }
    lines.join("\n")
}
