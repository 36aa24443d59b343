//! Builds `selfie` with the features of NVIDIA's cards, and shows how it starts without a driver and with the stand-in for one.
//!
//! The target folder stands in the cache: candle's kernels stay compiled between runs, and the folder of everyday's builds is left as it is. Code is
//! not optimised, since it is only linked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::stubs::Stubs;
use super::toolchain::Toolchain;
use super::{FEATURES, forget_our_crates};
use crate::{cargo, driver, project_root};

/// Settings that build fastest; and the packages that the workspace's own profile optimises, to undo that too.
const PROFILE: &[(&str, &str)] =
    &[("CARGO_PROFILE_DEV_OPT_LEVEL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "false"), ("CARGO_INCREMENTAL", "0")];
const PACKAGES: &[&str] =
    &["profile.dev.package.selfie-train.opt-level=0", "profile.dev.package.selfie-eval.opt-level=0"];

/// The linked program.
pub fn build(cache: &Path, toolchain: &Toolchain, stubs: &Stubs) -> Result<PathBuf> {
    let target = cache.join("target");
    forget_our_crates(&target, &[])?;
    let mut command = cargo();
    toolchain.apply(&mut command)?;
    let mut libraries = vec![toolchain.libraries(), stubs.libraries(), stubs.driver()];
    libraries.extend(std::env::var_os("LIBRARY_PATH").iter().flat_map(std::env::split_paths));
    command.env("LIBRARY_PATH", joined(&libraries)?).envs(PROFILE.iter().copied());
    command
        .args(["build", "--package", "selfie-eval", "--bin", "selfie", "--features", FEATURES, "--target-dir"])
        .arg(&target);
    command.args(PACKAGES.iter().flat_map(|setting| ["--config", setting]));
    // cudaforge takes half of the cores unless told.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    command.env("CUDAFORGE_THREADS", cores.to_string()).env_remove("CARGO_BUILD_TARGET");
    let status =
        command.current_dir(project_root()).stdin(Stdio::null()).status().context("cargo build does not start")?;
    ensure!(status.success(), "it does not build with {FEATURES}; cargo's message stands above");
    Ok(target.join("debug/selfie"))
}

/// Starts the program three times: without a driver's library, with the stub of one, and told to compute on a device of that stub.
pub fn start(selfie: &Path, toolchain: &Toolchain, stubs: &Stubs) -> Result<()> {
    let others = [stubs.libraries(), toolchain.libraries()];
    let without = call(selfie, &["--version"], &others)?;
    println!("without {}: {}", driver::LIBRARY, manner(&without));
    if without.status.success() {
        let library = driver::find().map_or_else(|| "none found".to_owned(), |path| path.display().to_string());
        println!("it started; the driver of this machine: {library}");
    } else {
        println!("(so cargo xtask looks for the driver before it builds for --device cuda)");
    }
    let all = [stubs.driver(), others[0].clone(), others[1].clone()];
    let with = call(selfie, &["--version"], &all)?;
    println!("with stubs of every library: {}", manner(&with));
    if !with.status.success() {
        bail!("it does not start although every library is there");
    }
    let device = call(selfie, &["plan", "--preset", "quick", "--device", "cuda"], &all)?;
    println!("with stubs and --device cuda: {}", manner(&device));
    ensure!(device.status.code() == Some(2), "a device that does not answer is bad usage, exit status 2");
    Ok(())
}

/// Every function is looked up at once, so that none is missing later.
fn call(selfie: &Path, arguments: &[&str], libraries: &[PathBuf]) -> Result<Output> {
    let mut command = Command::new(selfie);
    command.args(arguments).env("LD_LIBRARY_PATH", joined(libraries)?).env("LD_BIND_NOW", "1").stdin(Stdio::null());
    command.output().with_context(|| selfie.display().to_string())
}

fn joined(folders: &[PathBuf]) -> Result<OsString> {
    Ok(std::env::join_paths(folders)?)
}

/// How a program ended, and what it said.
fn manner(output: &Output) -> String {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    format!("{}: {}", output.status, String::from_utf8_lossy(said).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_manner_is_status_and_words() {
        let output = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
        assert_eq!(manner(&output("echo no library >&2; exit 127")), "exit status: 127: no library");
        assert_eq!(manner(&output("echo selfie 0.1.0")), "exit status: 0: selfie 0.1.0");
    }

    #[test]
    fn the_profile_undoes_every_package_that_the_workspace_names() {
        let manifest: toml::Table =
            std::fs::read_to_string(project_root().join("Cargo.toml")).unwrap().parse().unwrap();
        let named = manifest["profile"]["dev"]["package"].as_table().unwrap();
        for name in named.keys() {
            assert!(PACKAGES.contains(&format!("profile.dev.package.{name}.opt-level=0").as_str()), "{name}");
        }
    }
}
