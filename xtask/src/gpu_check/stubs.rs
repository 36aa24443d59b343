//! Shared libraries to link with in place of NVIDIA's, which are gigabytes: every function that cudarc binds, each of which only says that it is a stub.
//!
//! The names come from cudarc's own sources, so the linker finds just what the program may call. The driver's library stands in a folder of its own:
//! the program is started without it, too.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{FEATURES, complaint, fetch, obtain};
use crate::{cargo, project_root};

/// Where the toolchain is for.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// A library: the name that is linked, the file that is loaded, cudarc's folder of its functions, and the number that each returns.
struct Stub {
    link: &'static str,
    file: &'static str,
    bindings: &'static str,
    answer: u32,
}

/// CUDA_ERROR_STUB_LIBRARY, as NVIDIA's own stub of the driver answers.
const DRIVER: Stub = Stub { link: "libcuda.so", file: "libcuda.so.1", bindings: "driver", answer: 34 };
/// The others answer that they are not initialised, or a general failure.
const LIBRARIES: &[Stub] = &[
    Stub { link: "libcublas.so", file: "libcublas.so.13", bindings: "cublas", answer: 1 },
    Stub { link: "libcublasLt.so", file: "libcublasLt.so.13", bindings: "cublaslt", answer: 1 },
    Stub { link: "libcurand.so", file: "libcurand.so.10", bindings: "curand", answer: 101 },
    Stub { link: "libnvrtc.so", file: "libnvrtc.so.13", bindings: "nvrtc", answer: 1 },
    Stub { link: "libcudnn.so", file: "libcudnn.so.9", bindings: "cudnn", answer: 1001 },
    Stub { link: "libnccl.so", file: "libnccl.so.2", bindings: "nccl", answer: 1 },
];

/// The stubs of one version of cudarc.
pub struct Stubs {
    folder: PathBuf,
}

impl Stubs {
    /// The folder of libcuda alone.
    pub fn driver(&self) -> PathBuf {
        self.folder.join("driver")
    }

    /// The folder of the other libraries.
    pub fn libraries(&self) -> PathBuf {
        self.folder.join("libraries")
    }
}

/// The stubs in `cache` for the cudarc of Cargo.lock, made first where they are not there.
pub fn ready(cache: &Path) -> Result<Stubs> {
    let cudarc = cudarc()?;
    let folder = cache.join(format!("stubs-cudarc-{}", cudarc.version));
    if !folder.exists() {
        let part = cache.join("stubs.part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        make(&DRIVER, &part.join("driver"), &cudarc.sources)?;
        for stub in LIBRARIES {
            make(stub, &part.join("libraries"), &cudarc.sources)?;
        }
        fs::rename(&part, &folder)?;
    }
    Ok(Stubs { folder })
}

struct Cudarc {
    version: String,
    sources: PathBuf,
}

/// Where cargo has unpacked cudarc.
fn cudarc() -> Result<Cudarc> {
    fetch(HOST)?;
    let mut command = cargo();
    command.args(["metadata", "--format-version=1", "--offline", "--filter-platform", HOST, "--features", FEATURES]);
    command.current_dir(project_root().join("selfie-eval"));
    let output = command.output().context("cargo metadata does not start")?;
    ensure!(output.status.success(), "cargo metadata --features {FEATURES}: {}", complaint(&output.stderr));
    cudarc_of(&serde_json::from_slice(&output.stdout)?)
}

fn cudarc_of(metadata: &serde_json::Value) -> Result<Cudarc> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let package =
        packages.iter().find(|package| package["name"] == "cudarc").context("no cudarc among the dependencies")?;
    let version = package["version"].as_str().context("cudarc has no version")?.to_owned();
    let manifest = package["manifest_path"].as_str().context("cudarc has no manifest")?;
    Ok(Cudarc { version, sources: Path::new(manifest).with_file_name("src") })
}

/// Compiles one library into `folder`.
#[cfg(unix)]
fn make(stub: &Stub, folder: &Path, cudarc: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let bindings = cudarc.join(stub.bindings).join("sys/mod.rs");
    let text = fs::read_to_string(&bindings).with_context(|| bindings.display().to_string())?;
    let names = functions(&text);
    ensure!(!names.is_empty(), "{}: no function found, has cudarc changed its form?", bindings.display());
    let mut program = String::new();
    for name in names {
        writeln!(program, "int {name}(void) {{ return {}; }}", stub.answer)?;
    }
    let source = folder.join("stub.c");
    fs::write(&source, program)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w", "-fno-builtin"]).arg(format!("-Wl,-soname,{}", stub.file));
    obtain("a C compiler", compiler.arg("-o").arg(folder.join(stub.file)).arg(&source))?;
    fs::remove_file(source)?;
    Ok(std::os::unix::fs::symlink(stub.file, folder.join(stub.link))?)
}

#[cfg(not(unix))]
fn make(_: &Stub, _: &Path, _: &Path) -> Result<()> {
    anyhow::bail!("the toolchain is for Linux")
}

/// The C functions that a module of cudarc binds: `pub unsafe fn NAME(`, but for what is Rust's own.
fn functions(bindings: &str) -> Vec<&str> {
    let declared = bindings.split("pub unsafe fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
    let mut names: Vec<_> =
        declared.filter(|name| ["cu", "nccl", "nvrtc"].iter().any(|start| name.starts_with(start))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_the_c_interface() {
        let text = "pub unsafe fn cuInit(Flags: u32) -> CUresult {\n}\npub unsafe fn culib() -> &'static Lib {}\n\
                    pub fn cuda_free() {}\npub unsafe fn cuInit(Flags: u32) -> CUresult {}\npub unsafe fn as_ref<'a>(p: *const T) {}\n";
        assert_eq!(functions(text), ["cuInit", "culib"]);
    }

    #[test]
    fn cudarc_is_found_among_the_packages() {
        let metadata = serde_json::json!({"packages": [
            {"name": "half", "version": "2.7.1", "manifest_path": "/r/half/Cargo.toml"},
            {"name": "cudarc", "version": "0.19.10", "manifest_path": "/r/cudarc/Cargo.toml"}]});
        let cudarc = cudarc_of(&metadata).unwrap();
        assert_eq!((cudarc.version.as_str(), cudarc.sources.as_path()), ("0.19.10", Path::new("/r/cudarc/src")));
        assert!(cudarc_of(&serde_json::json!({"packages": []})).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_stub_is_a_library_under_both_names() {
        let place = tempfile::tempdir().unwrap();
        let sys = place.path().join("driver/sys");
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("mod.rs"), "pub unsafe fn cuInit(Flags: u32) -> CUresult {}").unwrap();
        let folder = place.path().join("stubs");
        make(&DRIVER, &folder, place.path()).unwrap();
        assert!(fs::read(folder.join("libcuda.so")).unwrap().starts_with(b"\x7fELF"));
        assert!(folder.join("libcuda.so.1").is_file() && !folder.join("stub.c").exists());
        fs::write(sys.join("mod.rs"), "").unwrap();
        assert!(make(&DRIVER, &folder, place.path()).unwrap_err().to_string().contains("no function"));
    }
}
