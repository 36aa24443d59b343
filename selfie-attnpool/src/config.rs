//! The configuration of the attention pooling: depth, heads, widths, dropout and the kind of positions.
//!
//! The paper (arXiv 1906.02940, section 3.2) takes three blocks, 1024 wide, 32 heads, a hidden width of 640 and dropout
//! 0.1. It gives these numbers for one width only; where `num_heads` and `ffn_dim` are 0 they scale with the embedding.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most transformer blocks.
const MAX_DEPTH: usize = 256;

/// Largest width of the embedding and of the feed-forward part: four times the widest trunk's.
const MAX_WIDTH: usize = 1 << 17;

/// How many learned position vectors there are, and how a cell gets its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// One vector a cell: N vectors (the paper's choice for 4x4 grids).
    Full,
    /// One vector a row and one a column, added: rows + cols vectors (the paper's choice for 7x7 grids).
    RowColumn,
}

/// The shape of an [`AttentionPool`](crate::AttentionPool).
///
/// ```
/// use selfie_attnpool::AttnPoolConfig;
///
/// let config = AttnPoolConfig::imagenet224();
/// config.validate(1024)?;
/// assert_eq!((config.heads(1024), config.ffn(1024)), (32, 640));
/// assert!(AttnPoolConfig { num_heads: 3, ..config }.validate(1024).is_err());
/// # Ok::<(), selfie_attnpool::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttnPoolConfig {
    /// Transformer blocks, at least 1.
    pub depth: usize,
    /// Attention heads h, a divisor of the embedding width D; 0 = min(32, D / 8), at least 1.
    pub num_heads: usize,
    /// Hidden width of the feed-forward part; 0 = 640 D / 1024, at least 1.
    pub ffn_dim: usize,
    /// Share of the entries that dropout clears in training, in [0, 1): of the attention weights, of the hidden
    /// feed-forward units, and of both residual branches.
    pub dropout: f64,
    /// One position vector a cell, or row + column.
    pub positions: Positions,
    /// Whether the context patches get their positions added; the queries always do.
    pub context_positions: bool,
    /// Standard deviation that u0 and the positions start with (normal, mean 0), at least 0; matrices start with 0.02. The
    /// paper gives none.
    pub init_deviation: f64,
}

impl Default for AttnPoolConfig {
    fn default() -> Self {
        Self::cifar10()
    }
}

impl AttnPoolConfig {
    /// CIFAR-10: three blocks and one position a cell of the 4x4 grid.
    pub fn cifar10() -> Self {
        Self {
            depth: 3,
            num_heads: 0,
            ffn_dim: 0,
            dropout: 0.1,
            positions: Positions::Full,
            context_positions: true,
            init_deviation: 0.02,
        }
    }

    /// ImageNet at 32x32: the same as [`cifar10`](Self::cifar10).
    pub fn imagenet32() -> Self {
        Self::cifar10()
    }

    /// ImageNet at 224x224: row + column positions for the 7x7 grid.
    pub fn imagenet224() -> Self {
        Self { positions: Positions::RowColumn, ..Self::cifar10() }
    }

    /// The number of heads h at embedding width D, with 0 resolved.
    pub fn heads(&self, embed_dim: usize) -> usize {
        match self.num_heads {
            0 => (embed_dim / 8).clamp(1, 32),
            heads => heads,
        }
    }

    /// The hidden width of the feed-forward part at embedding width D, with 0 resolved.
    pub fn ffn(&self, embed_dim: usize) -> usize {
        match self.ffn_dim {
            0 => (embed_dim / 1024 * 640 + embed_dim % 1024 * 640 / 1024).max(1), // 640 D / 1024 of any D
            ffn_dim => ffn_dim,
        }
    }

    /// Checks that the configuration can be built at embedding width D.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that cannot.
    pub fn validate(&self, embed_dim: usize) -> Result<()> {
        let heads = self.heads(embed_dim);
        let most = |field, value: usize, most| match value <= most {
            true => Ok(()),
            false => Err(Error::Config { field, reason: format!("is {value}, expected at most {most}") }),
        };
        most("depth", self.depth, MAX_DEPTH)?;
        most("ffn_dim", self.ffn_dim, MAX_WIDTH)?;
        if embed_dim > MAX_WIDTH {
            let reason = format!("the embedding width is {embed_dim}, expected at most {MAX_WIDTH}");
            return Err(Error::Config { field: "num_heads", reason });
        }
        let fail = |field, reason| Err(Error::Config { field, reason });
        if self.depth == 0 {
            return fail("depth", "is 0, expected at least one block".into());
        }
        if embed_dim == 0 {
            return fail("num_heads", "the embedding width is 0, expected at least 1".into());
        }
        if !embed_dim.is_multiple_of(heads) {
            let chosen = if self.num_heads == 0 { " (chosen by 0)" } else { "" };
            return fail(
                "num_heads",
                format!("is {heads}{chosen}, expected a divisor of the embedding width {embed_dim}"),
            );
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail("dropout", format!("is {}, expected a share in [0, 1)", self.dropout));
        }
        if !(self.init_deviation >= 0.0 && self.init_deviation.is_finite()) {
            return fail("init_deviation", format!("is {}, expected a number from 0 up", self.init_deviation));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_resolves_to_the_paper_s_shape_and_scales_with_the_width() {
        let config = AttnPoolConfig::cifar10();
        assert_eq!([1024, 256, 128, 4].map(|d| config.heads(d)), [32, 32, 16, 1]);
        assert_eq!([1024, 256, 128, 1].map(|d| config.ffn(d)), [640, 160, 80, 1]);
    }

    #[test]
    fn messages_name_the_field_the_value_and_the_expectation() {
        let message = |c: AttnPoolConfig, d| c.validate(d).unwrap_err().to_string();
        let base = AttnPoolConfig::cifar10();
        let heads = AttnPoolConfig { num_heads: 3, ..base.clone() };
        assert_eq!(message(heads, 16), "attnpool.num_heads: is 3, expected a divisor of the embedding width 16");
        assert_eq!(
            message(base.clone(), 264),
            "attnpool.num_heads: is 32 (chosen by 0), expected a divisor of the embedding width 264"
        );
        let dropout = AttnPoolConfig { dropout: 1.0, ..base.clone() };
        assert_eq!(message(dropout, 16), "attnpool.dropout: is 1, expected a share in [0, 1)");
        let nan = AttnPoolConfig { dropout: f64::NAN, ..base.clone() };
        assert_eq!(message(nan, 16), "attnpool.dropout: is NaN, expected a share in [0, 1)");
        let negative = AttnPoolConfig { init_deviation: -0.5, ..base.clone() };
        assert_eq!(message(negative, 16), "attnpool.init_deviation: is -0.5, expected a number from 0 up");
        assert_eq!(
            message(AttnPoolConfig { depth: 0, ..base }, 16),
            "attnpool.depth: is 0, expected at least one block"
        );
    }

    #[test]
    fn keys_are_kebab_case_default_and_checked() {
        let config: AttnPoolConfig = serde_json::from_str(r#"{"positions": "row-column", "depth": 2}"#).unwrap();
        assert_eq!(config, AttnPoolConfig { depth: 2, ..AttnPoolConfig::imagenet224() });
        assert!(serde_json::from_str::<AttnPoolConfig>(r#"{"heads": 2}"#).is_err());
    }
}
