//! What Candle, rayon and the allocator read from the environment once, when they start; and the pool that computes.
//!
//! A running program cannot safely change its own environment, so where a variable is missing the program starts itself
//! again with it set, before it has done anything. What the user has set stays as it is, but for the number of threads
//! that he asked for.

use std::process::Command;

use selfie_eval::{Error, Result};
use selfie_train::own_cores;

/// The size of the compute pools.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Variables that a training step is faster with.
const SETTINGS: [(&str, &str); 2] = [
    // Candle's elementwise pool would otherwise spin on the cores that the kernels compute on.
    ("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1"),
    // Freed pages stay with the program: the next step takes them again, and the system would hand them out cleared.
    ("MIMALLOC_PURGE_DELAY", "-1"),
];

/// Returns where everything is set and `threads` threads compute, this one among them (0: as many as there are cores, or this rank's share of them);
/// else this process becomes one where that is so.
pub fn ensure(threads: usize) -> Result<()> {
    let mut missing: Vec<(&str, String)> = SETTINGS
        .iter()
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .map(|&(name, value)| (name, value.to_string()))
        .collect();
    let unsaid = threads == 0 && std::env::var_os(THREADS).is_none();
    let threads = if unsaid { own_cores(cores()).unwrap_or(0) } else { threads };
    let wanted = threads.to_string();
    if threads > 0 && std::env::var_os(THREADS).is_none_or(|set| set != wanted.as_str()) {
        missing.push((THREADS, wanted));
    }
    if missing.is_empty() {
        compute_here_too();
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Error::io("the program itself"))?;
    let mut again = Command::new(&program);
    again.args(std::env::args_os().skip(1)).envs(missing);
    Err(Error::io(&program)(become_it(again)))
}

/// Makes this thread one of those that compute. It would otherwise hand each kernel, hundreds a step, to a thread that must
/// be woken first, and sleep itself until that has woken it.
fn compute_here_too() {
    let asked = std::env::var(THREADS).ok().and_then(|threads| threads.parse().ok()).filter(|&threads| threads > 0);
    // Where there is but one, nothing would be left for work that other threads bring.
    if asked.unwrap_or_else(cores) > 1 {
        // Refused where the pool has been started already: it works as well, only slower.
        let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    }
}

/// Those that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Replaces this process; returns only where that fails.
#[cfg(unix)]
fn become_it(mut command: Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Runs `command` and leaves with its exit status.
#[cfg(not(unix))]
fn become_it(mut command: Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
