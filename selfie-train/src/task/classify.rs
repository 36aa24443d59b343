//! Classification of images: what fine-tuning trains.
//!
//! Cross-entropy, optionally against smoothed labels (Szegedy et al., arXiv 1512.00567): (1 - s) of the probability on the
//! true class, s spread over all, as in PyTorch's `CrossEntropyLoss(label_smoothing=s)`.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;

use super::{Classifier, Phase, Task, TaskOutput, largest};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::model::Mode;
use crate::seed::{Purpose, derive};

/// A network and its loss.
pub struct Classification {
    network: Classifier,
    num_classes: usize,
    label_smoothing: f64,
    seed: u64,
}

impl Classification {
    /// Training of `network`, which tells `num_classes` classes apart, with dropout from `seed`.
    #[must_use]
    pub fn new(network: Classifier, num_classes: usize, label_smoothing: f64, seed: u64) -> Self {
        Self { network, num_classes, label_smoothing, seed }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Classifier {
        &self.network
    }

    fn mode(&self, batch: &Batch, phase: Phase) -> Mode {
        match phase {
            Phase::Train { step } => {
                let dropout = derive(self.seed, Purpose::Dropout, step, 0);
                Mode::Train { dropout, first_image: batch.first_key() }
            }
            Phase::Eval { .. } => Mode::Eval,
        }
    }
}

impl Task for Classification {
    fn loss(&self, batch: &Batch, phase: Phase) -> Result<TaskOutput> {
        let labels = batch
            .labels
            .as_ref()
            .ok_or_else(|| Error::config("--data", "images without labels, expected a folder for each class"))?;
        let logits = self.network.forward(&batch.images, self.mode(batch, phase))?; // (B, classes)
        let loss = cross_entropy(&logits, labels, self.label_smoothing)?; // ()
        let right = logits.detach().argmax(D::Minus1)?.eq(labels)?; // (B)
        let accuracy = right.to_dtype(DType::F32)?.mean_all()?;
        Ok(TaskOutput { loss, accuracy, correct: right.unsqueeze(1)?, features: None })
    }

    fn chance(&self) -> f64 {
        1.0 / self.num_classes as f64
    }

    fn activations(&self, batch: &Batch, phase: Phase) -> Result<Vec<(String, f32)>> {
        let mode = self.mode(batch, phase);
        let mut found = self.network.activations(&batch.images, mode)?;
        found.push(("logits".to_owned(), largest(&self.network.forward(&batch.images, mode)?)?));
        Ok(found)
    }
}

/// Mean cross-entropy of `logits` (B, classes) against `labels` (B) u32, smoothed by `smoothing`: ().
///
/// # Errors
/// Where a label is no class.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let log_p = log_softmax(logits, D::Minus1)?; // (B, classes)
    let of_label = log_p.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?.neg()?; // ()
    if smoothing == 0.0 {
        return Ok(of_label);
    }
    let of_all = log_p.mean_all()?.neg()?; // ()
    Ok(((of_label * (1.0 - smoothing))? + (of_all * smoothing)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    // import torch; from torch.nn.functional import cross_entropy as f
    // x = torch.tensor([[1., 2., 3.], [0.5, -1., 0.]], requires_grad=True); y = torch.tensor([2, 1])
    // f(x, y), f(x, y, label_smoothing=0.1); f(x, y, label_smoothing=0.1).backward(); x.grad
    #[test]
    fn cross_entropy_is_pytorch_s() {
        let logits = Var::new(&[[1f32, 2., 3.], [0.5, -1., 0.]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
        let loss = |smoothing| cross_entropy(&logits, &labels, smoothing).unwrap();
        assert!((loss(0.0).to_scalar::<f32>().unwrap() - PLAIN).abs() < 1e-6);
        assert!((loss(0.1).to_scalar::<f32>().unwrap() - SMOOTHED).abs() < 1e-6);
        let gradient =
            loss(0.1).backward().unwrap().get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().zip(GRADIENT).all(|(got, expected)| (got - expected).abs() < 1e-6), "{gradient:?}");
    }
    const PLAIN: f32 = 1.255_868_3;
    const SMOOTHED: f32 = 1.264_201_6;
    const GRADIENT: [f32; 6] = [0.028_348_6, 0.105_697_6, -0.134_046_2, 0.256_608, -0.405_690_8, 0.149_082_8];
}
