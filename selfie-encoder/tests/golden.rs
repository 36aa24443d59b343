//! The trunk against PyTorch; the numbers come from `xtask/golden/encoder.py`.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var, safetensors::load};
use candle_nn::VarBuilder;
use selfie_encoder::{Block, EncoderConfig, Mode, Stem, Trunk};
use std::collections::HashMap;

/// The golden file's tensors, with those under `weight.` as variables (running statistics as plain tensors).
fn golden(name: &str) -> (HashMap<String, Tensor>, HashMap<String, Tensor>) {
    let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let all = load(path, &Device::Cpu).unwrap();
    let weights = all.iter().filter_map(|(name, t)| {
        let name = name.strip_prefix("weight.")?;
        let fresh = Var::from_tensor(t).unwrap();
        let tensor =
            if name.contains("running") { fresh.as_detached_tensor().copy().unwrap() } else { fresh.into_inner() };
        Some((name.to_string(), tensor))
    });
    let weights = weights.collect();
    (all, weights)
}

fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: f32) {
    let largest = |t: &Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert_eq!(got.dims(), want.dims(), "{what}");
    let difference = largest(&(got - want).unwrap()) / largest(want);
    assert!(difference <= tolerance, "{what}: relative difference {difference:e}, tolerance {tolerance:e}");
}

fn agrees_with_pytorch(name: &str, config: EncoderConfig) {
    let (golden, weights) = golden(name);
    let vb = VarBuilder::from_tensors(weights.clone(), DType::F32, &Device::Cpu);
    let trunk = Trunk::new(&config, vb).unwrap();
    let images = &golden["in.images"];
    assert_close("eval", &trunk.forward(images, Mode::Eval).unwrap(), &golden["out.eval"], 1e-5);
    let embedding = trunk.forward(images, Mode::Train).unwrap();
    assert_close("train", &embedding, &golden["out.train"], 1e-5);
    let grads = (embedding * &golden["in.direction"]).unwrap().sum_all().unwrap().backward().unwrap();
    for (name, weight) in &weights {
        match name.contains("running") {
            true => assert_close(name, weight, &golden[&format!("after.{name}")], 1e-5),
            false => assert_close(name, grads.get(weight).unwrap(), &golden[&format!("grad.{name}")], 1e-4),
        }
    }
}

#[test]
fn v1_5_with_the_small_stem_agrees_with_pytorch() {
    agrees_with_pytorch("small", EncoderConfig { width: 4, depths: vec![2, 1, 1], ..EncoderConfig::cifar10() });
}

#[test]
fn v1_5_with_the_pooled_stem_agrees_with_pytorch() {
    agrees_with_pytorch("imagenet", EncoderConfig { width: 4, depths: vec![1, 2, 1], ..EncoderConfig::imagenet224() });
}

#[test]
fn v2_agrees_with_pytorch() {
    let config =
        EncoderConfig { width: 4, depths: vec![2, 1, 1], block: Block::V2, stem: Stem::ImageNet, ..Default::default() };
    agrees_with_pytorch("v2", config);
}
