//! What the tests of this crate share: numbers that look random, and a comparison that says where it failed.

use candle_core::{Device, Tensor, Var, backprop::GradStore};
use candle_nn::VarBuilder;
use std::collections::HashMap;

/// Numbers in -1..1 that depend on the seed alone.
pub(crate) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// As [`noise`], as a variable.
pub(crate) fn variable(shape: &[usize], seed: u64) -> Var {
    Var::from_tensor(&noise(shape, seed)).unwrap()
}

/// Largest difference, relative to the largest entry of `want`.
pub(crate) fn difference(got: &Tensor, want: &Tensor) -> f32 {
    assert_eq!(got.dims(), want.dims());
    let largest = |t: &Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    largest(&(got - want).unwrap()) / largest(want).max(1e-6)
}

/// Fails where `got` differs from `want` by more than `tolerance` of its largest entry.
pub(crate) fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: f32) {
    let d = difference(got, want);
    assert!(d <= tolerance, "{what}: relative difference {d:e}, tolerance {tolerance:e}");
}

/// Gradients of Σ y·noise.
pub(crate) fn backward(y: &Tensor) -> GradStore {
    (y * noise(y.dims(), 99)).unwrap().sum_all().unwrap().backward().unwrap()
}

/// A store of variables filled with noise on demand; running statistics are plain tensors.
#[derive(Default)]
pub(crate) struct Variables(std::sync::Mutex<HashMap<String, Tensor>>);

impl Variables {
    pub(crate) fn builder(self: &std::sync::Arc<Self>) -> VarBuilder<'static> {
        struct Shared(std::sync::Arc<Variables>);
        impl candle_nn::var_builder::SimpleBackend for Shared {
            fn get(
                &self,
                shape: candle_core::Shape,
                name: &str,
                _: candle_nn::Init,
                _: candle_core::DType,
                _: &Device,
            ) -> candle_core::Result<Tensor> {
                let mut all = self.0.0.lock().unwrap();
                let seed = name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(b as u64));
                let fan = shape.dims().iter().skip(1).product::<usize>().max(1) as f64;
                let make = || {
                    let noise = noise(shape.dims(), seed);
                    match name.rsplit('.').next() {
                        Some("running_mean") => (noise * 0.1).unwrap(),
                        Some("running_var") => (noise.abs().unwrap() + 0.5).unwrap(),
                        _ if shape.rank() > 1 => {
                            Var::from_tensor(&(noise * (3.0 / fan).sqrt()).unwrap()).unwrap().into_inner()
                        }
                        Some("bias") => Var::from_tensor(&(noise * 0.2).unwrap()).unwrap().into_inner(),
                        _ => Var::from_tensor(&((noise * 0.3).unwrap() + 1.0).unwrap()).unwrap().into_inner(),
                    }
                };
                Ok(all.entry(name.to_string()).or_insert_with(make).clone())
            }
            fn get_unchecked(&self, name: &str, _: candle_core::DType, _: &Device) -> candle_core::Result<Tensor> {
                candle_core::bail!("no shape given for {name}")
            }
            fn contains_tensor(&self, name: &str) -> bool {
                self.0.0.lock().unwrap().contains_key(name)
            }
        }
        VarBuilder::from_backend(Box::new(Shared(self.clone())), candle_core::DType::F32, Device::Cpu)
    }

    /// All tensors by name, sorted.
    pub(crate) fn all(&self) -> Vec<(String, Tensor)> {
        let mut all: Vec<_> = self.0.lock().unwrap().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}
