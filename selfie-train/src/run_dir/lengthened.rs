//! A run whose length was changed when it was resumed: its learning rate follows another schedule from there on.

use serde::Serialize;
use serde_json::json;

use super::RunDir;
use crate::config::Plan;
use crate::error::{Error, Result};
use crate::schedule::learning_rate;

/// A change of a run's length, and what it does to the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lengthened {
    /// Step at which the run goes on.
    pub step: u64,
    /// Steps that it had before.
    pub from: u64,
    /// Steps that it has now.
    pub to: u64,
    /// Learning rate of the next step by the earlier length; 0 if the run had ended.
    pub rate_before: f64,
    /// Learning rate of the next step by the new length.
    pub rate_after: f64,
}

impl Lengthened {
    /// Compares the plans of a run before and after it was resumed at `step`; `None` if its length is the same.
    #[must_use]
    pub fn since(before: &Plan, now: &Plan, step: u64) -> Option<Self> {
        let (from, to) = (before.run.steps, now.run.steps);
        let rate = |plan: &Plan| match step < plan.run.steps {
            true => learning_rate(step, &plan.schedule, plan.run.steps, plan.optim.lr),
            false => 0.0,
        };
        (from != to).then(|| Self { step, from, to, rate_before: rate(before), rate_after: rate(now) })
    }
}

/// Refuses a length that a resumed run has behind it: it could only be cut, and its metrics and `latest` would contradict it.
///
/// # Errors
/// Returns [`Error::Config`] if `step`, where the run goes on, is beyond `steps`, or is the end of it by an earlier checkpoint
/// than the latest.
pub fn check_length(run: &RunDir, checkpoint: Option<u64>, step: u64, steps: u64, field: &str) -> Result<()> {
    let latest = run.latest_step().unwrap_or(0);
    if step > steps {
        let reason = format!("got {steps}, expected at least {step}, where the run goes on");
        return Err(Error::config(field, reason));
    }
    if checkpoint.is_some() && step == steps && latest > step {
        let reason = format!(
            "got {steps}, expected more than {step}, the step of the checkpoint: the run has gone on to step {latest}, and \
             nothing would be left to train"
        );
        return Err(Error::config(field, reason));
    }
    Ok(())
}

impl RunDir {
    /// Adds the change, with the command that made it, to `env.json`: the first command alone does not repeat the run any more.
    pub(crate) fn note_lengthened(&self, change: &Lengthened, command: &[String]) -> Result<()> {
        let path = self.path().join("env.json");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut environment: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
        let mut note = serde_json::to_value(change).map_err(|error| Error::io(&path)(error.into()))?;
        note["command"] = json!(command);
        match environment["lengthened"].as_array_mut() {
            Some(notes) => notes.push(note),
            None => environment["lengthened"] = json!([note]),
        }
        self.write_environment(&environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;

    #[test]
    fn the_rate_of_a_lengthened_run_jumps() {
        let plan = |steps| {
            let mut config = RunConfig::default();
            (config.run.steps, config.optim.lr) = (steps, 0.1);
            config.pretrain_plan()
        };
        assert_eq!(Lengthened::since(&plan(100), &plan(100), 50), None);
        let change = Lengthened::since(&plan(100), &plan(400), 99).unwrap();
        assert!(change.rate_before < 1e-4 && change.rate_after > 0.08, "{change:?}");
        assert_eq!(Lengthened::since(&plan(100), &plan(400), 100).unwrap().rate_before, 0.0);
    }
}
