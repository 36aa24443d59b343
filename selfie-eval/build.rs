//! Records what the program is built from, for `env.json` and `--version`: the commit, whether files differ from it, and the
//! versions of the crates that decide its numbers.
//!
//! A checkout is asked by git, a packed crate by the note that Cargo packs with it. Without either, the program does not name a
//! commit. The script runs again after a commit and after a change of a source file, and then only this crate is built again.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders beside this crate's whose sources are part of the program.
const CRATES: [&str; 6] =
    ["selfie-patch", "selfie-encoder", "selfie-attnpool", "selfie-loss", "selfie-train", "selfie-eval"];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    let found = of_checkout(&here).or_else(|| of_package(&here));
    let long = match &found {
        Some((commit, modified)) => {
            println!("cargo::rustc-env=SELFIE_COMMIT={commit}");
            println!("cargo::rustc-env=SELFIE_MODIFIED={modified}");
            let short: String = commit.chars().take(9).collect();
            format!("{version} ({short}{})", if *modified { ", modified" } else { "" })
        }
        None => version,
    };
    println!("cargo::rustc-env=SELFIE_VERSION={long}");

    let locks = [here.join("../Cargo.lock"), here.join("Cargo.lock")];
    if let Some((path, lock)) = locks.iter().find_map(|path| Some((path, std::fs::read_to_string(path).ok()?))) {
        println!("cargo::rerun-if-changed={}", path.display());
        for package in ["candle-core", "gemm", "safetensors"] {
            if let Some(version) = version_in(&lock, package) {
                println!("cargo::rustc-env=SELFIE_{}={version}", package.to_uppercase().replace('-', "_"));
            }
        }
    }
}

/// Commit of the checkout that contains this crate, and whether a tracked file differs from it.
fn of_checkout(here: &Path) -> Option<(String, bool)> {
    // A packed crate may lie in the checkout of another project.
    git(here, &["ls-files", "--error-unmatch", "build.rs"])?;
    let commit = git(here, &["rev-parse", "HEAD"])?;
    let changes = git(here, &["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])?;
    let moved = git(here, &["rev-parse", "--git-path", "logs/HEAD"]).map(|path| here.join(path));
    let sources =
        CRATES.iter().flat_map(|name| ["src", "Cargo.toml"].map(|part| here.join("..").join(name).join(part)));
    for path in moved.into_iter().chain(sources).filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Some((commit, !changes.is_empty()))
}

/// What `cargo package` noted of the checkout that it packed.
fn of_package(here: &Path) -> Option<(String, bool)> {
    let note = std::fs::read_to_string(here.join(".cargo_vcs_info.json")).ok()?;
    let commit = note.split("\"sha1\"").nth(1)?.split('"').nth(1)?.to_owned();
    Some((commit, note.contains("\"dirty\": true")))
}

fn git(here: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(here).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"'))
}
