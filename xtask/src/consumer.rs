//! Builds and runs `xtask/consumer`, a program outside of the workspace that knows the crates as a stranger does.
//!
//! It must not compile Candle once more. So it builds into the target folder that this process is from, with a copy of the workspace's
//! Cargo.lock and its profile: then every crate of the registry is the one that the tests have built.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::{cargo, project_root};

/// Whether it builds and every one of its claims holds.
pub fn run() -> Result<bool> {
    let folder = project_root().join("xtask/consumer");
    let lock = folder.join("Cargo.lock");
    std::fs::copy(project_root().join("Cargo.lock"), &lock).with_context(|| lock.display().to_string())?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--offline", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    command.arg("--target-dir").arg(target_folder()?).stdin(Stdio::null());
    Ok(command.status().context("cargo run does not start")?.success())
}

/// The folder above the profile's, where this program stands.
fn target_folder() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let target = us.parent().and_then(Path::parent);
    Ok(target.with_context(|| format!("{} has no folder", us.display()))?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of `[profile.dev]`, without those of single packages.
    fn profile(manifest: &str) -> toml::Table {
        let text = std::fs::read_to_string(project_root().join(manifest)).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let mut profile = table["profile"]["dev"].as_table().unwrap().clone();
        profile.remove("package");
        profile
    }

    #[test]
    fn candle_is_built_alike_in_both_workspaces() {
        assert_eq!(profile("xtask/consumer/Cargo.toml"), profile("Cargo.toml"));
    }
}
