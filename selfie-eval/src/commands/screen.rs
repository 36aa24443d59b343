//! Where text goes: results to stdout, everything on the way to stderr; with `--json` stdout is for the JSON line
//! alone.
//!
//! A reader that has gone away (`selfie … | head -1`) stops no training: what cannot be said to it is not said. Any
//! other failure to write a result is an error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use selfie_eval::{Error, Result};
use selfie_train::{Heartbeat, bar_style, escape_controls, words};
use serde::Serialize;

/// Time between two lines of progress if there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// The two streams, as `--json` and `--quiet` want them.
#[derive(Clone, Copy)]
pub struct Screen {
    json: bool,
    quiet: bool,
}

impl Screen {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// This screen, with a description of all data that are opened from now on; not when quiet.
    pub fn describing_data(self) -> Self {
        if !self.quiet {
            super::recognized::show_data();
        }
        self
    }

    /// Says something that belongs before the results: settings, data. Nothing when quiet.
    pub fn note(&self, text: impl Display) -> Result<()> {
        if self.quiet { Ok(()) } else { self.result(text) }
    }

    /// Says a result.
    pub fn result(&self, text: impl Display) -> Result<()> {
        if !self.json {
            return to_stdout(&escape_controls(&text.to_string()));
        }
        if !self.quiet {
            complain(text);
        }
        Ok(())
    }

    /// The last line of stdout with `--json`; else nothing.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = serde_json::to_string(value).map_err(|error| Error::io("stdout")(error.into()))?;
        to_stdout(&line)
    }

    /// Starts to show the progress of work on `length` things called `what`.
    pub fn progress(&self, length: usize, what: &'static str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = match !self.quiet && terminal {
            true => ProgressBar::new(length as u64)
                .with_message(what)
                .with_style(bar_style("{bar:20} {msg} {pos}/{len}  {per_sec}  ETA {left}")),
            false => ProgressBar::hidden(),
        };
        let state = State { done: 0, begun: (0, Instant::now()), said: Instant::now() };
        Progress { bar, lines: !self.quiet && !terminal, length, what, state: Mutex::new(state) }
    }

    /// Runs `work`, which cannot tell how far it is: a clock on a terminal, a line every half minute elsewhere.
    pub fn busy<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        if self.quiet {
            return work();
        }
        if !std::io::stderr().is_terminal() {
            let _heartbeat = Heartbeat::start(what);
            return work();
        }
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.set_style(bar_style("{spinner} {msg}  {elapsed}"));
        spinner.enable_steady_tick(Duration::from_millis(200));
        let result = work();
        spinner.finish_and_clear();
        result
    }
}

/// Progress of work on things that are counted: a bar on a terminal, a line every ten seconds elsewhere, nothing when quiet.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    length: usize,
    what: &'static str,
    state: Mutex<State>,
}

struct State {
    done: usize,
    /// How many were done when this process began, and when it began.
    begun: (usize, Instant),
    said: Instant,
}

impl Progress {
    /// One more is done; from any thread.
    pub fn add(&self) {
        let mut state = self.lock();
        let done = state.done + 1;
        self.show(&mut state, done);
    }

    /// So many are done.
    pub fn set(&self, done: usize) {
        self.show(&mut self.lock(), done);
    }

    /// An earlier process did the first `done`; the speed is that of the others.
    pub fn continue_after(&self, done: usize) {
        if done > 0 && self.lines {
            complain(format!("continues after {done} of {} {}", self.length, self.what));
        }
        let mut state = self.lock();
        (state.done, state.begun) = (done, (done, Instant::now()));
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    /// Prints something else without breaking the bar.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, state: &mut State, done: usize) {
        state.done = done;
        self.bar.set_position(done as u64);
        let (first, begun) = state.begun;
        if self.lines && state.said.elapsed() >= PAUSE && done > first {
            let speed = (done - first) as f64 / begun.elapsed().as_secs_f64();
            let left = words(Duration::from_secs_f64(self.length.saturating_sub(done) as f64 / speed));
            complain(format!("{done}/{} {}  {speed:.1} per second  ETA {left}", self.length, self.what));
            state.said = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line on stderr, without control characters of names in it; there is nobody to tell where that fails.
pub fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", escape_controls(&text.to_string()));
}

/// A line on stdout.
pub fn to_stdout(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("stdout")(error)),
        _ => Ok(()),
    }
}
