//! `selfie`: every command of the project in one program.
//!
//! A command prints its results on stdout and everything else on stderr. Exit status: 0 done, 1 a run-time failure, 2
//! bad usage or configuration, 130 after Ctrl-C.

mod commands;

use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use commands::{Cli, Interrupt, failure};

/// Keeps its pages: what a training step frees, the next one takes again.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return failure::of_usage(&refusal),
    };
    // RUST_LOG chooses; without it, warnings.
    let mut filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    // The crates that speak HTTP print whole requests, with the hub's token, whatever RUST_LOG asks for.
    for secret in ["ureq", "ureq_proto", "hf_hub", "rustls"] {
        filter =
            filter.add_directive(Directive::from_str(&format!("{secret}=warn")).unwrap_or(LevelFilter::WARN.into()));
    }
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    failure::catch(|| cli.run(&Interrupt::install()?))
}
