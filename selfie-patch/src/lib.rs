#![doc = include_str!("../README.md")]

mod config;
mod error;
mod gather;
mod grid;
mod mask;

pub use config::{MaskScope, PatchConfig};
pub use error::{Error, Result};
pub use gather::gather;
pub use grid::PatchGrid;
pub use mask::{Mask, MaskSampler};
