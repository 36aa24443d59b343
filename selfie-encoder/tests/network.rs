//! What a user of the crate relies on: names, gradients, modes and errors.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use selfie_encoder::{Block, EncoderConfig, Error, Mode, ResNet, Stem, Trunk};

/// A ResNet of some kind and all its variables, sorted by name. Every `VarMap` entry is a variable, also the running
/// statistics, which must not be reached by a gradient.
fn resnet(config: &EncoderConfig) -> (ResNet, Vec<(String, Tensor)>) {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let resnet = ResNet::new(&config.with_stage4(), 5, vb).unwrap();
    let data = variables.data().lock().unwrap();
    let mut all: Vec<_> = data.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    (resnet, all)
}

fn tiny(block: Block, stem: Stem) -> EncoderConfig {
    EncoderConfig { width: 4, depths: vec![1, 2, 1], block, stem, ..Default::default() }
}

fn ramp(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 211) as f32 / 105.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn names_are_torchvisions() {
    let (_, all) = resnet(&EncoderConfig { width: 4, ..EncoderConfig::imagenet224() });
    let names: Vec<_> = all.iter().map(|(n, _)| n.as_str()).collect();
    for name in [
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.bias",
        "layer3.5.conv3.weight",
        "layer4.2.bn3.weight",
        "fc.weight",
        "fc.bias",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    // torchvision's resnet50 has 161 parameters and 53 norms with two statistics each.
    assert_eq!(names.len(), 161 + 2 * 53);
}

#[test]
fn names_are_timms_for_v2() {
    let (_, all) = resnet(&EncoderConfig { width: 4, block: Block::V2, ..EncoderConfig::imagenet224() });
    let names: Vec<_> = all.iter().map(|(n, _)| n.as_str()).collect();
    for name in [
        "stem.conv.weight",
        "stages.0.blocks.0.norm1.weight",
        "stages.0.blocks.0.downsample.conv.weight",
        "stages.3.blocks.2.conv3.weight",
        "norm.running_mean",
        "head.fc.weight",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn every_parameter_gets_a_gradient_that_is_not_zero() {
    for (block, stem, side) in
        [(Block::V1_5, Stem::Small, 16), (Block::V1_5, Stem::ImageNet, 64), (Block::V2, Stem::Small, 16)]
    {
        let (resnet, all) = resnet(&tiny(block, stem));
        let logits = resnet.forward(&ramp(&[4, 3, side, side]), Mode::Train).unwrap();
        let grads = (&logits * ramp(logits.dims())).unwrap().sum_all().unwrap().backward().unwrap();
        for (name, parameter) in all.iter().filter(|(name, _)| !name.contains("running")) {
            let g = grads.get(parameter).unwrap_or_else(|| panic!("{name} has no gradient"));
            let largest = g.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(largest > 0.0 && largest.is_finite(), "{name}: {largest}");
        }
    }
}

#[test]
fn eval_mode_changes_nothing_and_repeats() {
    let (resnet, all) = resnet(&tiny(Block::V1_5, Stem::Small));
    let x = ramp(&[3, 3, 16, 16]);
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let before: Vec<_> = all.iter().map(|(_, t)| values(t)).collect();
    let first = values(&resnet.forward(&x, Mode::Eval).unwrap());
    assert_eq!(first, values(&resnet.forward(&x, Mode::Eval).unwrap()));
    assert_eq!(before, all.iter().map(|(_, t)| values(t)).collect::<Vec<_>>());
    // Each image goes its own way: a batch gives what its parts give.
    let alone = values(&resnet.forward(&x.narrow(0, 1, 1).unwrap(), Mode::Eval).unwrap());
    assert!(alone.iter().zip(&first[5..10]).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn an_image_that_is_a_variable_gets_its_gradient() {
    let (resnet, _) = resnet(&tiny(Block::V1_5, Stem::Small));
    let x = candle_core::Var::from_tensor(&ramp(&[2, 3, 8, 8])).unwrap();
    let grads = resnet.forward(&x, Mode::Eval).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().dims(), [2, 3, 8, 8]);
}

#[test]
fn errors_name_what_was_met_and_expected() {
    let vb = || VarBuilder::zeros(DType::F32, &Device::Cpu);
    let config = EncoderConfig { width: 0, ..Default::default() };
    assert_eq!(Trunk::new(&config, vb()).unwrap_err().to_string(), "encoder.width: 0 given, expected 1 to 1024");
    let config = EncoderConfig { depths: vec![3, 0], ..Default::default() };
    assert!(Trunk::new(&config, vb()).unwrap_err().to_string().contains("[3, 0]"));
    let trunk = Trunk::new(&tiny(Block::V1_5, Stem::Small), vb()).unwrap();
    let wrong = trunk.forward(&ramp(&[2, 1, 8, 8]), Mode::Eval).unwrap_err();
    assert!(matches!(wrong, Error::Shape { .. }), "{wrong}");
    assert_eq!(wrong.to_string(), "image: expected (B, 3, H, W), none of them empty, got [2, 1, 8, 8]");
}

#[test]
fn every_small_batch_gives_finite_embeddings_or_is_a_named_error() {
    for (block, stem) in [(Block::V1_5, Stem::Small), (Block::V1_5, Stem::ImageNet), (Block::V2, Stem::Small)] {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let trunk = Trunk::new(&EncoderConfig { depths: vec![1, 1, 1], ..tiny(block, stem) }, vb).unwrap();
        for shape in [1, 2, 3, 5, 8, 9].map(|side| [side, 1]).into_iter().flat_map(|[h, w]| [[h, w], [w, h], [h, h]]) {
            for (b, mode) in [(1, Mode::Train), (2, Mode::Train), (1, Mode::Eval)] {
                let x = ramp(&[b, 3, shape[0], shape[1]]);
                let largest = match stem {
                    Stem::Small => 4, // two stages halve it
                    Stem::ImageNet => 16,
                };
                let one_value = b == 1 && mode == Mode::Train && shape[0].max(shape[1]) <= largest;
                match trunk.forward(&x, mode) {
                    Ok(y) => {
                        let values: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
                        assert!(
                            !one_value && values.iter().all(|y| y.is_finite()),
                            "{block:?}, {stem:?}, {:?}",
                            x.dims()
                        );
                        assert_eq!(y.dims(), [b, trunk.embed_dim()]);
                    }
                    Err(Error::Shape { what: "image", .. }) if one_value => {}
                    Err(error) => panic!("{block:?}, {stem:?}, {:?}: {error}", x.dims()),
                }
            }
        }
    }
}

#[test]
fn sizes_and_types_that_a_trunk_cannot_take_are_named() {
    let trunk = Trunk::new(&tiny(Block::V1_5, Stem::Small), VarBuilder::zeros(DType::F32, &Device::Cpu)).unwrap();
    for shape in [&[2, 3, 8][..], &[8, 8], &[], &[0, 3, 8, 8], &[2, 3, 0, 8], &[2, 4, 8, 8]] {
        let x = ramp(shape);
        let errors = [trunk.forward(&x, Mode::Eval).unwrap_err(), trunk.activations(&x, Mode::Eval).unwrap_err()];
        assert!(errors.iter().all(|e| matches!(e, Error::Shape { what: "image", .. })), "{shape:?}: {errors:?}");
    }
    let bytes = ramp(&[2, 3, 8, 8]).to_dtype(DType::U8).unwrap();
    let text = trunk.forward(&bytes, Mode::Eval).unwrap_err().to_string();
    assert_eq!(text, "image: expected elements of type f32, got u8");
    for (images, size) in [(0, (8, 8)), (1, (0, 8)), (1, (8, 0)), (1, (1 << 40, 8)), (usize::MAX, (8, 8))] {
        assert!(matches!(trunk.products(images, size), Err(Error::Shape { what: "image", .. })), "{images}, {size:?}");
    }
    assert_eq!(trunk.products(1, (1, 1)).unwrap().len(), 1 + 4 * 3 + 3);
    for config in [
        EncoderConfig { in_channels: usize::MAX, ..Default::default() },
        EncoderConfig { depths: vec![usize::MAX], ..Default::default() },
        EncoderConfig { width: usize::MAX, ..Default::default() },
    ] {
        let error = Trunk::new(&config, VarBuilder::zeros(DType::F32, &Device::Cpu)).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
}
