//! The first values of a tensor, from `candle_nn`'s description of them and one random stream.
//!
//! Kaiming is He et al. (arXiv 1502.01852); with `FanOut` and ReLU it is torchvision's for convolutions: a normal of
//! standard deviation sqrt(2 / (C_out k k)). Values are drawn in row-major order in `f32`.

use candle_core::Shape;
use candle_nn::Init;
use candle_nn::init::NormalOrUniform;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub(super) fn values(init: Init, shape: &Shape, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count = shape.elem_count();
    match init {
        Init::Const(value) => vec![value as f32; count],
        Init::Randn { mean, stdev } => normal(count, mean, stdev, rng),
        Init::Uniform { lo, up } => uniform(count, lo, up, rng),
        Init::Kaiming { dist, fan, non_linearity } => {
            let deviation = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(count, 0.0, deviation, rng),
                NormalOrUniform::Uniform => {
                    let bound = 3f64.sqrt() * deviation;
                    uniform(count, -bound, bound, rng)
                }
            }
        }
    }
}

fn normal(count: usize, mean: f64, deviation: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (mean, deviation) = (mean as f32, deviation as f32);
    (0..count).map(|_| mean + deviation * rng.sample::<f32, _>(StandardNormal)).collect()
}

fn uniform(count: usize, low: f64, high: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (low, width) = (low as f32, (high - low) as f32);
    (0..count).map(|_| low + width * rng.random::<f32>()).collect()
}
