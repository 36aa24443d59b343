//! The commands of the program `selfie`: build it in release, then become it.
//!
//! Some arguments are read here, because they matter before the program starts: `--device`, `--ranks` and data sets of the crate
//! `candle-datasets` choose what is built, `--ranks` starts it several times, and `--threads` sets RAYON_NUM_THREADS, which
//! candle reads once. Everything else is the program's affair. On Unix
//! it replaces this process, so signals and exit status are its own.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::{BadUsage, cargo, cuda, mpirun, project_root};

/// Name and one line of help, in the order of `cargo xtask --help`.
#[rustfmt::skip] // a row a line
pub const COMMANDS: &[(&str, &str)] = &[
    ("pretrain-imagenet", "Pretrain on 224-pixel photographs; without --data on the sample that ships here"),
    ("pretrain", "Pretrain on any images: --preset cifar10|cifar10-paper|imagenet32|imagenet224|quick"),
    ("finetune", "Train a full ResNet on labels: --from RUN or --from scratch"),
    ("compare", "Does it help? Scratch against pretrained on equal labels, seeds and steps"),
    ("masked-eval", "Accuracy of the pretext task on held-out images, beside chance"),
    ("linear-eval", "Linear evaluation on frozen features"),
    ("knn-eval", "kNN evaluation on frozen features"),
    ("embed", "Features of any images, to a .safetensors, .npy or .parquet file"),
    ("export", "Weights of a run for torchvision, timm or PyTorch, with the lines of Python that load them"),
    ("import", "A ResNet-50 of torchvision or timm, .pth or safetensors, as weights to start from"),
    ("runs", "Table of the runs below a folder: state, step, loss, accuracy, speed"),
    ("report", "Write a run's report.html: curves, the masked patches it finds, neighbours"),
    ("data", "Check images, measure them, fetch them: data verify, data stats, data fetch"),
    ("bench", "Measure speed: bench step, bench loader, bench kernels, bench peer (against PyTorch)"),
    ("plan", "What a full-size run costs: hours, memory, data rate, communication, on so many ranks"),
];

/// The commands that several processes can share.
const SHARED: [&str; 2] = ["pretrain", "pretrain-imagenet"];

/// Builds the program and hands `arguments` (command name first) over to it.
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let name = arguments[0].to_string_lossy();
    if !COMMANDS.iter().any(|(known, _)| *known == name) {
        return Err(unknown(&name).into());
    }
    let wanted = Wanted::read(&name, &arguments[1..]);
    let mut features: Vec<_> = feature(wanted.device.as_deref())?.into_iter().collect();
    if wanted.ranks > 1 {
        mpirun::check()?;
        // Ranks on cards talk by NCCL.
        features.push(if features.contains(&"cuda") { "nccl" } else { "mpi" });
    }
    if arguments.iter().any(|argument| needs_datasets(&argument.to_string_lossy())) {
        features.push("candle-datasets");
    }
    let program = build(&features)?;
    let mut command = Command::new(&program);
    // Advice that the program prints then names the command as it was typed.
    command.args(arguments).env("SELFIE_STARTED_AS", "cargo xtask");
    if let Some(threads) = wanted.threads {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    if wanted.ranks > 1 {
        return mpirun::run(command, wanted.ranks);
    }
    become_program(command).with_context(|| format!("{} does not start", program.display()))
}

/// What the arguments say about the build and the process, uninterpreted where it is not understood.
#[derive(Debug, PartialEq)]
struct Wanted {
    device: Option<String>,
    threads: Option<usize>,
    ranks: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { device: None, threads: None, ranks: 1 }
    }
}

impl Wanted {
    fn read(command: &str, arguments: &[OsString]) -> Self {
        let number = |option| value_of(option, arguments).and_then(|value| value.parse().ok()).filter(|&n| n > 0);
        // `plan` reckons with ranks and starts none.
        let ranks = if SHARED.contains(&command) { number("--ranks").unwrap_or(1) } else { 1 };
        let threads = number("--threads");
        Self { device: value_of("--device", arguments), threads, ranks }
    }
}

/// The last value of `--option VALUE` or `--option=VALUE` before a `--`.
fn value_of(option: &str, arguments: &[OsString]) -> Option<String> {
    let mut value = None;
    let mut rest = arguments.iter().map(|argument| argument.to_string_lossy()).take_while(|argument| argument != "--");
    while let Some(argument) = rest.next() {
        match argument.strip_prefix(option) {
            Some("") => value = rest.next().map(Into::into),
            Some(tail) if tail.starts_with('=') => value = Some(tail[1..].to_owned()),
            _ => {}
        }
    }
    value
}

/// Data of these schemes are read by the crate `candle-datasets`.
const DATASETS: [&str; 2] = ["mnist:", "fashion-mnist:"];

/// Whether an argument names data of [`DATASETS`], or is a run or a configuration that does.
fn needs_datasets(argument: &str) -> bool {
    // `--data DATA`, `--data=DATA`, `--set data.source=DATA`, `--set=data.source=DATA`.
    let value = argument.rsplit('=').next().unwrap_or_default().trim_matches('"');
    if DATASETS.iter().any(|scheme| value.starts_with(scheme)) {
        return true;
    }
    let path = Path::new(value);
    let file = if path.is_dir() { path.join("config.toml") } else { path.to_path_buf() };
    if file.extension().is_none_or(|suffix| suffix != "toml") {
        return false;
    }
    let config = std::fs::read_to_string(file).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let source = config.as_ref().and_then(|config| config.get("data")?.get("source")?.as_str());
    source.is_some_and(|source| DATASETS.iter().any(|scheme| source.starts_with(scheme)))
}

/// The cargo feature that a device needs, refused here where it cannot run. What is no device is left to the program.
fn feature(device: Option<&str>) -> Result<Option<&'static str>, BadUsage> {
    match device.map(|device| device.split(':').next().unwrap_or_default()) {
        Some("cuda") => match cuda::problem(&cuda::facts()) {
            Some(problem) => Err(BadUsage(format!("--device cuda: {problem}"))),
            None => Ok(Some("cuda")),
        },
        Some("metal") if !cfg!(target_os = "macos") => {
            Err(BadUsage("--device metal: needs macOS: take --device cpu or --device cuda".to_owned()))
        }
        Some("metal") => Ok(Some("metal")),
        _ => Ok(None),
    }
}

fn unknown(name: &str) -> BadUsage {
    let own = ["ci", "tidy", "golden", "gpu-check"];
    let names = COMMANDS.iter().map(|(name, _)| *name).chain(own);
    let nearest = names.min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default();
    BadUsage(format!("no command '{name}'; the nearest is '{nearest}' (cargo xtask --help lists all)"))
}

/// Brings the program up to date and returns its path. Cargo speaks on stderr, and only when it does something.
fn build(features: &[&str]) -> Result<PathBuf> {
    let program = beside_us()?;
    if !program.exists() {
        eprintln!("building selfie in release, about 5 minutes the first time");
    }
    let mut command = cargo();
    command.args(["build", "--release", "--package", "selfie-eval", "--bin", "selfie"]);
    command.arg("--manifest-path").arg(project_root().join("Cargo.toml"));
    if !features.is_empty() {
        command.arg(format!("--features={}", features.join(",")));
    }
    if features.contains(&"cuda") {
        command.envs(cuda::path_with_nvcc().map(|path| ("PATH", path)));
    }
    if std::io::stderr().is_terminal() {
        command.arg("--color=always");
    }
    let mut cargo = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(stderr) = cargo.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            let summary = line.contains("Finished") && line.contains("profile [");
            if !summary {
                eprintln!("{line}");
            }
        }
    }
    if !cargo.wait()?.success() {
        bail!("the program selfie does not build; cargo's message stands above");
    }
    Ok(program)
}

/// The program's place: `release/` of the target folder that this process was started from.
fn beside_us() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let target = us.parent().and_then(Path::parent).with_context(|| format!("{} has no folder", us.display()))?;
    let name: &OsStr = if cfg!(windows) { "selfie.exe".as_ref() } else { "selfie".as_ref() };
    Ok(target.join("release").join(name))
}

/// Replaces this process by `command`; returns only where that fails.
#[cfg(unix)]
fn become_program(mut command: Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Runs `command` and passes its exit status on.
#[cfg(not(unix))]
fn become_program(mut command: Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Wanted {
        Wanted::read("pretrain", &line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn both_spellings_of_an_option_are_found() {
        let both = Wanted { device: Some("cuda:1".to_owned()), threads: Some(4), ranks: 1 };
        assert_eq!(wanted("--data x --device cuda:1 --threads=4"), both);
        assert_eq!(wanted("--ranks 3"), Wanted { ranks: 3, ..Wanted::default() });
        assert_eq!(wanted("--threads 2 --device=cuda:1 --threads 4 --seed 3"), both);
    }

    #[test]
    fn a_command_that_only_reckons_with_ranks_starts_none() {
        let words = ["--ranks", "64"].map(OsString::from);
        assert_eq!(Wanted::read("plan", &words), Wanted::default());
    }

    #[test]
    fn what_is_not_understood_is_left_to_the_program() {
        assert_eq!(wanted("--threads many --devices cuda"), Wanted::default());
        assert_eq!(wanted("--threads 0 -- --device cuda"), Wanted::default());
        assert_eq!(feature(Some("gpu")).unwrap(), None);
    }

    #[test]
    fn only_the_processor_needs_no_feature() {
        assert_eq!(feature(None).unwrap(), None);
        assert_eq!(feature(Some("cpu")).unwrap(), None);
        match cuda::problem(&cuda::facts()) {
            Some(problem) => assert!(feature(Some("cuda:0")).unwrap_err().0.contains(&problem)),
            None => assert_eq!(feature(Some("cuda:0")).unwrap(), Some("cuda")),
        }
    }

    #[test]
    fn data_sets_of_the_crate_are_found_in_arguments_runs_and_configurations() {
        for argument in ["mnist:x", "--data=fashion-mnist:x", "data.source=mnist:x", "--set=data.source=\"mnist:x\""] {
            assert!(needs_datasets(argument), "{argument}");
        }
        let run = tempfile::tempdir().unwrap();
        let config = run.path().join("config.toml");
        let (as_run, as_file) = (run.path().to_string_lossy(), config.to_string_lossy());
        for (source, needed) in [("fashion-mnist:x", true), ("cifar10:x", false), ("mnist", false)] {
            std::fs::write(&config, format!("[data]\nsource = \"{source}\"\n")).unwrap();
            assert_eq!((needs_datasets(&as_run), needs_datasets(&as_file)), (needed, needed), "{source}");
        }
        assert!(!needs_datasets("--data") && !needs_datasets("photos/mnist") && !needs_datasets(""));
    }

    #[test]
    fn an_unknown_command_names_the_nearest() {
        assert!(unknown("pretrian").0.contains("'pretrain'"));
        assert!(unknown("tydi").0.contains("'tidy'"));
    }
}
