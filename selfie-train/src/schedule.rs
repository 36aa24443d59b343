//! The learning rate as a pure function of the step: linear warm-up, then cosine to zero (arXiv 1906.02940, section 4.1).
//!
//! The paper warms up over 100 steps; where a run is shorter than 1,000 steps a tenth of it is taken, so that short
//! runs are not all warm-up. Linear decay and a constant rate are options.

use crate::config::{ScheduleConfig, ScheduleName};

/// The number of warm-up steps that `config` means for a run of `steps`: its own, or min(100, steps / 10), at least 1.
#[must_use]
pub fn warmup_steps(config: &ScheduleConfig, steps: u64) -> u64 {
    match config.warmup_steps {
        0 => (steps / 10).clamp(1, 100),
        given => given,
    }
}

/// The learning rate of the update number `step` (counted from 0) in a run of `steps` updates with the rate `base`.
///
/// ```
/// use selfie_train::{ScheduleConfig, learning_rate};
/// let schedule = ScheduleConfig::default(); // cosine, automatic warm-up: 100 of 1000 steps
/// assert_eq!(learning_rate(0, &schedule, 1000, 0.1), 0.001);
/// assert_eq!(learning_rate(99, &schedule, 1000, 0.1), 0.1);
/// assert!((learning_rate(550, &schedule, 1000, 0.1) - 0.05).abs() < 1e-12);
/// ```
#[must_use]
pub fn learning_rate(step: u64, config: &ScheduleConfig, steps: u64, base: f64) -> f64 {
    let warmup = warmup_steps(config, steps);
    // 1. Warm-up: the first update already moves, the last one of the warm-up has the full rate.
    if step < warmup {
        return base * (step + 1) as f64 / warmup as f64;
    }
    // 2. Past the end (a run that is continued beyond its plan): what the last step would have come to.
    let progress = if step >= steps { 1.0 } else { (step - warmup) as f64 / (steps - warmup) as f64 };
    // 3. Decay: from the full rate at the end of the warm-up to zero at `steps`.
    match config.name {
        ScheduleName::Cosine => base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        ScheduleName::Linear => base * (1.0 - progress),
        ScheduleName::Constant => base,
    }
}
