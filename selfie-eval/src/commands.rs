//! The command line: what there is, and which file does it.

mod bench;
mod data;
pub mod failure;
mod figures;
mod finetune;
mod interrupt;
mod linear_eval;
mod masked_eval;
mod options;
mod pools;
mod pretrain;
mod pretrain_imagenet;
mod report;
mod result_file;
mod runs;
mod screen;
mod settings;

use selfie_eval::Result;

pub use interrupt::Interrupt;

/// Self-supervised pretraining of image encoders by masked patches (Selfie, arXiv 1906.02940).
#[derive(clap::Parser)]
#[command(name = "selfie", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    PretrainImagenet(pretrain_imagenet::Options),
    Pretrain(pretrain::Options),
    Finetune(finetune::Options),
    MaskedEval(masked_eval::Options),
    LinearEval(linear_eval::Options),
    Runs(runs::Options),
    Report(report::Options),
    Data(data::Options),
    Bench(bench::Options),
}

impl Cli {
    /// Does what was asked.
    pub fn run(&self, interrupt: &Interrupt) -> Result<()> {
        match &self.command {
            Command::PretrainImagenet(options) => pretrain_imagenet::run(options, interrupt),
            Command::Pretrain(options) => pretrain::run(options, interrupt),
            Command::Finetune(options) => finetune::run(options, interrupt),
            Command::MaskedEval(options) => masked_eval::run(options),
            Command::LinearEval(options) => linear_eval::run(options),
            Command::Runs(options) => runs::run(options),
            Command::Report(options) => report::run(options),
            Command::Data(options) => data::run(options),
            Command::Bench(options) => bench::run(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_declaration() {
        super::Cli::command().debug_assert();
    }
}
