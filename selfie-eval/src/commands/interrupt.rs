//! Signals: a training that is asked to stop ends after its step with its state saved; any other command ends at once.
//!
//! Ctrl-C (SIGINT), SIGTERM and SIGHUP ask. A session that closes often sends two of them within milliseconds, so a second signal
//! leaves at once only if it is a second Ctrl-C, or comes more than a second after the first. A signal that was ignored when the
//! program started stays ignored: `nohup` relies on it. Of several ranks one prints; SIGUSR1 asks them to stop too, because mpirun
//! passes that one on and kills nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use selfie_eval::{Error, Result};
use selfie_train::StopFlag;

use super::screen::complain;

/// The exit status after Ctrl-C.
const STATUS: i32 = 130;
/// Signals within this time after the first belong to it.
const TOGETHER: Duration = Duration::from_secs(1);

/// What the signal handler looks at.
pub struct Interrupt {
    stop: StopFlag,
    training: Arc<AtomicBool>,
}

/// A request to stop, as far as the answer depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// Ctrl-C, by a person.
    Interrupt,
    /// SIGTERM or SIGHUP, by the system or a person.
    Terminate,
    /// SIGUSR1, by mpirun.
    #[cfg(all(unix, feature = "mpi"))]
    Ranks,
}

/// The requests so far.
#[derive(Default)]
struct Requests {
    first: Option<Instant>,
    interrupted: bool,
}

impl Requests {
    /// Notes a request that came at `now`; returns whether it is impatience about an earlier one.
    fn is_impatient(&mut self, request: Request, now: Instant) -> bool {
        let late = self.first.is_some_and(|first| now.duration_since(first) > TOGETHER);
        let again = request == Request::Interrupt && std::mem::replace(&mut self.interrupted, true);
        self.first.get_or_insert(now);
        let repeats = match request {
            Request::Interrupt | Request::Terminate => true,
            #[cfg(all(unix, feature = "mpi"))]
            Request::Ranks => false, // mpirun may repeat it
        };
        repeats && (again || late)
    }
}

impl Interrupt {
    /// Takes over the signals.
    ///
    /// # Errors
    /// Returns [`Error::Config`] if the system refuses.
    pub fn install() -> Result<Self> {
        let (stop, training) = (StopFlag::default(), Arc::new(AtomicBool::new(false)));
        let (asked, graceful) = (Arc::clone(&stop), Arc::clone(&training));
        let mut requests = Requests::default();
        let handle = move |request: Request| {
            let at_once = !graceful.load(Ordering::SeqCst) && asks_everybody(request);
            if requests.is_impatient(request, Instant::now()) || at_once {
                std::process::exit(STATUS);
            }
            if !asked.swap(true, Ordering::SeqCst) && selfie_train::started_as() == 0 {
                complain("\nstopping after this step and saving; Ctrl-C again leaves at once");
            }
        };
        watch(handle).map_err(|error| Error::config("signals", format!("cannot be handled: {error}")))?;
        Ok(Self { stop, training })
    }

    /// What a training looks at.
    pub fn flag(&self) -> StopFlag {
        Arc::clone(&self.stop)
    }

    /// Runs `train`, which looks at the flag and saves its state.
    pub fn while_training<T>(&self, train: impl FnOnce() -> T) -> T {
        self.training.store(true, Ordering::SeqCst);
        let result = train();
        self.training.store(false, Ordering::SeqCst);
        result
    }
}

/// Whether a request ends commands that have no state to save; mpirun's is for trainings alone.
fn asks_everybody(request: Request) -> bool {
    matches!(request, Request::Interrupt | Request::Terminate)
}

/// Calls `handle` for each signal from now on, on a thread of its own.
#[cfg(unix)]
fn watch(mut handle: impl FnMut(Request) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let mut wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !ignored(signal)).collect();
    #[cfg(feature = "mpi")]
    wanted.push(signal_hook::consts::SIGUSR1);
    let mut signals = signal_hook::iterator::Signals::new(std::mem::take(&mut wanted))?;
    let work = move || {
        for signal in signals.forever() {
            handle(match signal {
                SIGINT => Request::Interrupt,
                #[cfg(feature = "mpi")]
                signal_hook::consts::SIGUSR1 => Request::Ranks,
                _ => Request::Terminate,
            });
        }
    };
    std::thread::Builder::new().name("selfie-signals".to_owned()).spawn(work).map(drop)
}

/// Returns which signals this process ignored when it started. Only Linux shows it without unsafe code; elsewhere none.
#[cfg(unix)]
fn ignored_signals() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}

/// Calls `handle` for each Ctrl-C from now on.
#[cfg(not(unix))]
fn watch(mut handle: impl FnMut(Request) + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || handle(Request::Interrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of the requests, after so many milliseconds, is impatience.
    fn answers(requests: &[(Request, u64)]) -> Vec<bool> {
        let (mut known, begun) = (Requests::default(), Instant::now());
        let mut answer =
            |&(request, at): &(Request, u64)| known.is_impatient(request, begun + Duration::from_millis(at));
        requests.iter().map(&mut answer).collect()
    }

    #[test]
    fn only_a_second_interrupt_or_a_late_signal_is_impatience() {
        use Request::{Interrupt, Terminate};
        assert_eq!(answers(&[(Terminate, 0), (Terminate, 10)]), [false, false]); // a session that closes
        assert_eq!(answers(&[(Interrupt, 0), (Terminate, 10)]), [false, false]);
        assert_eq!(answers(&[(Terminate, 0), (Interrupt, 10), (Interrupt, 20)]), [false, false, true]);
        assert_eq!(answers(&[(Interrupt, 0), (Interrupt, 10)]), [false, true]);
        assert_eq!(answers(&[(Terminate, 0), (Terminate, 1500)]), [false, true]);
    }
}
