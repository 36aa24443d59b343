//! The composed model: every parameter is reached, names are those that other tools know, evaluation is deterministic.
#![allow(clippy::unwrap_used)]

mod small;

use candle_core::{DType, Device, Tensor};
use selfie_train::{
    Batch, Gradients, MaskedPatches, Mode, Output, ParamStore, Phase, RunConfig, SelfieModel, Task, TaskOutput,
};

struct Built {
    store: ParamStore,
    task: MaskedPatches,
}

fn built(config: &RunConfig) -> Built {
    let store = ParamStore::new(0, &Device::Cpu);
    let task = MaskedPatches::new(SelfieModel::new(config, store.builder()).unwrap(), config).unwrap();
    Built { store, task }
}

/// A wave of values, (B, C, H, W).
fn images(b: usize, size: usize) -> Tensor {
    let values = (0..b * 3 * size * size).map(|i| (i as f32 * 0.7).sin() + (i as f32 * 0.011).cos()).collect();
    Tensor::from_vec(values, (b, 3, size, size), &Device::Cpu).unwrap()
}

fn forward(built: &Built, images: &Tensor, phase: Phase, mode: Mode) -> Output {
    let keys: Vec<_> = (0..images.dim(0).unwrap() as u64).collect();
    let puzzle = built.task.puzzle(&keys, phase, &Device::Cpu).unwrap();
    built.task.model().forward(images, &puzzle, mode).unwrap()
}

const TRAIN: Phase = Phase::Train { step: 0 };

/// Small models of all kinds, with the side of their images.
fn kinds() -> Vec<(&'static str, RunConfig)> {
    let tiny = small::config(std::path::Path::new("unused"), 1);
    let with = |change: fn(&mut RunConfig)| {
        let mut config = tiny.clone();
        change(&mut config);
        config
    };
    vec![
        ("full positions, small stem", tiny.clone()),
        ("pre-activation blocks", with(|c| c.encoder.block = selfie_encoder::Block::V2)),
        ("scaled logits", with(|c| c.loss.logits = selfie_loss::Logits::Scaled)),
        ("cosine logits", with(|c| c.loss.logits = selfie_loss::Logits::Cosine)),
        ("a subset of distractors", with(|c| c.loss.num_distractors = 2)),
        ("one mask a batch", with(|c| c.patch.mask = selfie_patch::MaskScope::PerBatch)),
        (
            "row and column positions, pooled stem",
            with(|c| {
                c.encoder.stem = selfie_encoder::Stem::ImageNet;
                c.attnpool.positions = selfie_attnpool::Positions::RowColumn;
                (c.patch.image_size, c.patch.patch_size, c.patch.num_targets) = (96, 32, 3);
            }),
        ),
    ]
}

#[test]
fn every_parameter_receives_a_gradient() {
    for (kind, config) in kinds() {
        let built = built(&config);
        let output =
            forward(&built, &images(6, config.patch.image_size), TRAIN, Mode::Train { dropout: 1, first_image: 0 });
        let parameters = built.store.parameters();
        let gradients = Gradients::backward(&output.loss, &parameters).unwrap();
        for (at, parameter) in parameters.iter().enumerate() {
            let gradient = gradients.get(at).unwrap_or_else(|| panic!("{kind}: {} has no gradient", parameter.name));
            let size = gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(size > 0.0 && size.is_finite(), "{kind}: {} has the gradient {size}", parameter.name);
        }
    }
}

/// On the CPU they are emulated.
#[test]
fn bf16_products_train_weights_that_stay_in_f32() {
    let config = small::config(std::path::Path::new("unused"), 1);
    let mut rounded = config.clone();
    rounded.run.precision = selfie_train::Precision::Bf16;
    let [exact, rounded] = [config, rounded].map(|config| {
        let built = built(&config);
        let output = forward(&built, &images(6, 32), TRAIN, Mode::Train { dropout: 1, first_image: 0 });
        let gradients = Gradients::backward(&output.loss, &built.store.parameters()).unwrap();
        let all = (0..built.store.parameters().len()).map(|at| gradients.get(at).unwrap());
        assert!(all.clone().all(|gradient| gradient.dtype() == candle_core::DType::F32));
        (output.loss.to_scalar::<f32>().unwrap(), gradients.norm().unwrap())
    });
    assert!(exact.0 != rounded.0 && (exact.0 / rounded.0 - 1.0).abs() < 0.02, "{exact:?} {rounded:?}");
    assert!((exact.1 / rounded.1 - 1.0).abs() < 0.1, "{exact:?} {rounded:?}");
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (kind, mut config) in kinds() {
        config.attnpool.dropout = 0.0;
        let built = built(&config);
        let x = images(6, config.patch.image_size);
        let loss = || forward(&built, &x, TRAIN, Mode::Train { dropout: 0, first_image: 0 }).loss;
        let value = || f64::from(loss().to_scalar::<f32>().unwrap());
        let parameters = built.store.parameters();
        let gradients = Gradients::backward(&loss(), &parameters).unwrap();
        // Along the gradient itself the slope is its norm.
        let norm = gradients.norm().unwrap();
        let step = 2e-3 / norm;
        let walk = |by: f64| {
            for (at, parameter) in parameters.iter().enumerate() {
                let moved = (parameter.var.as_tensor() + (gradients.get(at).unwrap() * by).unwrap()).unwrap();
                parameter.var.set(&moved).unwrap();
            }
        };
        walk(step / norm);
        let above = value();
        walk(-2.0 * step / norm);
        let slope = (above - value()) / (2.0 * step);
        assert!((slope / norm - 1.0).abs() < 0.05, "{kind}: slope {slope}, norm of the gradient {norm}");
    }
}

#[test]
fn shapes_are_those_of_the_letters() {
    let config = small::config(std::path::Path::new("unused"), 1);
    let output = forward(&built(&config), &images(5, 32), TRAIN, Mode::Train { dropout: 1, first_image: 0 });
    let (b, n, m, d) = (5, 16, 4, config.encoder.embed_dim());
    assert_eq!(output.h.dims(), [b, n, d]);
    assert_eq!(output.u.dims(), [b, d]);
    assert_eq!(output.queries.dims(), [b, m, d]);
    assert_eq!(output.logits.dims(), [b, m, m]);
    assert_eq!((output.correct.dims(), output.correct.dtype()), (&[b, m][..], DType::U8));
    assert_eq!((output.loss.rank(), output.accuracy.rank()), (0, 0));
}

#[test]
fn evaluation_is_deterministic_and_leaves_the_running_statistics_alone() {
    let config = small::config(std::path::Path::new("unused"), 1);
    let built = built(&config);
    let statistics = || built.store.get("encoder.bn1.running_mean").unwrap().to_vec1::<f32>().unwrap();
    let logits = || {
        forward(&built, &images(3, 32), Phase::Eval { seed: 1 }, Mode::Eval)
            .logits
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    let before = statistics();
    assert_eq!(logits(), logits());
    assert_eq!(statistics(), before);
    forward(&built, &images(3, 32), TRAIN, Mode::Train { dropout: 1, first_image: 0 });
    assert_ne!(statistics(), before);
}

#[test]
fn several_masks_at_once_are_answered_as_one_by_one() {
    let built = built(&small::config(std::path::Path::new("unused"), 1));
    let batch = Batch { images: images(3, 32), labels: None, indices: vec![0, 1, 2], keys: vec![0, 1, 2] };
    let together = built.task.evaluate(&batch, &[4, 5]).unwrap();
    for (seed, answers) in [4, 5].into_iter().zip(together) {
        let alone = built.task.loss(&batch, Phase::Eval { seed }).unwrap();
        let loss = |of: &TaskOutput| of.loss.to_scalar::<f32>().unwrap();
        assert_eq!(loss(&answers), loss(&alone));
        assert_eq!(answers.correct.to_vec2::<u8>().unwrap(), alone.correct.to_vec2::<u8>().unwrap());
    }
}

#[test]
fn variables_have_torchvision_s_and_pytorch_s_names() {
    let store = built(&small::config(std::path::Path::new("unused"), 1)).store;
    for name in [
        "encoder.conv1.weight",
        "encoder.bn1.running_var",
        "encoder.layer1.0.downsample.0.weight",
        "encoder.layer3.0.bn3.bias",
        "attnpool.u0",
        "attnpool.pos",
        "attnpool.layers.0.self_attn.in_proj_weight",
        "attnpool.layers.0.norm2.bias",
    ] {
        assert!(store.get(name).is_some(), "{name}");
    }
}
