//! A sign of life for log files: work that prints nothing by itself is reported every half minute.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest silence.
const SILENCE: Duration = Duration::from_secs(30);

/// Prints its text on stderr after each half minute in which nothing else was said, until it is dropped.
pub struct Heartbeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    text: String,
    last: Instant,
    over: bool,
}

impl Heartbeat {
    /// Starts with `text`.
    #[must_use]
    pub fn start(text: impl Into<String>) -> Self {
        Self::every(SILENCE, text.into(), |line| {
            // If nobody reads stderr any more, the work goes on.
            let _ = writeln!(std::io::stderr(), "{line}");
        })
    }

    fn every(silence: Duration, text: String, mut print: impl FnMut(&str) + Send + 'static) -> Self {
        let state = State { text, last: Instant::now(), over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let its = Arc::clone(&shared);
        let beat = move || {
            let mut state = its.lock();
            while !state.over {
                match silence.checked_sub(state.last.elapsed()).filter(|left| !left.is_zero()) {
                    Some(left) => {
                        let waited = its.changed.wait_timeout(state, left);
                        state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                    None => {
                        print(&state.text);
                        state.last = Instant::now();
                    }
                }
            }
        };
        // Without a thread to spare there is no sign of life, and the work goes on.
        let thread = std::thread::Builder::new().name("selfie-heartbeat".to_owned()).spawn(beat).ok();
        Self { shared, thread }
    }

    /// Changes the text of the next line.
    pub fn set(&self, text: impl Into<String>) {
        self.shared.lock().text = text.into();
    }

    /// Something else was said just now: the silence begins again.
    pub fn said(&self) {
        self.shared.lock().last = Instant::now();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it only prints
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn silence_is_broken_by_the_newest_text_and_ends_with_the_work() {
        let (sender, lines) = channel();
        let heartbeat = Heartbeat::every(Duration::from_millis(1), "step 0".to_owned(), move |line| {
            let _ = sender.send(line.to_owned());
        });
        assert_eq!(lines.recv().unwrap(), "step 0");
        heartbeat.set("step 1");
        assert!(lines.iter().any(|line| line == "step 1"));
        drop(heartbeat);
        assert!(lines.iter().all(|line| line == "step 1")); // and the channel is closed
    }

    #[test]
    fn who_has_just_spoken_is_not_interrupted() {
        let (sender, lines) = channel();
        let heartbeat = Heartbeat::every(Duration::from_secs(3600), String::new(), move |_| {
            let _ = sender.send(());
        });
        heartbeat.said();
        drop(heartbeat); // at once, not after an hour
        assert_eq!(lines.iter().count(), 0);
    }
}
