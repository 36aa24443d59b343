//! Each kernel of the encoder against Candle's own op, forward and backward, with the rate of its arithmetic.
//!
//! Sizes are those of a ResNet-50's patch network at width 64 on 8x8 patches. Ours run channels-last, Candle's as it
//! stores images, (B, C, H, W); both through autograd, image gradient included.

use std::time::Instant;

use candle_core::{DType, Device, Error, Result, Tensor, Var};
use selfie_encoder::{Statistics, batch_norm, conv2d, max_pool};
use serde::Serialize;

use super::round;

/// Runs of each op; the fastest counts.
const RUNS: usize = 3;

/// One op, ours and Candle's.
#[derive(Debug, Clone, Serialize)]
pub struct KernelReport {
    /// The op and its sizes.
    pub op: String,
    /// Our milliseconds, forward and backward.
    pub ours_ms: f64,
    /// Candle's milliseconds; none where it has no backward pass.
    pub candle_ms: Option<f64>,
    /// Billions of multiplications and additions a second, of ours; none where an op has few.
    pub gflops: Option<f64>,
}

/// A convolution: channels in and out, kernel, stride, side of the map.
const CONVOLUTIONS: [[usize; 5]; 7] = [
    [64, 64, 1, 1, 8],
    [256, 64, 1, 1, 8],
    [64, 64, 3, 1, 8],
    [128, 128, 3, 2, 8],
    [128, 128, 3, 1, 4],
    [256, 256, 3, 1, 2],
    [256, 1024, 1, 1, 2],
];

/// Times every op on `images` patches.
///
/// # Errors
/// Where the device fails.
pub fn kernels(images: usize, device: &Device, mut each: impl FnMut(&KernelReport)) -> Result<Vec<KernelReport>> {
    let mut all = Vec::new();
    let mut push = |report: KernelReport| {
        each(&report);
        all.push(report);
    };
    for [c, o, k, stride, side] in CONVOLUTIONS {
        let w = Var::zeros((o, c, k, k), DType::F32, device)?;
        let x = Var::zeros((images, side, side, c), DType::F32, device)?;
        let ours = fastest(device, || conv2d(&x, &w, stride, k / 2).map_err(Error::wrap))?;
        let x = Var::zeros((images, c, side, side), DType::F32, device)?;
        let candle = fastest(device, || x.conv2d(&w, k / 2, stride, 1, 1))?;
        let taps = taps(side, k, stride);
        push(KernelReport {
            op: format!("conv {k}x{k}/{stride}, {c} -> {o}, {side}x{side}"),
            ours_ms: round(1e3 * ours, 100.0),
            candle_ms: Some(round(1e3 * candle, 100.0)),
            gflops: Some(round(6e-9 * (images * taps * c * o) as f64 / ours, 10.0)),
        });
    }
    for [c, side] in [[256, 8], [1024, 2]] {
        let (gamma, beta) = (Var::ones(c, DType::F32, device)?, Var::zeros(c, DType::F32, device)?);
        let x = Var::zeros((images, side, side, c), DType::F32, device)?;
        let ours = fastest(device, || {
            batch_norm(&x, (&gamma, &beta), Statistics::Batch, true).map(|(y, _)| y).map_err(Error::wrap)
        })?;
        let candle = fastest(device, || {
            let x = x.reshape((images * side * side, c))?;
            let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
            let deviation = (centred.sqr()?.mean_keepdim(0)? + 1e-5)?.sqrt()?;
            centred.broadcast_div(&deviation)?.broadcast_mul(&gamma)?.broadcast_add(&beta)?.relu()
        })?;
        push(KernelReport {
            op: format!("batch norm + ReLU, {c}, {side}x{side}"),
            ours_ms: round(1e3 * ours, 100.0),
            candle_ms: Some(round(1e3 * candle, 100.0)),
            gflops: None,
        });
    }
    let x = Var::zeros((images, 16, 16, 64), DType::F32, device)?;
    let ours = round(1e3 * fastest(device, || max_pool(&x).map_err(Error::wrap))?, 100.0);
    push(KernelReport { op: "max-pool 3x3/2, 64, 16x16".into(), ours_ms: ours, candle_ms: None, gflops: None });
    Ok(all)
}

/// Taps of all outputs of a k x k kernel on a square map that fall inside it.
fn taps(side: usize, k: usize, stride: usize) -> usize {
    let inside =
        |o: usize| (0..k).filter(|tap| (o * stride + tap).checked_sub(k / 2).is_some_and(|i| i < side)).count();
    let along: usize = (0..(side + 2 * (k / 2) - k) / stride + 1).map(inside).sum();
    along * along
}

/// Seconds of the fastest forward and backward pass.
fn fastest(device: &Device, op: impl Fn() -> Result<Tensor>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        let gradients = op()?.backward()?;
        device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(gradients);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_taps_inside_the_map_count() {
        assert_eq!((taps(2, 3, 1), taps(4, 3, 1), taps(8, 1, 1), taps(8, 3, 2)), (16, 100, 64, 121));
    }

    #[test]
    fn every_op_is_timed() {
        let mut seen = 0;
        let all = kernels(1, &Device::Cpu, |_| seen += 1).unwrap();
        assert_eq!((all.len(), seen), (10, 10));
        assert!(all.iter().all(|k| k.ours_ms >= 0.0));
    }
}
