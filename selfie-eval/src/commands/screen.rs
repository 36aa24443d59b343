//! Where text goes: results to stdout, everything on the way to stderr; with `--json` stdout is for the JSON line
//! alone.
//!
//! A reader that has gone away (`selfie … | head -1`) stops no training: what cannot be said to it is not said. Any
//! other failure to write a result is an error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use selfie_eval::{Error, Result};
use selfie_train::escape_controls;
use serde::Serialize;

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

    /// A bar on the terminal, where there is one that wants it.
    pub fn bar(&self, length: usize, what: &'static str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:20} {msg} {pos}/{len}  {per_sec}  ETA {eta}");
        let bar = ProgressBar::new(length as u64).with_message(what);
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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
