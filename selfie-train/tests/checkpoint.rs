//! Checkpoints that are damaged, foreign or of another model are recognised, and told in one line.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_nn::Init;
use selfie_train::{Best, Checkpoint, Error, OptimConfig, OptimName, Optimizer, ParamStore, Record};

fn store(width: usize) -> ParamStore {
    let store = ParamStore::new(0, &Device::Cpu);
    let vb = store.builder();
    vb.get_with_hints((width, 3), "encoder.weight", Init::Randn { mean: 0.0, stdev: 1.0 }).unwrap();
    vb.get_with_hints(width, "encoder.running_mean", Init::Const(0.5)).unwrap();
    store
}

fn optimizer(store: &ParamStore, name: OptimName) -> Optimizer {
    Optimizer::new(&OptimConfig { name, ..OptimConfig::default() }, store).unwrap()
}

fn record() -> Record {
    let best = Some(Best { step: 2, accuracy: 0.1 + 0.2 });
    Record {
        step: 3,
        updates: 3,
        skipped: 0,
        position: 12,
        train_images: 10,
        image_names: Some("0badcafe".to_owned()),
        best,
        config: serde_json::json!({ "optim": { "lr": 0.1 } }),
    }
}

/// A checkpoint of a model of width 4 with AdamW.
fn written(folder: &Path) -> PathBuf {
    let (path, store) = (folder.join("step-00000003.safetensors"), store(4));
    Checkpoint::write(&path, &store, &optimizer(&store, OptimName::AdamW), None, &record()).unwrap();
    path
}

fn reason(result: Result<impl Sized, Error>) -> String {
    let error = result.err().expect("must be refused");
    assert!(matches!(error, Error::Checkpoint { .. }) && error.exit_code() == 1, "{error:?}");
    let message = error.to_string();
    assert!(message.contains("step-00000003.safetensors: ") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn what_is_written_is_read_and_the_same_state_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let (first, checkpoint) = (fs::read(&path).unwrap(), Checkpoint::read(&path).unwrap());
    assert_eq!(checkpoint.record(), &record());
    let store = store(4);
    let mut optimizer = optimizer(&store, OptimName::AdamW);
    checkpoint.restore(&store, &mut optimizer, None).unwrap();
    Checkpoint::write(&path, &store, &optimizer, None, checkpoint.record()).unwrap();
    assert!(fs::read(&path).unwrap() == first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1); // no temporary file stays
}

#[test]
fn every_single_damaged_byte_or_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x04;
        fs::write(&path, damaged).unwrap();
        let store = store(4);
        let mut optimizer = optimizer(&store, OptimName::AdamW);
        let read = Checkpoint::read(&path).and_then(|checkpoint| checkpoint.restore(&store, &mut optimizer, None));
        assert!(read.is_err(), "byte {at} of {} flipped without notice", whole.len());
        fs::write(&path, &whole[..at]).unwrap();
        reason(Checkpoint::read(&path));
    }
}

#[test]
fn a_missing_file_weights_alone_and_another_version_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-00000003.safetensors");
    assert!(reason(Checkpoint::read(&path)).contains("No such file"));
    let tensors = store(4).tensors().into_iter().collect();
    selfie_train::write_tensors(&path, &tensors, serde_json::json!({})).unwrap();
    assert!(reason(Checkpoint::read(&path)).contains("no checkpoint of a run"));
    selfie_train::write_tensors(&path, &tensors, serde_json::json!({ "format": "selfie checkpoint", "version": 99 }))
        .unwrap();
    assert!(reason(Checkpoint::read(&path)).contains("checkpoint version 99, expected 1"));
}

#[test]
fn a_checkpoint_of_another_model_or_optimiser_names_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::read(&written(folder.path())).unwrap();
    let wide = store(8);
    let message = reason(checkpoint.restore(&wide, &mut optimizer(&wide, OptimName::AdamW), None));
    assert!(message.contains("encoder.weight has shape [4, 3], expected [8, 3]"), "{message}");
    let same = store(4);
    let message = reason(checkpoint.restore(&same, &mut optimizer(&same, OptimName::Sgd), None));
    assert!(message.contains("optimiser state momentum_buffer.encoder.weight is missing"), "{message}");
}
