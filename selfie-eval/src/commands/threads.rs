//! The size of the compute pool, which must be known before Candle and rayon start.
//!
//! Both read RAYON_NUM_THREADS once, and a running program cannot safely change its own environment. So where another
//! number is wanted, the program starts itself again with the variable set, before it has done anything. `cargo
//! xtask` sets it beforehand.

use std::process::Command;

use selfie_eval::{Error, Result};

const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Returns where `wanted` threads compute already, or none in particular (0); else this process becomes one where
/// they do.
pub fn ensure(wanted: usize) -> Result<()> {
    let wanted = wanted.to_string();
    if wanted == "0" || std::env::var_os(VARIABLE).is_some_and(|set| set == wanted.as_str()) {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Error::io("the program itself"))?;
    let mut again = Command::new(&program);
    again.args(std::env::args_os().skip(1)).env(VARIABLE, wanted);
    Err(Error::io(&program)(become_it(again)))
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
