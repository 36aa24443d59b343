#![doc = include_str!("../README.md")]

mod block;
mod config;
mod dropout;
mod error;
mod ops;
mod pool;
mod positions;

pub use config::{AttnPoolConfig, Positions};
pub use dropout::Mode;
pub use error::{Error, Result};
pub use pool::{AttentionPool, Pooled};
