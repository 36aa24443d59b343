//! `cargo xtask ci`: every check that a change must pass, with its time.
//!
//! `.ci/run` and `.github/workflows/ci.yml` come here too; the list of checks stands in [`STEPS`] and nowhere else. A
//! failing check does not hide the next one: all run, and the failed ones are named at the end.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{cargo, consumer, gpu_check, mpirun, msrv, project_root, tidy};

/// What `ci` may be told.
#[derive(clap::Args)]
pub struct Options {
    /// Leave the tests out (for who has just run `cargo test --workspace`)
    #[arg(long)]
    no_tests: bool,
}

/// What several processes that share a training are built with; `.ci/packages` installs what it needs.
const RANKS: &str = "--features=selfie-eval/mpi";

/// The data sets that `candle-datasets` reads: some 160 crates more, so not a part of `cargo test --workspace`.
const DATASETS: &str = "--features=selfie-eval/candle-datasets";

/// A name, the arguments of cargo, and a variable for it.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variable: Option<(&'static str, &'static str)>,
}

const STEPS: &[Step] = &[
    Step { name: "test", arguments: &["test", "--workspace"], variable: None },
    Step { name: "format", arguments: &["fmt", "--all", "--check"], variable: None },
    Step {
        name: "lints",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        variable: None,
    },
    Step {
        name: "lints of ranks",
        arguments: &["clippy", "--workspace", RANKS, "--all-targets", "--", "-D", "warnings"],
        variable: None,
    },
    Step { name: "test of ranks", arguments: &["test", "--workspace", RANKS, "--test", "ranks"], variable: None },
    Step {
        name: "test of candle-datasets",
        arguments: &["test", "--workspace", DATASETS, "--test", "datasets"],
        variable: None,
    },
    Step {
        name: "docs",
        arguments: &["doc", "--workspace", "--no-deps"],
        variable: Some(("RUSTDOCFLAGS", "-D warnings")),
    },
    // What is published. Not built once more from there: that would compile Candle for each crate anew.
    Step {
        name: "package",
        arguments: &[
            "package",
            "--workspace",
            "--exclude=xtask",
            "--no-verify",
            "--allow-dirty",
            "--offline",
            "--quiet",
        ],
        variable: None,
    },
];

/// Runs the checks; an error names those that failed.
pub fn run(options: &Options) -> Result<()> {
    let mut failed = Vec::new();
    let steps = STEPS.iter().filter(|step| !(options.no_tests && step.name == "test"));
    let no_mpi = mpirun::check().err();
    for step in steps {
        println!("== {}: cargo {}", step.name, step.arguments.join(" "));
        if let (true, Some(missing)) = (step.arguments.contains(&RANKS), &no_mpi) {
            println!("== {}: SKIPPED: {}", step.name, missing.0);
            continue;
        }
        if !timed(step.name, || cargo_passes(step))? {
            failed.push(step.name);
        }
    }
    println!("== consumer: a program outside of the workspace, from the crates' public interfaces");
    if !timed("consumer", consumer::run)? {
        failed.push("consumer");
    }
    println!("== least toolchain");
    if !timed("least toolchain", msrv::check)? {
        failed.push("least toolchain");
    }
    println!("== tidy: cargo xtask tidy");
    if !timed("tidy", || Ok(tidy::run().inspect_err(|error| println!("{error:#}")).is_ok()))? {
        failed.push("tidy");
    }
    println!("== gpu-check: cargo xtask gpu-check");
    let gpu_check = || gpu_check::run(&gpu_check::Options::default()).inspect_err(|error| println!("{error:#}"));
    if !timed("gpu-check", || Ok(gpu_check().is_ok()))? {
        failed.push("gpu-check");
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("all checks pass");
    Ok(())
}

fn cargo_passes(step: &Step) -> Result<bool> {
    let mut command = cargo();
    command.args(step.arguments).envs(step.variable).current_dir(project_root()).stdin(Stdio::null());
    Ok(command.status().with_context(|| format!("cargo {} does not start", step.arguments[0]))?.success())
}

fn timed(name: &str, check: impl FnOnce() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    let passes = check()?;
    let word = if passes { "passed" } else { "FAILED" };
    println!("== {name}: {word} in {:.0} s", start.elapsed().as_secs_f64());
    Ok(passes)
}
