//! An update out of Candle's own operations, for devices and types without a fused pass; the same formulas.

use candle_core::{Tensor, Var};

use super::rule::{AdamUpdate, SgdUpdate, Update};
use crate::error::Result;

/// Updates `var` and its `moments`.
pub(super) fn apply(var: &Var, gradient: &Tensor, moments: &mut [Tensor], update: Update) -> Result<()> {
    let gradient = gradient.detach();
    let value = var.as_detached_tensor();
    let new = match update {
        Update::Sgd(update) => sgd(&value, &gradient, moments, update)?,
        Update::Adam(update) => adam(&value, &gradient, moments, update)?,
    };
    Ok(var.set(&new)?)
}

fn sgd(p: &Tensor, gradient: &Tensor, moments: &mut [Tensor], update: SgdUpdate) -> Result<Tensor> {
    let SgdUpdate { lr, scale, decay, momentum, nesterov } = update;
    let g = ((gradient * scale)? + (p * decay)?)?;
    let Some(buffer) = moments.first_mut() else {
        return Ok((p - (g * lr)?)?);
    };
    *buffer = ((&*buffer * momentum)? + &g)?;
    let direction = if nesterov { (g + (&*buffer * momentum)?)? } else { buffer.clone() };
    Ok((p - (direction * lr)?)?)
}

fn adam(p: &Tensor, gradient: &Tensor, moments: &mut [Tensor], update: AdamUpdate) -> Result<Tensor> {
    let AdamUpdate { scale, shrink, decay, beta1, beta2, eps, step_size, root_correction } = update;
    let g = ((gradient * scale)? + (p * decay)?)?;
    moments[0] = ((&moments[0] * beta1)? + (&g * (1.0 - beta1))?)?;
    moments[1] = ((&moments[1] * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
    let denominator = ((moments[1].sqrt()? / root_correction)? + eps)?;
    Ok(((p * shrink)? - ((&moments[0] / denominator)? * step_size)?)?)
}

#[cfg(test)]
mod tests {
    use super::super::{fused, rule::Rule};
    use super::*;
    use crate::config::{OptimConfig, OptimName};
    use candle_core::Device;

    #[test]
    fn composed_and_fused_updates_agree() {
        for (name, nesterov, momentum) in [
            (OptimName::Sgd, true, 0.9),
            (OptimName::Sgd, false, 0.9),
            (OptimName::Sgd, false, 0.0),
            (OptimName::Adam, false, 0.9),
            (OptimName::AdamW, false, 0.9),
        ] {
            let rule = Rule::new(&OptimConfig { name, nesterov, momentum, ..OptimConfig::default() });
            // 20,001 elements: more than one task, and no multiple of anything.
            let wave = |phase: f32| (0..20_001).map(|i| (i as f32 * 0.37 + phase).sin()).collect::<Vec<f32>>();
            let var = |values: Vec<f32>| Var::from_vec(values, 20_001, &Device::Cpu).unwrap();
            let (one, other) = (var(wave(0.0)), var(wave(0.0)));
            let mut host = vec![vec![0f32; 20_001]; rule.moment_names().len()];
            let mut tensors = vec![one.zeros_like().unwrap(); rule.moment_names().len()];
            for step in 1..=3 {
                let gradient = Tensor::from_vec(wave(step as f32), 20_001, &Device::Cpu).unwrap();
                let update = Update::new(&rule, step, 0.1, 0.01, 0.7);
                fused::apply(&one, &gradient, &mut host, update).unwrap();
                apply(&other, &gradient, &mut tensors, update).unwrap();
            }
            let apart = (one.as_tensor() - other.as_tensor())
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(apart < 2e-6, "{name:?}: {apart}");
        }
    }
}
