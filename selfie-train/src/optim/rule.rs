//! The formulas, for one value: PyTorch's `SGD`, `Adam` and `AdamW`.
//!
//! SGD      g' = g + λp;  b ← μb + g';  p ← p - η (g' + μb) with Nesterov, else p - η b.
//! Adam     g' = g + λp;  m ← β₁m + (1-β₁)g';  v ← β₂v + (1-β₂)g'²;  p ← p - η/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε).
//! AdamW    p ← p(1 - ηλ) first, then Adam with λ = 0.
//! PyTorch's first SGD step sets b to g', which is what a b of zero gives as well.

use crate::config::{OptimConfig, OptimName};

/// Which formula, with its constants.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    Sgd { momentum: f64, nesterov: bool },
    Adam { beta1: f64, beta2: f64, eps: f64, decoupled: bool },
}

impl Rule {
    pub(super) fn new(config: &OptimConfig) -> Self {
        let OptimConfig { momentum, nesterov, beta1, beta2, eps, .. } = *config;
        match config.name {
            OptimName::Sgd => Self::Sgd { momentum, nesterov },
            OptimName::Adam => Self::Adam { beta1, beta2, eps, decoupled: false },
            OptimName::AdamW => Self::Adam { beta1, beta2, eps, decoupled: true },
        }
    }

    /// What is remembered of each parameter, under PyTorch's names.
    pub(super) fn moment_names(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } => &["exp_avg", "exp_avg_sq"],
        }
    }
}

/// One update of one tensor: every constant of the formula that does not depend on the element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Update {
    Sgd(SgdUpdate),
    Adam(AdamUpdate),
}

/// SGD's constants for one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SgdUpdate {
    pub(super) lr: f64,
    /// Factor of the gradient (clipping).
    pub(super) scale: f64,
    pub(super) decay: f64,
    pub(super) momentum: f64,
    pub(super) nesterov: bool,
}

/// Adam's constants for one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AdamUpdate {
    /// Factor of the gradient (clipping).
    pub(super) scale: f64,
    /// Factor of the parameter before anything else: 1 - ηλ for AdamW, else 1.
    pub(super) shrink: f64,
    /// Decay that is added to the gradient: λ for Adam, else 0.
    pub(super) decay: f64,
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) eps: f64,
    /// η / (1 - β₁ᵗ).
    pub(super) step_size: f64,
    /// √(1 - β₂ᵗ).
    pub(super) root_correction: f64,
}

impl Update {
    /// The constants of update number `updates` (counted from 1).
    pub(super) fn new(rule: &Rule, updates: u64, lr: f64, decay: f64, scale: f64) -> Self {
        match *rule {
            Rule::Sgd { momentum, nesterov } => Self::Sgd(SgdUpdate { lr, scale, decay, momentum, nesterov }),
            Rule::Adam { beta1, beta2, eps, decoupled } => Self::Adam(AdamUpdate {
                scale,
                shrink: if decoupled { 1.0 - lr * decay } else { 1.0 },
                decay: if decoupled { 0.0 } else { decay },
                beta1,
                beta2,
                eps,
                step_size: lr / (1.0 - beta1.powf(updates as f64)),
                root_correction: (1.0 - beta2.powf(updates as f64)).sqrt(),
            }),
        }
    }
}
