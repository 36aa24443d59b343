//! SGD with (Nesterov) momentum, Adam and AdamW: PyTorch's formulas, state that can be saved, one pass over each tensor.
//!
//! The paper trains with Nesterov momentum 0.9 and weight decay 1e-4 (arXiv 1906.02940, section 4.1). Weight decay acts on kernels and
//! matrices only: not on norms, biases, positions and u0, which would only be pulled to zero.

mod composed;
mod fused;
mod rule;

use candle_core::{DType, Tensor, Var};

use crate::config::OptimConfig;
use crate::error::{Error, Result};
use crate::gradients::Gradients;
use crate::store::{HostTensor, ParamStore, Weights};
use rule::{Rule, Update};

/// An optimiser over all parameters of a store, with its state.
pub struct Optimizer {
    rule: Rule,
    slots: Vec<Slot>,
    updates: u64,
}

/// A parameter and what the rule remembers of it.
struct Slot {
    name: String,
    var: Var,
    weight_decay: f64,
    moments: Moments,
}

/// Running averages of a parameter's gradients.
enum Moments {
    /// In plain memory beside a `f32` parameter on the CPU: the fused pass writes parameter and moments together.
    Host(Vec<Vec<f32>>),
    /// As tensors: other devices and types.
    Tensors(Vec<Tensor>),
}

impl Optimizer {
    /// An optimiser of all parameters in `store`, with no updates behind it.
    ///
    /// # Errors
    /// Where memory for the moments cannot be had on the device.
    pub fn new(config: &OptimConfig, store: &ParamStore) -> Result<Self> {
        let rule = Rule::new(config);
        let slot = |parameter: crate::store::Parameter| {
            let weight_decay = if decays(&parameter.name, parameter.var.rank()) { config.weight_decay } else { 0.0 };
            let moments = Moments::zeros(rule.moment_names().len(), &parameter.var)?;
            Ok(Slot { name: parameter.name, var: parameter.var, weight_decay, moments })
        };
        let slots = store.parameters().into_iter().map(slot).collect::<Result<_>>()?;
        Ok(Self { rule, slots, updates: 0 })
    }

    /// One update with the learning rate `lr` and the gradients times `scale` (1, or less where they are clipped).
    ///
    /// # Errors
    /// Where a gradient has another shape than its parameter, or the device fails.
    pub fn step(&mut self, gradients: &Gradients, lr: f64, scale: f64) -> Result<()> {
        self.updates += 1;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Some(gradient) = gradients.get(at) else {
                continue;
            };
            let update = Update::new(&self.rule, self.updates, lr, slot.weight_decay, scale);
            match &mut slot.moments {
                Moments::Host(moments) => fused::apply(&slot.var, &gradient.contiguous()?, moments, update)?,
                Moments::Tensors(moments) => composed::apply(&slot.var, gradient, moments, update)?,
            }
        }
        Ok(())
    }

    /// Updates done so far; Adam's correction depends on it.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The state: `momentum_buffer.NAME`, or `exp_avg.NAME` and `exp_avg_sq.NAME`, for each parameter in order.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let tensor = |(name, copy): (String, HostTensor)| Ok((name, copy.into_tensor()?));
        self.copied_state()?.into_iter().map(tensor).collect()
    }

    /// The same in plain memory.
    pub(crate) fn copied_state(&self) -> Result<Vec<(String, HostTensor)>> {
        let mut state = Vec::new();
        for slot in &self.slots {
            for (at, moment) in self.rule.moment_names().iter().enumerate() {
                state.push((format!("{moment}.{}", slot.name), slot.moments.copy(at, &slot.var)?));
            }
        }
        Ok(state)
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// [`Error::Weights`] where a tensor is missing or has another shape.
    pub fn load_state(&mut self, state: &Weights, updates: u64) -> Result<()> {
        for slot in &mut self.slots {
            for (at, moment) in self.rule.moment_names().iter().enumerate() {
                let name = format!("{moment}.{}", slot.name);
                let wrong = |reason: String| Error::Weights { path: state.path().to_path_buf(), reason };
                let found = state.get(&name).ok_or_else(|| wrong(format!("optimiser state {name} is missing")))?;
                if found.dims() != slot.var.dims() {
                    let (got, expected) = (found.dims(), slot.var.dims());
                    return Err(wrong(format!("optimiser state {name} has shape {got:?}, expected {expected:?}")));
                }
                slot.moments.set(at, found)?;
            }
        }
        self.updates = updates;
        Ok(())
    }
}

impl Moments {
    fn zeros(count: usize, var: &Var) -> Result<Self> {
        if var.device().is_cpu() && var.dtype() == DType::F32 {
            return Ok(Self::Host(vec![vec![0.0; var.elem_count()]; count]));
        }
        let zeros = (0..count).map(|_| var.zeros_like()).collect::<candle_core::Result<_>>()?;
        Ok(Self::Tensors(zeros))
    }

    fn copy(&self, at: usize, var: &Var) -> Result<HostTensor> {
        match self {
            Self::Host(moments) => Ok(HostTensor::of(var.dims(), &moments[at])),
            Self::Tensors(moments) => HostTensor::copy(&moments[at]),
        }
    }

    fn set(&mut self, at: usize, value: &Tensor) -> Result<()> {
        match self {
            Self::Host(moments) => moments[at] = value.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
            Self::Tensors(moments) => {
                moments[at] = value.to_device(moments[at].device())?.to_dtype(moments[at].dtype())?;
            }
        }
        Ok(())
    }
}

/// Whether weight decay acts on a parameter: on kernels and matrices, but on no position and not on u0.
fn decays(name: &str, rank: usize) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    rank >= 2 && !["pos", "row", "col", "u0"].contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_decay_spares_norms_biases_positions_and_u0() {
        for (name, rank) in
            [("encoder.conv1.weight", 4), ("attnpool.layers.0.self_attn.in_proj_weight", 2), ("fc.weight", 2)]
        {
            assert!(decays(name, rank), "{name}");
        }
        for (name, rank) in
            [("encoder.bn1.weight", 1), ("fc.bias", 1), ("attnpool.pos", 2), ("attnpool.row", 2), ("attnpool.u0", 3)]
        {
            assert!(!decays(name, rank), "{name}");
        }
    }
}
