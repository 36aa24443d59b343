//! Weights files of other projects, written by PyTorch 2.15 and safetensors 0.8 (`xtask/golden/foreign_files.py`).
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use candle_core::Device;
use selfie_train::{FoundNetwork, Naming, Pretrained, Wanted};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/foreign").join(name)
}

fn open(name: &str, prefix: Option<&str>) -> selfie_train::Result<Pretrained> {
    Pretrained::open_wanted(&golden(name), &Wanted { prefix, ..Wanted::default() })
}

/// Opens a file, compares every tensor with the plain file of safetensors, and returns the place of the network.
fn found(name: &str, prefix: Option<&str>) -> FoundNetwork {
    let opened = open(name, prefix).unwrap();
    let expected = candle_core::safetensors::load(golden("plain.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(opened.encoder.iter().count(), expected.len(), "{name}");
    for (tensor, got) in opened.encoder.iter() {
        let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(got.dims(), expected[tensor].dims(), "{name}: {tensor}");
        assert_eq!(values(got), values(&expected[tensor]), "{name}: {tensor}");
    }
    let config = opened.encoder_config.unwrap();
    assert_eq!((config.width, config.depths, config.in_channels), (2, vec![1], 3), "{name}");
    opened.found.unwrap()
}

fn refused(name: &str, prefix: Option<&str>, words: &[&str]) {
    let message = open(name, prefix).unwrap_err().to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
}

#[test]
fn a_network_is_found_behind_any_prefix_and_nesting() {
    for (name, prefix) in [
        ("plain.safetensors", ""),
        ("beside.safetensors", "module."),
        ("extras.pth", "net."),
        ("legacy.pth", "model."),
        ("lightning.ckpt", "state_dict.model._orig_mod.module."),
        ("no_checksums.pth", "state_dict_ema."),
    ] {
        let found = found(name, None);
        assert_eq!((found.prefix.as_str(), found.naming), (prefix, Naming::Torchvision), "{name}");
    }
    let sequential = found("sequential.pth", None);
    assert_eq!((sequential.prefix.as_str(), sequential.naming), ("state_dict.backbone.", Naming::Sequential));
}

#[test]
fn a_prefix_chooses_one_of_several_networks() {
    let encoders = ["2 networks", "state_dict.module.encoder_k.", "state_dict.module.encoder_q."];
    refused("moco.pth", None, &encoders);
    refused("dino.pth", None, &["student.module.backbone., teacher.backbone."]);
    for prefix in ["module.encoder_q", "state_dict.module.encoder_q."] {
        assert_eq!(found("moco.pth", Some(prefix)).prefix, "state_dict.module.encoder_q.");
    }
    assert_eq!(found("dino.pth", Some("teacher.backbone")).prefix, "teacher.backbone.");
    refused("dino.pth", Some("backbone"), &["prefix: got \"backbone\"", "student.module.backbone., teacher.backbone."]);
    refused("dino.pth", Some("encoder"), &["prefix: got \"encoder\"", "teacher.backbone."]);
}

#[test]
fn a_prefix_is_refused_for_weights_of_this_project() {
    let file = tempfile::NamedTempFile::new().unwrap();
    selfie_train::write_tensors(file.path(), &Default::default(), serde_json::json!({})).unwrap();
    let wanted = Wanted { prefix: Some("module"), ..Wanted::default() };
    let message = Pretrained::open_wanted(file.path(), &wanted).unwrap_err().to_string();
    assert!(message.starts_with("prefix: got \"module\""), "{message}");
}

#[test]
fn tensors_that_are_not_used_are_listed_and_never_read() {
    assert_eq!(found("beside.safetensors", None).unused, ["ids", "mask", "scale"]); // bool, int8, uint16
    let moco = found("moco.pth", Some("encoder_q")).unused;
    assert!(
        moco.iter().any(|name| name == "best_acc1") && moco.iter().any(|name| name.ends_with("encoder_k.conv1.weight"))
    );
    assert!(moco.iter().any(|name| name == "state_dict.module.encoder_q.fc.0.weight"), "{moco:?}");
    let extras = found("extras.pth", None).unused;
    for name in ["int8", "uint16", "uint64", "complex64", "conjugated", "float8", "list.0"] {
        assert!(extras.contains(&format!("extras.{name}")), "{name}: {extras:?}");
    }
    assert!(!extras.iter().any(|name| name.contains("num_batches_tracked")));
}

#[test]
fn a_tensor_inside_a_stage_without_a_place_is_an_error() {
    refused("refused_seresnet.pth", None, &["layer1.0.se.fc1.weight has no place"]);
}

#[test]
fn a_file_that_torch_refuses_is_refused_with_the_line_that_saves_it_again() {
    let words = ["argparse.Namespace", "nothing was run", "hint: ", "weights_only=False", "refused_namespace.pth"];
    refused("refused_namespace.pth", None, &words);
}

#[test]
fn a_value_that_is_not_finite_is_refused_with_the_name_of_its_tensor() {
    refused("refused_nan.pth", None, &["tensor layer1.0.conv2.weight: 1 of 36 values"]);
}

#[test]
fn a_damaged_storage_is_recognized_by_its_checksum() {
    let mut bytes = std::fs::read(golden("lightning.ckpt")).unwrap();
    let plain = candle_core::safetensors::load(golden("plain.safetensors"), &Device::Cpu).unwrap();
    let values: Vec<f32> = plain["conv1.weight"].flatten_all().unwrap().to_vec1().unwrap();
    let first = values[0].to_le_bytes();
    let at = bytes.windows(4).position(|window| window == first).unwrap();
    bytes[at + 1] ^= 1; // torch.load returns another value here
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let message = Pretrained::open(file.path(), None).unwrap_err().to_string();
    assert!(message.contains("damaged: member") && message.contains("data/"), "{message}");
}

#[test]
#[cfg(unix)]
fn only_regular_files_are_read() {
    let message = Pretrained::open(Path::new("/dev/zero"), None).unwrap_err().to_string();
    assert!(message.contains("/dev/zero: is not a regular file"), "{message}");
}

#[test]
fn mean_and_deviation_of_a_foreign_file_are_imagenets_with_the_reason() {
    let opened = open("plain.safetensors", None).unwrap();
    assert_eq!(opened.normalise.unwrap().0, [0.485, 0.456, 0.406]);
    assert!(opened.assumed.unwrap().contains("torchvision"));
}
