//! The similarities of all queries of an image with all its masked patches.
//!
//! Source: Selfie (arXiv 1906.02940) for the dot product.

use candle_core::{D, Tensor};

use crate::{Logits, LossConfig, Result};

/// Added to the squared length of a vector before its root, so that a zero vector has a direction
/// (none) and a finite gradient.
const SQUARED_LENGTH_FLOOR: f64 = 1e-12;

/// `logits[b, m, j]` is the similarity of query m and target j of image b.
///
/// # Shapes
/// `queries` (B, M, D), `targets` (B, M, D) -> (B, M, M)
pub(crate) fn similarities(config: &LossConfig, queries: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let width = queries.dim(D::Minus1)? as f64;
    let logits = match config.logits {
        Logits::Plain => products(queries, targets)?,
        Logits::Scaled => (products(queries, targets)? / width.sqrt())?,
        Logits::Cosine => (products(&unit(queries)?, &unit(targets)?)? / config.temperature)?,
    };
    Ok(logits) // (B, M, M)
}

/// The dot product of every query with every target.
fn products(queries: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok(queries.matmul(&targets.t()?)?) // (B, M, D) x (B, D, M) -> (B, M, M)
}

/// Every vector at length 1: (B, M, D) -> (B, M, D).
fn unit(vectors: &Tensor) -> Result<Tensor> {
    let squared = vectors.sqr()?.sum_keepdim(D::Minus1)?; // (B, M, 1)
    let length = (squared + SQUARED_LENGTH_FLOOR)?.sqrt()?; // (B, M, 1)
    Ok(vectors.broadcast_div(&length)?) // (B, M, D)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn a_vector_keeps_its_direction_at_length_one() {
        let vector = Tensor::new(&[[[3f64, -4.]]], &Device::Cpu).unwrap();
        let unit = unit(&vector).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!((unit[0] - 0.6).abs() < 1e-12 && (unit[1] + 0.8).abs() < 1e-12, "{unit:?}");
    }

    #[test]
    fn a_zero_vector_has_a_finite_gradient() {
        let vector = Var::from_tensor(&Tensor::new(&[[[0f32, 0.]]], &Device::Cpu).unwrap()).unwrap();
        let gradients = unit(&vector).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&vector).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
}
