//! The parameter store: order, seeds, first values, saving and loading.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::Init;
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use selfie_train::{ParamStore, Weights, write_tensors};

const HE_FAN_OUT: Init =
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU };

fn store(seed: u64) -> ParamStore {
    let store = ParamStore::new(seed, &Device::Cpu);
    let vb = store.builder();
    vb.pp("z").get_with_hints((64, 32, 3, 3), "weight", HE_FAN_OUT).unwrap();
    vb.pp("bn").get_with_hints(8, "running_mean", Init::Const(0.0)).unwrap();
    vb.pp("a").get_with_hints((40, 50), "weight", Init::Randn { mean: 1.0, stdev: 0.02 }).unwrap();
    store
}

fn values(store: &ParamStore, name: &str) -> Vec<f32> {
    store.get(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn weights(path: &Path, tensors: &[(&str, Tensor)]) -> Weights {
    let tensors: BTreeMap<_, _> = tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    write_tensors(path, &tensors, serde_json::json!({})).unwrap();
    Weights::open(path).unwrap()
}

#[test]
fn tensors_come_in_the_order_of_their_first_request_and_buffers_are_no_parameters() {
    let store = store(0);
    store.builder().get((40, 50), "a.weight").unwrap();
    let all: Vec<_> = store.tensors().into_iter().map(|(name, _)| name).collect();
    assert_eq!(all, ["z.weight", "bn.running_mean", "a.weight"]);
    let trained: Vec<_> = store.parameters().into_iter().map(|parameter| parameter.name).collect();
    assert_eq!(trained, ["z.weight", "a.weight"]);
    assert!(store.parameters().iter().all(|parameter| parameter.var.is_variable()));
    assert!(!store.get("bn.running_mean").unwrap().is_variable());
}

#[test]
fn first_values_depend_on_seed_and_name_alone() {
    let (one, same, other) = (store(1), ParamStore::new(1, &Device::Cpu), store(2));
    same.builder().get_with_hints((40, 50), "a.weight", Init::Randn { mean: 1.0, stdev: 0.02 }).unwrap();
    assert_eq!(values(&one, "a.weight"), values(&same, "a.weight"));
    assert_ne!(values(&one, "a.weight"), values(&other, "a.weight"));
}

#[test]
fn first_values_have_the_mean_and_deviation_asked_for() {
    let store = store(3);
    for (name, mean, deviation) in [("a.weight", 1.0, 0.02), ("z.weight", 0.0, (2.0f64 / (64.0 * 9.0)).sqrt())] {
        let tensor = store.get(name).unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        let got = tensor.mean_all().unwrap().to_scalar::<f64>().unwrap();
        let n = tensor.elem_count() as f64;
        assert!((got - mean).abs() < 4.0 * deviation / n.sqrt(), "{name}: mean {got}");
        let got = tensor.var(0).unwrap().to_scalar::<f64>().unwrap().sqrt();
        assert!((got / deviation - 1.0).abs() < 4.0 / (2.0 * n).sqrt(), "{name}: deviation {got}");
    }
}

#[test]
fn a_name_asked_for_in_another_shape_is_refused() {
    let error = store(0).builder().get((50, 40), "a.weight").unwrap_err().to_string();
    assert!(error.contains("a.weight") && error.contains("[50, 40]"), "{error}");
}

#[test]
fn layers_see_what_is_loaded_into_parameters_and_buffers() {
    let (from, to) = (store(1), store(2));
    let held = to.tensors(); // what layers hold
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_tensors(&path, &from.tensors().into_iter().collect(), serde_json::json!({ "a": 1 })).unwrap();
    to.load(&Weights::open(&path).unwrap()).unwrap();
    for (name, tensor) in held {
        assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values(&from, &name), "{name}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes_and_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(0);
    let before = values(&store, "z.weight");
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let given = [("z.weight", zeros(&[64, 32, 3, 3])), ("a.weight", zeros(&[4, 5])), ("bn.running_mean", zeros(&[8]))];
    let weights = weights(&folder.path().join("w.safetensors"), &given);
    let message = store.load(&weights).unwrap_err().to_string();
    assert!(message.ends_with("w.safetensors: a.weight has shape [4, 5], expected [40, 50]"), "{message}");
    assert_eq!(values(&store, "z.weight"), before);
}

#[test]
fn partial_loading_reports_matched_missing_unexpected_and_reshaped() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let given = [
        ("z.weight", zeros(&[64, 32, 3, 3])),
        ("a.weight", zeros(&[4, 5])),
        ("fc.weight", zeros(&[2])),
        ("bn.num_batches_tracked", zeros(&[1])),
    ];
    let store = store(0);
    let report = store.load_matching(&weights(&folder.path().join("w.safetensors"), &given)).unwrap();
    assert_eq!((report.matched, report.missing), (vec!["z.weight".to_owned()], vec!["bn.running_mean".to_owned()]));
    assert_eq!(report.unexpected, ["fc.weight"]);
    assert_eq!(report.reshaped, [("a.weight".to_owned(), vec![4, 5], vec![40, 50])]);
    assert!(values(&store, "z.weight").iter().all(|&value| value == 0.0));
}

#[test]
fn a_file_cut_short_or_with_a_flipped_bit_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    weights(&path, &[("a", Tensor::zeros(100, DType::F32, &Device::Cpu).unwrap())]);
    let whole = std::fs::read(&path).unwrap();
    for (damaged, expected) in
        [(whole[..whole.len() - 1].to_vec(), "neither a complete safetensors file"), (flipped(&whole), "damaged")]
    {
        std::fs::write(&path, damaged).unwrap();
        let message = Weights::open(&path).unwrap_err().to_string();
        assert!(
            message.contains(expected) && message.contains("w.safetensors") && !message.contains('\n'),
            "{message}"
        );
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    bytes
}

#[test]
fn other_readers_of_safetensors_accept_our_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensor = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu).unwrap();
    weights(&path, &[("b", tensor.clone()), ("a", tensor)]);
    let bytes = std::fs::read(&path).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("a").unwrap().data(), read.tensor("b").unwrap().data());
    assert_eq!(read.tensor("b").unwrap().shape(), [2, 2]);
}
