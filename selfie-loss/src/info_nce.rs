//! The loss itself: a softmax over an image's masked patches, for every query at once.
//!
//! Source: equation 4 of Contrastive Predictive Coding (arXiv 1807.03748), as used by Selfie (arXiv
//! 1906.02940), "Efficient implementation of mask prediction": all masked patches of an image are
//! predicted at once, each a distractor of the others.

use candle_core::{D, DType, Tensor};
use candle_nn::loss::cross_entropy;

use crate::distractors::candidates;
use crate::logits::similarities;
use crate::{Error, LossConfig, Result};

/// InfoNCE over the masked patches of an image.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use selfie_loss::{InfoNce, LossConfig};
///
/// // Queries that say nothing: every patch is as likely as any other.
/// let queries = Tensor::zeros((3, 4, 8), DType::F32, &Device::Cpu)?;
/// let info_nce = InfoNce::new(&LossConfig::default(), 4)?;
/// let output = info_nce.forward(&queries, &queries, 0..3, 7)?;
/// assert_eq!(output.loss.to_scalar::<f32>()?, 4f32.ln());
/// assert_eq!(output.chance, 0.25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct InfoNce {
    config: LossConfig,
    num_targets: usize,
    num_distractors: usize, // never 0
}

/// What [`InfoNce::forward`] returns.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_loss::{InfoNce, LossConfig};
///
/// let queries = Tensor::new(&[[[0f32, 9.], [9., 0.]]], &Device::Cpu)?; // each takes the other's patch
/// let targets = Tensor::new(&[[[1f32, 0.], [0., 1.]]], &Device::Cpu)?;
/// let output = InfoNce::new(&LossConfig::default(), 2)?.forward(&queries, &targets, 0..1, 7)?;
/// assert_eq!(output.correct.to_vec2::<u8>()?, [[0, 0]]);
/// assert!(output.loss.to_scalar::<f32>()? > 9.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LossOutput {
    /// The mean loss of all B x M queries, in nats: () of `f32` (`f64` for queries of `f64`), with
    /// gradient.
    pub loss: Tensor,
    /// The share of queries whose positive has the largest logit among their candidates: () of
    /// `f32`, without gradient.
    pub accuracy: Tensor,
    /// 1 where a query found its positive, else 0: (B, M) of `u8`. Among equal logits the first
    /// patch wins, so queries that cannot tell patches apart score by chance.
    pub correct: Tensor,
    /// (B, M, M) of the loss's element type, with gradient: the similarity of query m and patch j
    /// at `[b, m, j]`, also where j is no candidate of m.
    pub logits: Tensor,
    /// The accuracy of guessing, 1 / (1 + distractors).
    pub chance: f64,
}

impl InfoNce {
    /// The loss for images with `num_targets` (M) masked patches.
    ///
    /// # Errors
    /// [`Error::Config`] where the configuration is invalid, M is below 2, or there are fewer than
    /// `num_distractors` other patches.
    pub fn new(config: &LossConfig, num_targets: usize) -> Result<Self> {
        config.validate()?;
        if num_targets < 2 {
            let reason = format!("{num_targets} leaves a query without distractors, expected at least 2");
            return Err(Error::config("num_targets", reason));
        }
        let others = num_targets - 1;
        let num_distractors = match config.num_distractors {
            0 => others,
            some if some <= others => some,
            many => {
                let reason = format!("{many} of {others} other patches, expected 1 to {others}, or 0 = all");
                return Err(Error::config("num_distractors", reason));
            }
        };
        Ok(InfoNce { config: config.clone(), num_targets, num_distractors })
    }

    /// The accuracy of guessing, 1 / (1 + distractors).
    pub fn chance(&self) -> f64 {
        1.0 / (1 + self.num_distractors) as f64
    }

    /// The loss of queries whose positives stand at the same places among the targets.
    ///
    /// `images` are the numbers of the B images; with `seed` they decide which distractors are
    /// drawn, and nothing where all are used. Elements of half precision are widened to `f32`
    /// first.
    ///
    /// # Shapes
    /// `queries` (B, M, D) and `targets` (B, M, D), of one float type -> [`LossOutput`]
    ///
    /// # Errors
    /// [`Error::Shape`] where the tensors are not (B, M, D) of one float type, something is empty,
    /// or `images` does not hold B numbers.
    pub fn forward(
        &self,
        queries: &Tensor,
        targets: &Tensor,
        images: impl IntoIterator<Item = u64>,
        seed: u64,
    ) -> Result<LossOutput> {
        let (b, m) = self.check(queries, targets)?;
        let images: Vec<u64> = images.into_iter().take(b + 1).collect();
        if images.len() != b {
            let expected = format!("the numbers of {b} images, as the queries");
            let got = if images.len() > b { "more".to_string() } else { images.len().to_string() };
            return Err(Error::Shape { what: "images", expected, got });
        }
        let device = queries.device();
        let dtype = match queries.dtype() {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let (queries, targets) = (queries.to_dtype(dtype)?, targets.to_dtype(dtype)?);

        let logits = similarities(&self.config, &queries, &targets)?; // (B, M, M)
        let candidate_logits = if self.num_distractors == m - 1 {
            logits.clone()
        } else {
            let candidates = candidates(&images, seed, m, self.num_distractors, device)?; // (B, M, M)
            let nothing = Tensor::full(f32::NEG_INFINITY, (b, m, m), device)?.to_dtype(dtype)?;
            candidates.where_cond(&logits, &nothing)? // (B, M, M)
        };

        let places = Tensor::arange(0, m as u32, device)?; // (M)
        let labels = places.broadcast_as((b, m))?.contiguous()?; // (B, M)
        // Candle's cross entropy takes the largest logit away before it exponentiates, so large
        // logits do no harm.
        let rows = candidate_logits.reshape((b * m, m))?; // (B M, M)
        let loss = cross_entropy(&rows, &labels.flatten_all()?)?; // ()
        // Detached, so that whoever keeps the accuracy does not keep every activation of the step.
        let correct = candidate_logits.detach().argmax(D::Minus1)?.eq(&labels)?; // (B, M)
        let accuracy = correct.to_dtype(DType::F32)?.mean_all()?; // ()
        Ok(LossOutput { loss, accuracy, correct, logits, chance: self.chance() })
    }

    /// B and M, where the arguments of `forward` fit together.
    fn check(&self, queries: &Tensor, targets: &Tensor) -> Result<(usize, usize)> {
        let m = self.num_targets;
        let (b, d) = match *queries.dims() {
            [b, queries_m, d] if queries_m == m && b * d > 0 && queries.dtype().is_float() => (b, d),
            _ => {
                let expected = format!("[B, {m}, D] of floats, none of them 0");
                return Err(Error::shape("queries", expected, queries));
            }
        };
        if targets.dims() != [b, m, d] || targets.dtype() != queries.dtype() {
            let dtype = queries.dtype().as_str();
            let expected = format!("[{b}, {m}, {d}] of {dtype}, as the queries");
            return Err(Error::shape("targets", expected, targets));
        }
        Ok((b, m))
    }
}
