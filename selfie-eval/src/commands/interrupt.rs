//! Ctrl-C (and SIGTERM): a training ends after its step with its state saved; anything else, and the second time,
//! ends at once. Of several ranks one speaks; SIGUSR1 asks them to stop too, because mpirun passes that one on and kills nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selfie_eval::{Error, Result};
use selfie_train::StopFlag;

use super::screen::complain;

/// The exit status after Ctrl-C.
const STATUS: i32 = 130;

/// What the signal handler looks at.
pub struct Interrupt {
    stop: StopFlag,
    training: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals.
    pub fn install() -> Result<Self> {
        let (stop, training) = (StopFlag::default(), Arc::new(AtomicBool::new(false)));
        let (asked, graceful) = (Arc::clone(&stop), Arc::clone(&training));
        let handler = move || {
            if !graceful.load(Ordering::SeqCst) || asked.swap(true, Ordering::SeqCst) {
                std::process::exit(STATUS);
            }
            if selfie_train::started_as() == 0 {
                complain("\nstopping after this step and saving; Ctrl-C again leaves at once");
            }
        };
        let refused = |error: &dyn std::fmt::Display| Error::config("Ctrl-C", format!("cannot be handled: {error}"));
        ctrlc::set_handler(handler).map_err(|error| refused(&error))?;
        #[cfg(all(unix, feature = "mpi"))]
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&stop))
            .map_err(|error| refused(&error))?;
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
