#![doc = include_str!("../README.md")]

mod config;
mod distractors;
mod error;
mod info_nce;
mod logits;

pub use config::{Logits, LossConfig};
pub use error::{Error, Result};
pub use info_nce::{InfoNce, LossOutput};
