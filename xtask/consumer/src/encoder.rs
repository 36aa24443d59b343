//! selfie-encoder alone: a trunk that a stranger's own optimiser trains.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
// tidy: a stranger takes Candle's own map and optimiser
use candle_nn::{Optimizer, SGD, VarBuilder, VarMap};
use selfie_encoder::{EncoderConfig, Mode, Trunk};

use crate::ensure;

/// One step of plain gradient descent makes the features' length shorter.
pub fn train_a_trunk_for_a_step() -> Result<String, Box<dyn Error>> {
    let variables = VarMap::new(); // tidy: a stranger's
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let config = EncoderConfig { width: 4, depths: vec![1, 1], ..EncoderConfig::cifar10() };
    let trunk = Trunk::new(&config, vb)?;
    let images = Tensor::arange(0f32, 2. * 3. * 256., &Device::Cpu)?.sin()?.reshape((2, 3, 16, 16))?; // (B, C, H, W)
    let loss = || trunk.forward(&images, Mode::Train)?.sqr()?.mean_all().map_err(selfie_encoder::Error::from);

    let before = loss()?;
    SGD::new(variables.all_vars(), 0.1)?.backward_step(&before)?; // tidy: a stranger's
    let (before, after) = (before.to_scalar::<f32>()?, loss()?.to_scalar::<f32>()?);
    ensure(after < before, "a smaller loss after a step")?;
    ensure(trunk.embed_dim() == 32, "32 features")?;
    Ok(format!("{} features; a step takes the loss from {before:.3} to {after:.3}", trunk.embed_dim()))
}
