//! Type-checks the leaf crates for Apple's GPUs: their Rust for the target, nothing linked.
//!
//! Not the crates above: those bring C libraries (zstd, ring), whose compiler for macOS is not on other systems.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{fetch, forget_our_crates, obtain};
use crate::tidy::LEAF_CRATES;
use crate::{cargo, project_root};

const TARGET: &str = "aarch64-apple-darwin";

/// Checks them all; the standard library of the target is installed first where rustup can.
pub fn check(cache: &Path) -> Result<()> {
    let root = project_root();
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1").current_dir(&root);
    obtain(&format!("the target {TARGET}"), &mut rustup)?;
    fetch(TARGET)?;
    let target = cache.join("target");
    forget_our_crates(&target, &["--target", TARGET])?;
    let mut command = cargo();
    command.args(["check", "--features", "metal", "--target", TARGET, "--target-dir"]).arg(&target);
    command.args(LEAF_CRATES.iter().flat_map(|name| ["--package", name])).env("CARGO_INCREMENTAL", "0");
    let status = command.current_dir(&root).stdin(Stdio::null()).status().context("cargo check does not start")?;
    ensure!(status.success(), "the leaf crates do not compile with metal for {TARGET}; cargo's message stands above");
    Ok(())
}
