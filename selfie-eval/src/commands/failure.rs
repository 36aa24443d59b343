//! The one place where an error becomes a line on stderr and an exit status.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use selfie_eval::{Error, Result};

use super::screen::{complain, to_stdout};

/// The last panic, in words: it is told once, when it is known that nobody caught it.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs `command`, tells its error, and returns the exit status. A panic, which is a defect of this program, is told
/// in one line too.
pub fn catch(command: impl FnOnce() -> Result<()>) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        tracing::debug!("{panic}");
        if let Ok(mut last) = PANIC.lock() {
            *last = panic.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }));
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            // Ranks that were stopped were stopped together: the first says so and has the status, unhurried by the others' ends.
            if error.exit_code() == 130 && selfie_train::started_as() > 0 {
                return ExitCode::SUCCESS;
            }
            tell(&in_one_line(&error));
            ExitCode::from(error.exit_code())
        }
        Err(_) => {
            let last = PANIC.lock().map(|last| last.clone()).unwrap_or_default();
            tell(&format!("error: a defect of this program, please report it: {last}"));
            ExitCode::from(1)
        }
    }
}

/// Says it. What goes wrong on several ranks goes wrong on the first too, mostly: the others give it time to say so, after which
/// they are no more.
fn tell(line: &str) {
    match selfie_train::started_as() {
        0 => complain(line),
        rank => {
            std::thread::sleep(Duration::from_secs(3));
            complain(format!("rank {rank}: {line}"));
        }
    }
}

/// Returns "error: ..." without line breaks, and the hint of the error as a second line; a run that was stopped is not an error.
fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let (text, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    match error {
        Error::Train(selfie_train::Error::Interrupted { checkpoint: Some(path), .. }) => {
            let run = path.ancestors().nth(2).unwrap_or(path); // RUN/checkpoints/step-N.safetensors
            format!("{line}; --resume {} continues", run.display())
        }
        Error::Train(selfie_train::Error::Interrupted { .. }) | Error::Stopped { .. } => line,
        _ if hint.is_empty() => format!("error: {line}"),
        _ => format!("error: {line}\nhint: {hint}"),
    }
}

/// Help and version on stdout with 0; what cannot be understood in one line with 2.
pub fn of_usage(refusal: &clap::Error) -> ExitCode {
    match refusal.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let shown = to_stdout(refusal.render().to_string().trim_end());
            return if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => complain(refusal.render().to_string().trim_end()),
        _ => complain(usage_line(refusal)),
    }
    ExitCode::from(2)
}

/// clap's first paragraph and the name that it takes for the meant one, without its usage lines.
fn usage_line(refusal: &clap::Error) -> String {
    let text = refusal.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let mut line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue] {
        match refusal.get(kind) {
            Some(ContextValue::String(name)) => line += &format!("; the nearest is '{name}'"),
            // Best last.
            Some(ContextValue::Strings(names)) => {
                line.extend(names.last().map(|name| format!("; the nearest is '{name}'")))
            }
            _ => {}
        }
    }
    line
}
