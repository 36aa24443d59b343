//! `cargo xtask golden`: the numbers of PyTorch that our tests compare with.
//!
//! Every program of [`PROGRAMS`] is a file in `xtask/golden/`, called as `python PROGRAM.py FOLDER`, and writes its
//! golden files into that folder. One function serves writing and checking: it lets the program write beside the
//! build, compares with the committed files, and copies only those that differ, so a second machine changes nothing.

mod compare;
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project_root;

/// Program in `xtask/golden/`, and the folder of its golden files.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("loss.py", "selfie-loss/tests/golden"),
    ("attnpool.py", "selfie-attnpool/tests/golden"),
    ("encoder.py", "selfie-encoder/tests/golden"),
    ("model.py", "selfie-train/tests/golden"),
    ("images.py", "selfie-train/tests/golden"),
    ("tiff.py", "selfie-train/tests/golden"),
    ("torch_save.py", "selfie-train/tests/golden"),
    ("foreign_files.py", "selfie-train/tests/golden"),
    ("foreign_resnet.py", "selfie-eval/tests/golden"),
    ("data_formats.py", "selfie-train/tests/formats"),
    ("data_tables.py", "selfie-train/tests/formats"),
];

/// What `golden` may be told.
#[derive(clap::Args)]
pub struct Options {
    /// Change nothing; fail where a committed file differs from what PyTorch says
    #[arg(long)]
    check: bool,
    /// A Python that has torch, numpy, safetensors, pillow, pyarrow, scipy and webdataset [default: one made in target/golden-venv, some 5 GB]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Only these programs, for instance loss.py [default: all]
    #[arg(value_name = "PROGRAM", value_parser = clap::builder::PossibleValuesParser::new(PROGRAMS.iter().map(|p| p.0)))]
    only: Vec<String>,
}

/// Makes the golden files again, or checks them.
pub fn run(options: &Options) -> Result<()> {
    let root = project_root().canonicalize()?;
    let python = match &options.python {
        Some(python) => python.clone(),
        None => python::of_our_own(&root.join("target/golden-venv"))?,
    };
    let mut differing = 0;
    for (program, folder) in PROGRAMS {
        if options.only.is_empty() || options.only.iter().any(|name| name == program) {
            differing += refresh(&python, &root, program, folder, options.check)?;
        }
    }
    if options.check && differing > 0 {
        bail!("golden files that differ from what PyTorch says: {differing}");
    }
    Ok(())
}

/// Runs one program; returns how many committed files differ from what it wrote, each replaced unless `check`.
fn refresh(python: &Path, root: &Path, program: &str, folder: &str, check: bool) -> Result<usize> {
    let fresh = root.join("target/golden").join(program);
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir_all(&fresh)?;
    call(python, &root.join("xtask/golden").join(program), &fresh)?;
    let mut differing = 0;
    let files = sorted_files(&fresh)?;
    for file in &files {
        let name = file.strip_prefix(&fresh)?;
        let committed = root.join(folder).join(name);
        let Some(difference) = compare::files(&committed, file)? else {
            continue;
        };
        differing += 1;
        println!("{folder}/{}: {difference}", name.display());
        if !check {
            std::fs::create_dir_all(committed.parent().unwrap_or(root))?;
            std::fs::copy(file, &committed).with_context(|| committed.display().to_string())?;
        }
    }
    let done = if check { "differing" } else { "written" };
    println!("{program}: files {}, {done} {differing}", files.len());
    Ok(differing)
}

fn call(python: &Path, program: &Path, folder: &Path) -> Result<()> {
    if !program.exists() {
        bail!("{}: no such program, but golden.rs names it", program.display());
    }
    let mut command = Command::new(python);
    command.arg(program).arg(folder).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let status = command.status().with_context(|| format!("{} does not start", python.display()))?;
    if !status.success() {
        bail!("{} failed ({status}); its message stands above", program.display());
    }
    Ok(())
}

/// Every file below `folder`, in the order of their names.
fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sorted_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for Python and a program of xtask/golden: writes one file into the folder that it is given.
    fn workspace_with_a_program(text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("xtask/golden")).unwrap();
        let script = format!("printf '{text}' > \"$1/answer.txt\"\n");
        std::fs::write(root.path().join("xtask/golden/p.py"), script).unwrap();
        root
    }

    #[test]
    #[cfg(unix)]
    fn check_reports_and_the_other_writes() {
        let root = workspace_with_a_program("42");
        let refresh = |check| refresh(Path::new("sh"), root.path(), "p.py", "leaf/golden", check).unwrap();
        let committed = root.path().join("leaf/golden/answer.txt");
        assert_eq!((refresh(true), committed.exists()), (1, false));
        assert_eq!((refresh(false), committed.exists()), (1, true));
        assert_eq!(refresh(true), 0);
    }

    #[test]
    #[cfg(unix)]
    fn a_missing_program_is_named() {
        let root = workspace_with_a_program("");
        let error = refresh(Path::new("sh"), root.path(), "q.py", "leaf/golden", true).unwrap_err();
        assert!(error.to_string().contains("q.py: no such program"));
    }
}
