//! The CUDA toolchain that `gpu-check` compiles with: NVIDIA's wheels from PyPI, pinned by version and hash in `xtask/cuda/toolchain.txt`.
//!
//! It is made beside its place, must compile a kernel there, and is renamed into it: so half of one never counts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Unavailable, complaint, obtain};

/// The release of the pins.
pub const CUDA: &str = "13.0";
/// cudarc's spelling of it.
const CUDARC_VERSION: &str = "13000";
/// An A100's: nothing depends on it but which of candle's kernels are compiled.
const COMPUTE_CAPABILITY: &str = "80";
const PINS: &str = include_str!("../../cuda/toolchain.txt");
/// The copy of the pins that a complete installation holds.
const RECORD: &str = "toolchain.txt";

/// Kernels as PTX without optimisation and without machine code: an eighth of the time, for code that never runs.
const CHEAP_NVCC: &str =
    "#!/bin/bash\nexec \"${BASH_SOURCE[0]%/*}/nvcc\" \"${@//code=sm_/code=compute_}\" -Xcicc -O0\n";

/// A complete installation.
pub struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    /// The folder of libcudart.
    pub fn libraries(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// What the build scripts of cudarc and of candle's kernels ask for. Other toolkits of the machine are out of sight.
    pub fn apply(&self, command: &mut Command) -> Result<()> {
        for other in ["CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"] {
            command.env_remove(other);
        }
        command.env("CUDA_HOME", &self.folder).env("CUDA_PATH", &self.folder);
        command.env("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY).env("CUDARC_CUDA_VERSION", CUDARC_VERSION);
        command.env("NVCC", self.folder.join("bin/nvcc-ptx")).env("PATH", self.path()?);
        Ok(())
    }

    fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(std::env::join_paths(std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&path)))?)
    }
}

/// The toolchain in `cache`, installed first where it is not there or has other pins.
pub fn ready(cache: &Path) -> Result<Toolchain> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Unavailable("the pinned CUDA toolchain is for Linux on x86_64".to_owned()).into());
    }
    let folder = cache.join("toolchain");
    if !is_complete(&folder) {
        println!("installing CUDA {CUDA}'s compiler from PyPI into {} (once)", folder.display());
        let part = cache.join("toolchain.part");
        for old in [&part, &folder] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| old.display().to_string())?;
            }
        }
        install(&part)?;
        fs::rename(&part, &folder)?;
    }
    Ok(Toolchain { folder })
}

/// Whether `folder` holds an installation of these very pins.
fn is_complete(folder: &Path) -> bool {
    fs::read_to_string(folder.join(RECORD)).is_ok_and(|pins| pins == PINS)
}

/// Makes an installation in `folder`, which does not exist yet.
fn install(folder: &Path) -> Result<()> {
    let wheels = folder.join("wheels");
    fs::create_dir_all(&wheels)?;
    let pins = wheels.join("pins.txt");
    fs::write(&pins, PINS)?;
    obtain("Python 3 with pip", Command::new("python3").args(["-m", "pip", "--version"]))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir"]);
    pip.args(["--retries=2", "--no-deps", "--only-binary=:all:", "--no-compile", "--require-hashes"]);
    pip.arg("--target").arg(&wheels).arg("--requirement").arg(&pins);
    let output = pip.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        if message.contains("DO NOT MATCH THE HASHES") {
            bail!("PyPI's files are not those of xtask/cuda/toolchain.txt: {}", message.trim());
        }
        let reason = complaint(&output.stderr);
        return Err(Unavailable(format!("CUDA {CUDA}'s wheels cannot be had from PyPI: {reason}")).into());
    }
    for entry in fs::read_dir(wheels.join("nvidia/cu13")).context("the wheels have no nvidia/cu13")? {
        let entry = entry?;
        fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    fs::remove_dir_all(&wheels)?;
    arrange(folder)?;
    compile_a_kernel(folder)?;
    fs::write(folder.join(RECORD), PINS)?;
    Ok(())
}

/// What wheels lack beside a packaged toolkit: `lib64`, libraries under the names that a linker looks for, and our compiler driver.
#[cfg(unix)]
fn arrange(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, symlink};
    symlink("lib", folder.join("lib64"))?;
    for entry in fs::read_dir(folder.join("lib"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((stem, _)) = name.split_once(".so.") {
            let link = folder.join("lib").join(format!("{stem}.so"));
            if !link.exists() {
                symlink(&name, link)?;
            }
        }
    }
    let driver = folder.join("bin/nvcc-ptx");
    fs::write(&driver, CHEAP_NVCC)?;
    Ok(fs::set_permissions(driver, PermissionsExt::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn arrange(_: &Path) -> Result<()> {
    bail!("the toolchain is for Linux")
}

/// Shows that the toolchain goes together with this machine's C++ compiler.
fn compile_a_kernel(folder: &Path) -> Result<()> {
    let (source, object) = (folder.join("kernel.cu"), folder.join("kernel.o"));
    fs::write(&source, "__global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }\n")?;
    let mut nvcc = Command::new(folder.join("bin/nvcc-ptx"));
    nvcc.args(["-gencode=arch=compute_80,code=sm_80", "-c", "-o"]).arg(&object).arg(&source);
    obtain("nvcc with this machine's g++", &mut nvcc)?;
    fs::remove_file(source)?;
    Ok(fs::remove_file(object)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_installation_does_not_count() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_complete(&place.path().join("absent")));
        assert!(!is_complete(place.path()));
        fs::write(place.path().join(RECORD), "nvidia-cuda-nvcc==12.9.86\n").unwrap();
        assert!(!is_complete(place.path()));
        fs::write(place.path().join(RECORD), PINS).unwrap();
        assert!(is_complete(place.path()));
    }

    #[test]
    fn every_pin_has_version_and_hash() {
        let pins: Vec<_> = PINS.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(pins.iter().any(|pin| pin.starts_with(&format!("nvidia-cuda-nvcc=={CUDA}."))));
        for pin in pins {
            let (_, hash) = pin.split_once(" --hash=sha256:").unwrap();
            assert!(pin.contains("==13.0.") && hash.len() == 64, "{pin}");
        }
    }
}
