//! What the README and the job script call exists: each call is read as the program would read it.

#![expect(clippy::unwrap_used, reason = "these are tests, also outside of the test functions")]

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

use super::Cli;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fails where the program does not understand `call`, its arguments.
fn understood(call: &[&str]) {
    let parsed = Cli::try_parse_from(["selfie"].iter().chain(call)).map(drop).map_err(|error| error.to_string());
    assert_eq!(parsed, Ok(()), "{}", call.join(" "));
}

#[test]
fn the_readme_calls_what_exists() {
    let text = std::fs::read_to_string(project().join("README.md")).unwrap();
    let commands =
        text.lines().filter_map(|line| line.trim_start().trim_start_matches("$ ").strip_prefix("cargo xtask "));
    let own = ["ci", "tidy", "golden", "gpu-check"]; // xtask's own, which knows them
    let mut calls = 0;
    for command in commands.map(|command| command.split("  #").next().unwrap_or_default()) {
        // N stands for a number.
        let words: Vec<_> = command.split_whitespace().map(|word| if word == "N" { "1" } else { word }).collect();
        if !own.contains(&words[0]) {
            understood(&words);
            calls += 1;
        }
    }
    assert!(calls >= 20, "{calls} calls");
}

/// Runs the job script with an `srun` that only writes down what it is asked to start, and returns that.
fn started_by_the_job(run: &Path, environment: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (srun, calls) = (folder.path().join("srun"), folder.path().join("calls"));
    let skip_its_own_options =
        "#!/bin/sh\nwhile [ \"${1#--}\" != \"$1\" ]; do shift; done\necho \"$*\" >> \"$CALLS\"\n";
    std::fs::write(&srun, skip_its_own_options).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&srun, executable).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut job = Command::new("bash");
    job.arg(project().join("xtask/slurm/pretrain-imagenet.sbatch")).current_dir(folder.path());
    job.env("PATH", format!("{}:{path}", folder.path().display())).env("CALLS", &calls).env("DATA", "images");
    job.env("RUN", run).envs(environment.iter().copied());
    let output = job.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_job_script_calls_what_exists() {
    let features = std::fs::read_to_string(project().join("selfie-eval/Cargo.toml")).unwrap();
    let (fresh, stopped) = (Path::new("run"), tempfile::tempdir().unwrap());
    std::fs::write(stopped.path().join("config.toml"), "").unwrap();
    for (run, environment, trains) in [
        (fresh, vec![], "cargo xtask pretrain-imagenet --data images"),
        (stopped.path(), vec![], "cargo xtask pretrain --resume"),
        (fresh, vec![("SLURM_NTASKS", "64")], "target/release/selfie pretrain-imagenet --data images"),
        (stopped.path(), vec![("SLURM_NTASKS", "8"), ("DEVICE", "cuda")], "target/release/selfie pretrain --resume"),
    ] {
        let calls = started_by_the_job(run, &environment);
        assert!(calls.iter().any(|call| call.starts_with(trains)), "{trains}: {calls:?}");
        for call in &calls {
            let words: Vec<_> = call.split_whitespace().collect();
            match words[..] {
                ["cargo", "xtask", ref call @ ..] | ["target/release/selfie", ref call @ ..] => understood(call),
                ["cargo", "build", .., feature] => assert!(features.contains(&format!("\n{feature} = ["))),
                _ => panic!("{call}"),
            }
        }
    }
}
