//! The kernels and the trunk, forward and backward: `cargo bench -p selfie-encoder`.
//!
//! Sizes are those of the patch network at width 64 on 128 patches of 8x8. `cargo xtask bench kernels` sets the same
//! ops beside Candle's own.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use divan::Bencher;
use selfie_encoder::{EncoderConfig, Mode, Statistics, Trunk, batch_norm, conv2d, max_pool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATCHES: usize = 128;

fn main() {
    divan::main();
}

fn variable(shape: &[usize]) -> Var {
    Var::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

/// (in, out, kernel, stride, side)
#[divan::bench(args = [(256, 64, 1, 1, 8), (64, 64, 3, 1, 8), (128, 128, 3, 2, 8), (128, 128, 3, 1, 4), (256, 256, 3, 1, 2)])]
fn convolution(bencher: Bencher, (c, o, k, stride, side): (usize, usize, usize, usize, usize)) {
    let (x, w) = (variable(&[PATCHES, side, side, c]), variable(&[o, c, k, k]));
    bencher.bench(|| conv2d(&x, &w, stride, k / 2).unwrap().backward().unwrap());
}

#[divan::bench(args = [(256, 8), (512, 4), (1024, 2)])]
fn norm_and_relu(bencher: Bencher, (c, side): (usize, usize)) {
    let (x, gamma, beta) = (variable(&[PATCHES, side, side, c]), variable(&[c]), variable(&[c]));
    bencher.bench(|| batch_norm(&x, (&gamma, &beta), Statistics::Batch, true).unwrap().0.backward().unwrap());
}

#[divan::bench]
fn pooling(bencher: Bencher) {
    let x = variable(&[PATCHES, 16, 16, 64]);
    bencher.bench(|| max_pool(&x).unwrap().backward().unwrap());
}

#[divan::bench(args = [16, 64])]
fn trunk(bencher: Bencher, width: usize) {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let trunk = Trunk::new(&EncoderConfig { width, ..EncoderConfig::cifar10() }, vb).unwrap();
    let x = Tensor::ones((PATCHES, 3, 8, 8), DType::F32, &Device::Cpu).unwrap();
    bencher.bench(|| trunk.forward(&x, Mode::Train).unwrap().backward().unwrap());
}
