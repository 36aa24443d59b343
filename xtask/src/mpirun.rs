//! `--ranks N`: the program started N times by `mpirun`, which shares each batch out among them.
//!
//! Open MPI answers Ctrl-C by killing its processes within a second, which is too short to save a run. So it gets a process group
//! of its own, out of the terminal's reach, and Ctrl-C becomes SIGUSR1, which it passes on and the program takes as the wish to
//! stop; a second one ends everything.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::BadUsage;

/// What must be there to build and to run.
const TOOLS: [&str; 2] = ["mpirun", "mpicc"];

/// Says what to install where something is missing.
pub fn check() -> Result<(), BadUsage> {
    let runs = |tool: &str| {
        let mut asked = Command::new(tool);
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    match TOOLS.iter().find(|tool| !runs(tool)) {
        None => Ok(()),
        Some(tool) => Err(BadUsage(format!(
            "--ranks: no {tool} found: install Open MPI and libclang \
             (Debian: apt-get install libopenmpi-dev openmpi-bin libclang-dev), or leave --ranks out"
        ))),
    }
}

/// Starts `ranks` of `program` and waits for them; the exit status is that of the first to fail.
pub fn run(program: Command, ranks: usize) -> Result<ExitCode> {
    let mut mpirun = Command::new("mpirun");
    // More ranks than cores are allowed, and none is tied to one core: each has a pool of threads.
    // Its own remarks would stand around the one line that the program says of an error.
    mpirun.args(["-n", &ranks.to_string(), "--quiet", "--oversubscribe", "--bind-to", "none"]);
    mpirun.arg(program.get_program()).args(program.get_args());
    mpirun.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if is_root() {
        mpirun.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut mpirun, 0);
    // Before mpirun starts, so that no Ctrl-C ends this process alone.
    let (process, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (to, before) = (Arc::clone(&process), Arc::clone(&asked));
    let pass_on = move || match (before.swap(true, Ordering::SeqCst), to.load(Ordering::SeqCst)) {
        (_, 0) => std::process::exit(130),
        (true, process) => send("TERM", process),
        (false, process) => {
            eprintln!("\nstopping after this step and saving; Ctrl-C again ends every rank at once");
            send("USR1", process);
        }
    };
    ctrlc::set_handler(pass_on).context("Ctrl-C cannot be handled")?;
    let mut child = mpirun.stdin(Stdio::null()).spawn().context("mpirun does not start")?;
    process.store(child.id(), Ordering::SeqCst);
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    if let (Some(line), false) = (died(code), asked.load(Ordering::SeqCst)) {
        eprintln!("{line}");
    }
    Ok(ExitCode::from(code))
}

/// What to say of an exit status that the program does not end with by itself.
fn died(code: u8) -> Option<String> {
    const STOPPED: u8 = 130;
    let signal = code.checked_sub(128).filter(|&signal| signal > 0 && code != STOPPED)?;
    Some(format!(
        "error: a rank died on signal {signal}, and the others were ended; the run's last checkpoint is whole, \
         --resume RUN continues from it"
    ))
}

/// The shell's own `kill`, which is there where no program of that name is.
fn send(signal: &str, process: u32) {
    // A process that is gone needs no signal.
    let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
}

/// Open MPI wants to be asked twice before it runs for root, as in most containers.
fn is_root() -> bool {
    #[cfg(target_os = "linux")]
    return std::fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
    #[cfg(not(target_os = "linux"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::died;

    #[test]
    fn only_what_no_program_says_by_itself_is_said_here() {
        assert!(died(137).is_some_and(|line| line.contains("signal 9")));
        assert!([0, 1, 2, 130].into_iter().all(|code| died(code).is_none()));
    }
}
