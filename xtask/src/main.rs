//! `cargo xtask`: one entry to everything in this workspace.
//!
//! Two kinds of commands stand side by side. Those of the program `selfie` are built in release and handed over
//! ([`program`] has the table; to add one, add its row). Those of developers are variants of [`Command`] with a file each.
//! This crate does not depend on candle, so that it builds in seconds and can say what is missing before a long build.
//!
//! Exit status: 0 done, 1 a failure, 2 bad usage; a command of `selfie` has the program's own.

mod ci;
mod consumer;
mod cuda;
mod driver;
mod golden;
mod gpu_check;
mod mpirun;
mod msrv;
mod program;
mod tidy;

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", disable_help_subcommand = true, override_help = help())]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check that a change must pass: tests, format, lints, docs, packages, a program outside, tidy, code for GPUs
    Ci(ci::Options),
    /// Run the project's own checks of its sources, manifests and pages
    Tidy,
    /// Make the golden files again with PyTorch, or check them (--check)
    Golden(golden::Options),
    /// Compile and link the code for GPUs on a machine without one; its compiler comes from PyPI
    GpuCheck(gpu_check::Options),
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

fn main() -> ExitCode {
    let command = match Xtask::try_parse() {
        Ok(xtask) => xtask.command,
        Err(message) if message.use_stderr() => {
            eprintln!("{}", one_line(&message));
            return ExitCode::from(2);
        }
        Err(page) => {
            print!("{page}");
            return ExitCode::SUCCESS;
        }
    };
    let result = match command {
        Command::Ci(options) => ci::run(&options),
        Command::Tidy => tidy::run(),
        Command::Golden(options) => golden::run(&options),
        Command::GpuCheck(options) => gpu_check::run(&options),
        Command::Program(arguments) if arguments[0] == "help" => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Command::Program(arguments) => match program::run(&arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<BadUsage>() { 2 } else { 1 })
        }
    }
}

/// What the caller asked for cannot be done as asked: exit status 2.
#[derive(Debug)]
struct BadUsage(String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}

/// The page of `cargo xtask --help`: every command at once, in two groups.
fn help() -> String {
    let mut page = String::from(
        "Selfie: self-supervised pretraining of image encoders by masked patches\n\n\
         Usage: cargo xtask COMMAND [OPTIONS]      (COMMAND --help tells every option)\n\n\
         Commands of the program selfie, which is built in release when it is not up to date:\n",
    );
    for (name, about) in program::COMMANDS {
        row(&mut page, name, about);
    }
    page.push_str("\nCommands of developers:\n");
    // Not `Xtask::command()`: that one asks for this page.
    for command in Command::augment_subcommands(clap::Command::new("xtask")).get_subcommands() {
        let about = command.get_about().map(ToString::to_string);
        row(&mut page, command.get_name(), &about.unwrap_or_default());
    }
    page.push_str(
        "\nRead here and by the program alike:\n  \
         --device auto|cpu|cuda[:N]|metal   cuda and metal build with their feature; cuda needs NVIDIA's driver and toolkit\n  \
         --threads N                        size of the compute pool\n  \
         --ranks N                          pretrain, pretrain-imagenet: so many processes share each batch; needs Open MPI\n",
    );
    page
}

fn row(page: &mut String, name: &str, about: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "  {name:<18} {about}");
}

/// Clap's message without its usage lines, or the whole page where no command was given.
fn one_line(message: &clap::Error) -> String {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NoCommand;
    let text = message.to_string();
    match message.kind() {
        NoCommand => text.trim_end().to_owned(),
        _ => text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// The workspace's folder: of the sources that cargo runs, also after the checkout was moved.
fn project_root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR");
    let mut folder = PathBuf::from(xtask.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()));
    folder.pop();
    folder
}

/// A call of the same cargo that runs us, as if from the shell: what cargo told us of our own package would make build scripts that
/// look at it (ring's) run again, and with them everything above.
fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_accepts_the_declaration() {
        Xtask::command().debug_assert();
    }

    #[test]
    fn cargo_is_called_as_from_the_shell() {
        // Tests are started with it, as `cargo run` starts programs.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let removed: Vec<_> =
            cargo().get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name.to_owned()).collect();
        assert!(removed.iter().any(|name| name == "CARGO_MANIFEST_DIR"));
        assert!(!removed.iter().any(|name| name == "PATH"));
    }

    #[test]
    fn help_lists_every_command_of_both_groups() {
        let page = help();
        let own = ["ci", "tidy", "golden", "gpu-check"].into_iter();
        for name in program::COMMANDS.iter().map(|(name, _)| *name).chain(own) {
            assert!(page.contains(&format!("\n  {name} ")), "{name} is missing");
        }
    }
}
