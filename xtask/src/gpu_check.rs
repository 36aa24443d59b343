//! `cargo xtask gpu-check`: that the code for GPUs compiles and links, on a machine that has none. Nothing is computed on a GPU here.
//!
//! Parts, each with its time: the pinned CUDA toolchain comes into a cache folder ([`toolchain`], [`stubs`]); the program `selfie` is built with
//! [`FEATURES`] ([`program`]) and started without and with a stand-in for the driver; the leaf crates are type-checked for Apple's GPUs ([`metal`]).
//! What cannot be had on a machine ([`Unavailable`]) is skipped with its reason; anything else that goes wrong is a failure.

mod metal;
mod program;
mod stubs;
mod toolchain;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::tidy::CRATES;
use crate::{cargo, mpirun, project_root};

/// What the program is built with.
const FEATURES: &str = "cuda,cudnn,nccl";

/// What `gpu-check` may be told.
#[derive(Default, clap::Args)]
pub struct Options {
    /// Where toolchain, kernels and builds are kept between runs, some 2 GB [default: selfie/cuda-13.0 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Runs every part; an error names those that failed.
pub fn run(options: &Options) -> Result<()> {
    let cache = match &options.cache {
        Some(folder) => std::path::absolute(folder)?,
        None => default_cache().context("no cache folder: neither XDG_CACHE_HOME nor HOME is set; say --cache DIR")?,
    };
    let _held = hold(&cache).with_context(|| cache.display().to_string())?;
    let mut parts = Parts::default();
    let mpi = parts.run("packages of MPI", packages);
    let toolchain = parts.run("CUDA toolchain", || toolchain::ready(&cache));
    let stubs = toolchain.as_ref().and_then(|_| parts.run("stubs to link with", || stubs::ready(&cache)));
    if let (Some(()), Some(toolchain), Some(stubs)) = (mpi, toolchain, stubs) {
        let name = format!("selfie with {FEATURES}: compiles and links");
        if let Some(selfie) = parts.run(&name, || program::build(&cache, &toolchain, &stubs)) {
            parts.run("its start", || program::start(&selfie, &toolchain, &stubs));
        }
    }
    parts.run("leaf crates with metal: type check", || metal::check(&cache));
    parts.verdict()
}

/// `selfie/cuda-13.0` where this user keeps what can be made again.
fn default_cache() -> Option<PathBuf> {
    let stated = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = stated.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(folder.join("selfie").join(format!("cuda-{}", toolchain::CUDA)))
}

/// The cache for this run alone, as long as the file lives: a second run waits.
fn hold(cache: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(cache)?;
    let lock = File::create(cache.join("lock"))?;
    if lock.try_lock().is_err() {
        println!("another gpu-check works in {}; waiting", cache.display());
        lock.lock()?;
    }
    Ok(lock)
}

/// Open MPI, which the feature `nccl` builds on.
fn packages() -> Result<()> {
    let status = Command::new("bash").arg(project_root().join(".ci/packages")).stdin(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(Unavailable("not all can be installed; the message of .ci/packages stands above".to_owned()).into());
    }
    Ok(mpirun::check().map_err(|missing| Unavailable(missing.0))?)
}

/// The parts so far: each prints what became of it, and a failure stops none of the others.
#[derive(Default)]
struct Parts {
    failed: Vec<String>,
    skipped: usize,
}

impl Parts {
    fn run<T>(&mut self, name: &str, part: impl FnOnce() -> Result<T>) -> Option<T> {
        let start = Instant::now();
        println!("-- {name}");
        let outcome = part();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(value) => {
                println!("-- {name}: passed in {seconds:.0} s");
                return Some(value);
            }
            Err(error) => match error.downcast_ref::<Unavailable>() {
                Some(reason) => {
                    println!("-- {name}: SKIPPED after {seconds:.0} s: {reason}");
                    self.skipped += 1;
                }
                None => {
                    println!("-- {name}: FAILED after {seconds:.0} s: {error:#}");
                    self.failed.push(name.to_owned());
                }
            },
        }
        None
    }

    fn verdict(&self) -> Result<()> {
        match (self.failed.is_empty(), self.skipped) {
            (false, _) => bail!("gpu-check: failed: {}", self.failed.join("; ")),
            (true, 0) => println!("gpu-check: everything compiles and links; none of it has run on a GPU"),
            (true, count) => println!("gpu-check: nothing failed; parts skipped for the reasons above: {count}"),
        }
        Ok(())
    }
}

/// What this machine cannot have, in one line. The only error that lets a check be skipped.
#[derive(Debug)]
struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Removes our own crates from the target folder of the cache, not what they depend on. Several checkouts share it, and cargo would take what another
/// one has built for ours, if only it is newer than our sources.
fn forget_our_crates(target: &Path, platform: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.args(["clean", "--quiet", "--target-dir"]).arg(target).args(platform);
    command.args(CRATES.iter().flat_map(|name| ["--package", name])).current_dir(project_root());
    let output = command.stdin(Stdio::null()).output().context("cargo clean does not start")?;
    ensure!(output.status.success(), "cargo clean: {}", complaint(&output.stderr));
    Ok(())
}

/// Brings the crates of Cargo.lock for one target here; a machine without a network may have them already.
fn fetch(target: &str) -> Result<()> {
    let mut command = cargo();
    command.args(["fetch", "--quiet", "--target", target]).current_dir(project_root());
    obtain("the crates of Cargo.lock", &mut command).map(drop)
}

/// Runs `command` for what it prints; a failure is [`Unavailable`], with the last line that it complained in.
fn obtain(what: &str, command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Unavailable(format!("{what}: {name} does not start: {error}")))?;
    if !output.status.success() {
        return Err(Unavailable(format!("{what}: {}", complaint(&output.stderr))).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line that says what went wrong: the last that calls itself an error, else the last.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().rfind(|line| line.to_lowercase().contains("error")).or_else(|| lines().next_back());
    line.unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_had_is_skipped() {
        let mut parts = Parts::default();
        assert_eq!(parts.run("a", || Ok(3)), Some(3));
        assert_eq!(parts.run("b", || -> Result<()> { Err(Unavailable("no network".to_owned()).into()) }), None);
        assert!(parts.verdict().is_ok());
        assert_eq!(parts.run("c", || -> Result<()> { bail!("does not compile") }), None);
        assert_eq!(parts.verdict().unwrap_err().to_string(), "gpu-check: failed: c");
        assert_eq!(parts.skipped, 1);
    }

    #[test]
    fn a_reason_survives_context() {
        let error = anyhow::Error::from(Unavailable("no network".to_owned())).context("toolchain");
        assert!(error.downcast_ref::<Unavailable>().is_some());
    }

    #[test]
    fn a_program_that_fails_is_quoted_in_one_line() {
        let text = b"warning: retrying\nERROR: no matching distribution\n\n[notice] a newer pip\n";
        assert_eq!(complaint(text), "ERROR: no matching distribution");
        assert_eq!(complaint(b"a\nb\n"), "b");
        assert_eq!(complaint(b""), "it said nothing");
        let error = obtain("a thing", &mut Command::new("no-such-program")).unwrap_err();
        assert!(
            error.downcast_ref::<Unavailable>().is_some_and(|reason| reason.0.starts_with("a thing: no-such-program"))
        );
    }
}
