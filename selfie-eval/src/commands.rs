//! The command line: what there is, and which file does it.

mod advice;
mod bench;
mod compare;
mod data;
mod embed;
mod export;
pub mod failure;
mod figures;
mod finetune;
mod frozen;
mod import;
mod interrupt;
mod knn_eval;
mod linear_eval;
mod masked_eval;
mod options;
mod plan;
mod pools;
mod pretrain;
mod pretrain_imagenet;
mod program;
mod recognized;
mod report;
mod result_file;
mod runs;
mod screen;
mod settings;
mod weights;

use selfie_eval::{Error, Result};
use selfie_train::started_together;

pub use interrupt::Interrupt;

/// Self-supervised pretraining of image encoders by masked patches (Selfie, arXiv 1906.02940).
#[derive(clap::Parser)]
#[command(name = "selfie", version = program::VERSION, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    PretrainImagenet(pretrain_imagenet::Options),
    Pretrain(pretrain::Options),
    Finetune(finetune::Options),
    Compare(compare::Options),
    MaskedEval(masked_eval::Options),
    LinearEval(linear_eval::Options),
    KnnEval(knn_eval::Options),
    Embed(embed::Options),
    Export(export::Options),
    Import(import::Options),
    Runs(runs::Options),
    Report(report::Options),
    Data(data::Options),
    Bench(bench::Options),
    Plan(plan::Options),
}

impl Cli {
    /// Does what was asked.
    pub fn run(&self, interrupt: &Interrupt) -> Result<()> {
        let shared = matches!(self.command, Command::PretrainImagenet(_) | Command::Pretrain(_));
        if let (false, several @ 2..) = (shared, started_together()) {
            let reason = format!("met {several} processes started together, expected one: only pretraining is shared");
            return Err(Error::config("ranks", reason));
        }
        match &self.command {
            Command::PretrainImagenet(options) => pretrain_imagenet::run(options, interrupt),
            Command::Pretrain(options) => pretrain::run(options, interrupt),
            Command::Finetune(options) => finetune::run(options, interrupt),
            Command::Compare(options) => compare::run(options, interrupt),
            Command::MaskedEval(options) => masked_eval::run(options),
            Command::LinearEval(options) => linear_eval::run(options),
            Command::KnnEval(options) => knn_eval::run(options),
            Command::Embed(options) => embed::run(options, interrupt),
            Command::Export(options) => export::run(options),
            Command::Import(options) => import::run(options),
            Command::Runs(options) => runs::run(options),
            Command::Report(options) => report::run(options),
            Command::Data(options) => data::run(options),
            Command::Bench(options) => bench::run(options),
            Command::Plan(options) => plan::run(options),
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
