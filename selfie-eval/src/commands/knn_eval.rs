//! `selfie knn-eval`: the vote of the nearest training images, on frozen features.

use selfie_eval::{KnnReport, Result};

use super::figures;
use super::frozen::Evaluation;

/// kNN evaluation: the class that the nearest training images vote for, on the features of the frozen network
///
/// Cosine similarity, each neighbour votes with the weight exp(cosine / 0.07); nothing is trained or chosen.
#[derive(clap::Args)]
pub struct Options {
    /// How many neighbours vote; one result each [default: 20,200, or all training images where there are fewer]
    #[arg(long, value_name = "K,K,...", value_delimiter = ',')]
    k: Option<Vec<usize>>,
    #[command(flatten)]
    evaluation: Evaluation,
}

pub fn run(options: &Options) -> Result<()> {
    options
        .evaluation
        .run(|frozen, kinds, progress| KnnReport::of(frozen, kinds, options.k.as_deref(), progress), words)
}

fn words(report: &KnnReport) -> String {
    let context = &report.context;
    let mut lines = figures::frozen(report.protocol, context);
    for result in &report.results {
        lines.push(format!("features   {}, D = {}; k = {}", result.features, result.dim, result.k));
        lines.push(figures::accuracy(&result.accuracy, context.split, &context.data, context.chance));
    }
    lines.join("\n")
}
