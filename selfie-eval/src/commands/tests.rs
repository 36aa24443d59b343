//! The command line is in order, and what the README and the job script call exists: each call is read as the program would read it.

#![expect(clippy::unwrap_used, reason = "these are tests, also outside of the test functions")]

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory, Parser};

use super::Cli;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn clap_accepts_the_declaration() {
    Cli::command().debug_assert();
}

#[test]
fn a_call_with_an_option_that_does_not_exist_is_found() {
    assert!(Cli::try_parse_from(["selfie", "pretrain", "--rank", "2"]).is_err());
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

/// What a job started, each with srun's own options in front, and what it asked of Slurm.
struct Job {
    started: Vec<(Vec<String>, Vec<String>)>,
    asked: String,
}

/// Runs the job script with an `srun` and an `scontrol` that only write down what they are told; training ends with `status`.
fn job(run: &Path, environment: &[(&str, &str)], status: i32) -> Job {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("srun", "#!/bin/sh\necho \"$*\" >> \"$CALLS\"\ncase \"$*\" in *pretrain*) exit $STATUS;; esac\n"),
        ("scontrol", "#!/bin/sh\necho \"$*\" >> \"$ASKED\"\n"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (calls, asked) = (folder.path().join("calls"), folder.path().join("asked"));
    let path = std::env::var("PATH").unwrap();
    let mut job = Command::new("bash");
    job.arg(project().join("xtask/slurm/pretrain-imagenet.sbatch")).current_dir(folder.path());
    job.env("PATH", format!("{}:{path}", folder.path().display())).env("CALLS", &calls).env("ASKED", &asked);
    job.env("STATUS", status.to_string()).env("DATA", "images").env("RUN", run).env("SLURM_JOB_ID", "17");
    let output = job.envs(environment.iter().copied()).output().unwrap();
    let expected = if status == 130 { 0 } else { status };
    assert_eq!(output.status.code(), Some(expected), "{}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| -> (Vec<String>, Vec<String>) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let own = words.iter().take_while(|word| word.starts_with("--")).count();
        (words[..own].to_vec(), words[own..].to_vec())
    };
    let started = std::fs::read_to_string(calls).unwrap().lines().map(words).collect();
    Job { started, asked: std::fs::read_to_string(asked).unwrap_or_default() }
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
        let job = job(run, &environment, 0);
        let training = job.started.iter().find(|(_, call)| call.join(" ").starts_with(trains));
        let (options, _) = training.unwrap_or_else(|| panic!("{trains}: {:?}", job.started));
        let together = ["--mpi=pmix", "--kill-on-bad-exit=1"].iter().all(|option| options.iter().any(|o| o == option));
        assert_eq!(together, !environment.is_empty(), "{options:?}");
        for (_, call) in &job.started {
            let words: Vec<_> = call.iter().map(String::as_str).collect();
            match words[..] {
                ["cargo", "xtask", ref call @ ..] | ["target/release/selfie", ref call @ ..] => understood(call),
                ["cargo", "build", .., feature] => assert!(features.contains(&format!("\n{feature} = ["))),
                _ => panic!("{words:?}"),
            }
        }
        assert!(job.asked.is_empty());
    }
}

#[test]
fn a_job_out_of_time_goes_to_the_end_of_the_queue_and_a_failed_one_does_not() {
    assert_eq!(job(Path::new("run"), &[], 130).asked, "requeue 17\n");
    assert_eq!(job(Path::new("run"), &[("SLURM_NTASKS", "2")], 1).asked, "");
}
