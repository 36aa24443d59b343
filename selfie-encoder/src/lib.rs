#![doc = include_str!("../README.md")]

mod bottleneck;
mod config;
mod error;
mod fused;
mod layers;
mod ops;
mod products;
mod reduction;
mod resnet;
#[cfg(test)]
mod tests;
mod trunk;

pub use config::{Block, EncoderConfig, Stem};
pub use error::{Error, Result};
pub use fused::backward;
pub use layers::Mode;
pub use ops::{Normalised, Statistics, batch_norm, conv2d, max_pool};
pub use products::ProductSize;
pub use reduction::Reduction;
pub use resnet::ResNet;
pub use trunk::Trunk;
