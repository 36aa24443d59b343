//! The configuration of the loss.
//!
//! Source: Selfie (arXiv 1906.02940) has plain dot products and all other masked patches of the
//! image as distractors. The other forms are options of ours: `scaled` as in attention (arXiv
//! 1706.03762), `cosine` as in SimCLR (arXiv 2002.05709).

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How queries are compared with patches, and with how many.
///
/// ```
/// use selfie_loss::LossConfig;
///
/// let config = LossConfig { temperature: -1.0, ..LossConfig::default() };
/// let message = config.validate().unwrap_err().to_string();
/// assert_eq!(message, "temperature: -1, expected a finite number above 0");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// The form of the similarity between a query and a patch.
    pub logits: Logits,
    /// What [`Logits::Cosine`] divides by; the other forms have none. Above 0.
    pub temperature: f64,
    /// Distractors of each query, drawn at random from the M - 1 other masked patches of its image.
    /// 0: all of them.
    pub num_distractors: usize,
}

/// The form of the similarity between a query v and a patch's embedding h, both of width D.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_loss::{InfoNce, Logits, LossConfig};
///
/// let v = Tensor::new(&[[[3f32, 0., 0., 0.], [0., 5., 0., 0.]]], &Device::Cpu)?; // (1, 2, 4)
/// for (logits, expected) in [(Logits::Plain, 9.), (Logits::Scaled, 4.5), (Logits::Cosine, 10.)] {
///     let config = LossConfig { logits, ..LossConfig::default() };
///     let output = InfoNce::new(&config, 2)?.forward(&v, &v, 0..1, 7)?;
///     let positive = output.logits.flatten_all()?.get(0)?.to_scalar::<f32>()?;
///     assert!((positive - expected).abs() < 1e-5);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Logits {
    /// `<v, h>`, the paper's.
    #[default]
    Plain,
    /// `<v, h> / sqrt(D)`.
    Scaled,
    /// `<v, h> / (|v| |h| temperature)`.
    Cosine,
}

impl LossConfig {
    /// Checks what can be checked without the number of targets;
    /// [`InfoNce::new`](crate::InfoNce::new) checks the rest.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field, its value and what was expected.
    pub fn validate(&self) -> Result<()> {
        if self.temperature > 0.0 && self.temperature.is_finite() {
            return Ok(());
        }
        let reason = format!("{}, expected a finite number above 0", self.temperature);
        Err(Error::config("temperature", reason))
    }
}

impl Default for LossConfig {
    /// The paper's loss: plain logits, all distractors. The temperature, 0.1, waits for
    /// [`Logits::Cosine`].
    fn default() -> Self {
        LossConfig { logits: Logits::Plain, temperature: 0.1, num_distractors: 0 }
    }
}
