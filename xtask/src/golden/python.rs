//! A Python with PyTorch of our own, in a folder beside the build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const PACKAGES: &[&str] = &["torch", "numpy", "safetensors", "pillow", "pyarrow", "scipy", "webdataset"];

/// The interpreter of the virtual environment `folder`, which is made first where it is missing or half-made.
pub fn of_our_own(folder: &Path) -> Result<PathBuf> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let complete = folder.join("complete");
    if !complete.exists() {
        eprintln!("installing {} into {} (once)", PACKAGES.join(", "), folder.display());
        let system = if cfg!(windows) { "python" } else { "python3" };
        succeed(Command::new(system).args(["-m", "venv", "--clear"]).arg(folder))?;
        succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
        std::fs::write(&complete, "")?;
    }
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("{name} does not start; golden needs Python 3, or --python FILE"))?;
    if !status.success() {
        bail!("{name} failed ({status}); its message stands above");
    }
    Ok(())
}
