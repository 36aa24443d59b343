//! Convolution and batch norm as layers: the parameters, and one call of [`crate::ops`] each.

use crate::ops::norm::{Moments, MomentsOf};
use crate::ops::{self, Statistics};
use crate::reduction::Reduction;
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder, init};
use std::sync::Arc;

/// Whether batch norm goes by this batch's statistics, and updates the running ones, or by the running ones.
///
/// ```
/// assert_ne!(selfie_encoder::Mode::Train, selfie_encoder::Mode::Eval);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; running statistics move towards them by a tenth.
    Train,
    /// Running statistics, untouched.
    Eval,
}

/// Weight of the new batch in the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;

/// A convolution without bias.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    /// (out, in, k, k), as torchvision stores it.
    pub weight: Tensor,
    pub stride: usize,
    pub padding: usize,
    /// Whether its product is made in bf16.
    pub bf16: bool,
}

impl Conv {
    /// `channels` is (in, out); He normal over the fan out, as torchvision.
    pub(crate) fn new(channels: (usize, usize), kernel: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let he = Init::Kaiming {
            dist: init::NormalOrUniform::Normal,
            fan: init::FanInOut::FanOut,
            non_linearity: init::NonLinearity::ReLU,
        };
        let weight = vb.get_with_hints((channels.1, channels.0, kernel, kernel), "weight", he)?;
        Ok(Self { weight, stride, padding: kernel / 2, bf16: false })
    }

    /// (B, H, W, in) -> (B, H', W', out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.bf16 {
            true => ops::conv2d_bf16(x, &self.weight, self.stride, self.padding),
            false => ops::convolve(x, &self.weight, self.stride, self.padding),
        }
    }
}

/// Batch norm over the channels of (B, H, W, C).
#[derive(Clone, Debug)]
pub(crate) struct BatchNorm {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub running_mean: Tensor,
    pub running_var: Tensor,
    /// Puts the statistics of several processes together; none where this one's own count.
    pub shared: Option<Arc<dyn Reduction>>,
}

impl BatchNorm {
    /// Starts at scale `gamma`, shift 0, running mean 0 and variance 1.
    pub(crate) fn new(channels: usize, gamma: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            gamma: vb.get_with_hints(channels, "weight", Init::Const(gamma))?,
            beta: vb.get_with_hints(channels, "bias", Init::Const(0.0))?,
            running_mean: vb.get_with_hints(channels, "running_mean", Init::Const(0.0))?,
            running_var: vb.get_with_hints(channels, "running_var", Init::Const(1.0))?,
            shared: None,
        })
    }

    /// (B, H, W, C) -> same, then ReLU if asked for.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode, relu: bool) -> Result<Tensor> {
        let statistics = match mode {
            Mode::Train => self.shared.as_ref().map_or(Statistics::Batch, Statistics::Shared),
            Mode::Eval => Statistics::Running(&self.running_mean, &self.running_var),
        };
        let (y, moments) = ops::normalise(x, (&self.gamma, &self.beta), statistics, relu)?;
        if let Some((mean, variance)) = moments {
            self.update(&mean, &variance)?;
        }
        Ok(y)
    }

    /// How the batch's moments are taken; not at all where the running ones count.
    pub(crate) fn moments_of(&self, mode: Mode) -> Option<MomentsOf> {
        match (mode, &self.shared) {
            (Mode::Train, None) => Some(Moments::of),
            (Mode::Train, Some(_)) => Some(Moments::exactly_of),
            (Mode::Eval, _) => None,
        }
    }

    /// Moves the running statistics, in place, towards a batch's mean and unbiased variance (C).
    pub(crate) fn update(&self, mean: &Tensor, variance: &Tensor) -> Result<()> {
        for (running, batch) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            let moved = ((running.detach() * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?)?;
            running.slice_set(&moved, 0, 0)?;
        }
        Ok(())
    }
}
