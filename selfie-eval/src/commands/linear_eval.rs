//! `selfie linear-eval`: a linear classifier on frozen features.

use selfie_eval::{LinearReport, Result, Tuning};

use super::figures;
use super::frozen::Evaluation;

/// Linear evaluation: logistic regression on the features of the frozen patch network
///
/// Features are standardised; the strength of the L2 regularisation is chosen on a tenth of the training images, then
/// the regression is trained to convergence on all of them and tested once.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    evaluation: Evaluation,
}

pub fn run(options: &Options) -> Result<()> {
    options
        .evaluation
        .run(|frozen, kinds, progress| LinearReport::of(frozen, kinds, &Tuning::default(), progress), words)
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
