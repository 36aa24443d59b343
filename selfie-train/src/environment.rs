//! `env.json`: what a run was made with, for whoever wonders later.

use std::path::Path;
use std::process::Command;

use candle_core::Device;
use serde_json::{Value, json};

use crate::clock::utc_now;
use crate::device::describe_device;

/// The environment of a run that `command` starts on `device`. What cannot be found out is null.
#[must_use]
pub fn environment(device: &Device, command: &[String]) -> Value {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = std::fs::read_to_string(source.join("../Cargo.lock")).unwrap_or_default();
    json!({
        "selfie": env!("CARGO_PKG_VERSION"),
        "git_commit": git_commit(source),
        "candle": version_in(&lock, "candle-core"),
        "gemm": version_in(&lock, "gemm"),
        "safetensors": version_in(&lock, "safetensors"),
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "device": describe_device(device),
        "threads": rayon::current_num_threads(),
        "command": command,
        "started": utc_now().to_string(),
    })
}

/// The commit of the source tree that the program was built from, where it is still there.
fn git_commit(source: &Path) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(source).args(["rev-parse", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| commit.trim().to_owned())
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}
