//! `env.json`: what a run was made with, for whoever wonders later.

use candle_core::Device;
use serde_json::{Value, json};

use crate::clock::utc_now;
use crate::device::describe_device;

/// What the running program was built from. Only the program itself can know it: the sources may have moved on since, or be gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// Commit of the sources.
    pub commit: Option<String>,
    /// Whether the sources differed from the commit.
    pub modified: Option<bool>,
    /// Version of candle-core.
    pub candle: Option<String>,
    /// Version of gemm, which multiplies Candle's matrices on the CPU.
    pub gemm: Option<String>,
    /// Version of safetensors.
    pub safetensors: Option<String>,
}

/// Returns the environment of a run that `command` starts on `device`. Facts that are not known are null.
#[must_use]
pub fn environment(device: &Device, command: &[String], build: &Build) -> Value {
    json!({
        "selfie": env!("CARGO_PKG_VERSION"),
        "git_commit": build.commit,
        "git_modified": build.modified,
        "candle": build.candle,
        "gemm": build.gemm,
        "safetensors": build.safetensors,
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "device": describe_device(device),
        "threads": rayon::current_num_threads(),
        "command": command,
        "started": utc_now().to_string(),
    })
}
