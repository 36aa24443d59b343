//! Weights of other projects on the command line: which network is used, mean and standard deviation, and stage 4.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use selfie_train::Pretrained;

use crate::bad_input::refuses;
use crate::place::{Place, TINY, json};

/// Small images, so that a network for photographs is quick.
const SMALL: &str = "--data sample --set patch.image_size=32 --set patch.patch_size=8 --set patch.num_targets=4";

/// A whole ResNet of one block a stage, as PyTorch saved it.
fn resnet() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/foreign_v1_5.pth")
}

/// Writes the tensors of [`resnet`] behind each prefix, changed by `change`, to a safetensors file without metadata.
fn write(place: &Place, name: &str, prefixes: &[&str], change: impl Fn(&str, &Tensor) -> Tensor) {
    let weights = Pretrained::open(&resnet(), None).unwrap().encoder;
    let named = |prefix: &str| -> Vec<_> {
        weights.iter().map(|(name, tensor)| (format!("{prefix}{name}"), change(name, tensor))).collect()
    };
    let tensors: HashMap<_, _> = prefixes.iter().flat_map(|prefix| named(prefix)).collect();
    candle_core::safetensors::save(&tensors, place.path(name)).unwrap();
}

fn same(_: &str, tensor: &Tensor) -> Tensor {
    tensor.clone()
}

/// Everything that a call prints, which must succeed.
fn notes(place: &Place, arguments: &str) -> String {
    let call = place.call(arguments);
    assert_eq!(call.status, Some(0), "{arguments}: {}", call.stderr);
    call.stdout + &call.stderr
}

#[test]
fn every_command_takes_the_prefix_of_one_of_several_networks() {
    let place = Place::new();
    write(&place, "two.safetensors", &["teacher.", "student."], same);
    let tail = format!("{SMALL} --set finetune.steps=1 --set finetune.batch_size=4 --labels 4/class");
    for (command, tail) in [
        ("import two.safetensors --out i.safetensors", ""),
        ("export --from two.safetensors --format safetensors --out e.safetensors", ""),
        ("embed --from two.safetensors --split test --out f.npy --features image", SMALL),
        ("knn-eval --from two.safetensors --labels 4/class", SMALL),
        ("linear-eval --from two.safetensors --labels 4/class", SMALL),
        ("finetune --from two.safetensors --out tuned", &tail),
    ] {
        refuses(&place, &format!("{command} {tail}"), 2, &["two.safetensors", "2 networks", "student., teacher."]);
        let text = notes(&place, &format!("{command} {tail} --prefix teacher"));
        assert!(text.contains("below teacher."), "{command}: {text}");
    }
    let record = std::fs::read_to_string(place.path("tuned/env.json")).unwrap();
    assert!(record.contains("\"prefix\": \"teacher\""), "{record}");
    let init = "pretrain --preset quick --set encoder.width=2 --set encoder.depths=[1,1,1] --set encoder.stem=imagenet \
                --init-from two.safetensors --steps 1 --batch-size 4 --out run";
    refuses(&place, init, 2, &["2 networks"]);
    let text = notes(&place, &format!("{init} --init-prefix student"));
    assert!(
        text.contains("torchvision's names below student.") && text.contains("tensors not used: teacher."),
        "{text}"
    );
}

#[test]
fn mean_and_deviation_of_raw_weights_never_come_from_the_queried_images() {
    let place = Place::new();
    let raw = resnet();
    place.run(&format!("import {} --out imported.safetensors --quiet", raw.display()));
    let features = |from: &str, split: &str, out: &str| {
        let text = notes(&place, &format!("embed --from {from} --split {split} --features image --out {out} {SMALL}"));
        (std::fs::read(place.path(out)).unwrap(), text)
    };
    let (of_raw, text) = features(&raw.display().to_string(), "test", "raw.npy");
    assert!(text.contains("normalize  mean [0.485, 0.456, 0.406]") && text.contains("ImageNet's"), "{text}");
    let (imported, text) = features("imported.safetensors", "test", "imported.npy");
    assert_eq!(of_raw, imported);
    assert!(!text.contains("normalize "), "{text}"); // the imported file records them
    let (all, _) = features(&raw.display().to_string(), "all", "all.npy");
    assert_eq!(all[all.len() - 1000..], imported[imported.len() - 1000..]); // the last images are the test split's
    let text = notes(&place, &format!("embed --from scratch --preset quick --out s.npy --features image {SMALL}"));
    assert!(text.contains("measured on the images of sample"), "{text}");
}

#[test]
fn a_whole_network_keeps_its_fourth_stage_unless_it_is_to_start_fresh() {
    let place = Place::new();
    let tune = |more: &str, out: &str| {
        let rate = "--set finetune.lr=1e-30 --set finetune.weight_decay=0 --steps 1 --batch-size 4";
        let text = notes(&place, &format!("finetune --from {} {SMALL} {rate} --out {out} {more}", resnet().display()));
        let tuned =
            candle_core::safetensors::load(place.path(out).join("resnet.safetensors"), &candle_core::Device::Cpu);
        let values = tuned.unwrap()["layer4.0.conv2.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (values, text)
    };
    let whole = Pretrained::open(&resnet(), None).unwrap();
    let original = whole.encoder.get("layer4.0.conv2.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (kept, text) = tune("", "kept");
    assert!(kept == original && text.contains("stage 4 is kept") && text.contains(", 2 fresh"), "{text}");
    let (fresh, text) = tune("--fresh-stage4", "fresh");
    assert!(fresh != original && text.contains("stage 4 starts from random values"), "{text}");
    // The depth of the kept stage is part of the run's settings, so that a resumed run builds the same network.
    place.run("finetune --resume kept --quiet");
}

#[test]
fn weights_with_a_value_that_is_not_finite_are_refused_by_every_command() {
    let place = Place::new();
    write(&place, "nan.safetensors", &[""], |name, tensor| match name {
        "layer2.0.bn1.bias" => (tensor * f64::NAN).unwrap(),
        _ => tensor.clone(),
    });
    let words = ["nan.safetensors", "tensor layer2.0.bn1.bias", "NaN"];
    for command in ["linear-eval", "knn-eval", "finetune", "embed --out f.npy --features image"] {
        refuses(&place, &format!("{command} --from nan.safetensors {SMALL}"), 2, &words);
    }
    refuses(&place, "export --from nan.safetensors --out e.safetensors", 2, &words);
    refuses(&place, "import nan.safetensors --out i.safetensors", 2, &words);
}

#[test]
fn a_run_whose_weights_are_not_finite_is_not_evaluated() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    let checkpoint = place.path("run/checkpoints/step-00000001.safetensors");
    let weights = selfie_train::Weights::open(&checkpoint).unwrap();
    let nan = |name: &str, tensor: &Tensor| match name {
        "model.encoder.conv1.weight" => (tensor * f64::NAN).unwrap(),
        _ => tensor.clone(),
    };
    let tensors = weights.iter().map(|(name, tensor)| (name.to_owned(), nan(name, tensor))).collect();
    selfie_train::write_tensors(&checkpoint, &tensors, weights.metadata().unwrap().clone()).unwrap();
    for command in ["masked-eval", "linear-eval", "knn-eval"] {
        refuses(&place, &format!("{command} --from run"), 2, &["conv1.weight", "NaN or infinite"]);
    }
}

#[test]
fn features_that_are_not_finite_are_reported() {
    let place = Place::new();
    // Finite weights whose products are not.
    write(&place, "huge.safetensors", &[""], |name, tensor| match name.ends_with("bn3.weight") {
        true => (tensor.ones_like().unwrap() * 3e38).unwrap(),
        false => tensor.clone(),
    });
    let report =
        json(&place, &format!("embed --from huge.safetensors --split test --features image --out f.npy {SMALL}"));
    assert_eq!(report["non_finite"], report["images"]);
    let text = place.run(&format!("embed --from huge.safetensors --split test --features image --out g.npy {SMALL}"));
    assert!(text.contains("rows contain NaN or infinite values; the first is of"), "{text}");
}
