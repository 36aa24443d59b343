//! Exported files in real PyTorch: the printed lines load them into torchvision, timm or the module beside them, and
//! features and logits on photographs are those of our evaluation mode.
//!
//! `xtask/peer/take_home.py` does PyTorch's part. Runs of twenty small steps will do: batch norm's statistics are near
//! those of the images, so that no norm is the identity and features are of a natural size (of values in the thousands, as a
//! rate that is too high for so few images makes them, single precision itself loses more than the 1e-4 that are allowed).

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use candle_core::{Device, Tensor};
use selfie_encoder::{Mode, ResNet};
use selfie_eval::{View, held_trunk, load_trunk};
use selfie_train::{Dataset, ParamStore, Pretrained, RunConfig, Split, normalise_of};
use serde_json::{Value, json};

use crate::import::logits_differ_by;
use crate::place::{Place, TINY, json as result_of};

const SMALL: &str = "--preset quick";
const PHOTOGRAPHS: &str = "--preset sample";
/// What every run has: ResNet-50's depths, and no more work than it needs.
const RUN: &str = "--data photographs --steps 20 --lr 0.0001 --batch-size 2 --set encoder.depths=[3,4,6] \
                   --set run.eval_masks=1 --set run.micro_batch_size=0 --set run.knn_images=0 \
                   --set data.holdout=0.2 --quiet";
/// Photographs a class for training, and for the test.
const IMAGES: (usize, usize) = (6, 2);

/// Name, settings, and the formats that are exported.
const CASES: [(&str, &str, &str, &[&str]); 6] = [
    ("small", SMALL, "--set encoder.width=64", &["torchvision", "timm", "safetensors"]),
    ("small-v2", SMALL, "--set encoder.width=64 --set encoder.block=v2", &["timm", "safetensors"]),
    ("photo", PHOTOGRAPHS, "--set encoder.width=64", &["torchvision", "timm"]),
    ("photo-v2", PHOTOGRAPHS, "--set encoder.width=64 --set encoder.block=v2", &["timm"]),
    ("narrow", SMALL, "--set encoder.width=16", &["torchvision", "timm"]),
    ("narrow-v2", PHOTOGRAPHS, "--set encoder.width=16 --set encoder.block=v2", &["timm"]),
];

/// Runs `take_home.py` in the folder.
fn python(place: &Place, arguments: &[&str]) {
    let python = std::env::var_os("SELFIE_PYTHON").expect("SELFIE_PYTHON names a Python with torch and timm");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/peer/take_home.py").canonicalize().unwrap();
    let status = Command::new(python).arg(script).args(arguments).current_dir(place.path("")).status().unwrap();
    assert!(status.success(), "PyTorch differs; its lines stand above");
}

/// A few of the sample's photographs, of two classes, as a data set of its own.
fn copy_photographs(place: &Place) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selfie-train/sample");
    for (split, count) in [("train", IMAGES.0), ("val", IMAGES.1)] {
        let mut classes: Vec<_> = std::fs::read_dir(sample.join(split)).unwrap().map(|e| e.unwrap().path()).collect();
        classes.sort();
        for class in &classes[..2] {
            let mut files: Vec<_> = std::fs::read_dir(class).unwrap().map(|e| e.unwrap().path()).collect();
            files.sort();
            for file in &files[..count] {
                let (class, name) = (class.file_name().unwrap().display(), file.file_name().unwrap().display());
                place.write(&format!("photographs/{split}/{class}/{name}"), &std::fs::read(file).unwrap());
            }
        }
    }
}

/// Normalised photographs for a run of these settings: (B, C, H, W).
fn photographs(config: &RunConfig) -> Tensor {
    let view = View {
        normalise: normalise_of(config).unwrap(),
        image_size: config.patch.image_size,
        batch_size: 4,
        workers: 1,
        measured: false,
    };
    let images = Dataset::open("sample", Split::Test).unwrap().select(&[0, 13, 26, 39]).unwrap();
    view.batches(&images, &Device::Cpu).unwrap().next().unwrap().unwrap().images
}

/// What our evaluation mode makes of them: features, and logits where there is a classifier.
fn ours(run: &Path) -> HashMap<String, Tensor> {
    let weights = Pretrained::open(run, None).unwrap();
    let config = weights.run.clone().unwrap();
    let images = photographs(&config);
    let shape = held_trunk(&config.encoder, Some(&weights));
    let (_, trunk) = load_trunk(&shape, Some(&weights), 0, &Device::Cpu).unwrap();
    let mut known = HashMap::from([("features".to_owned(), trunk.forward(&images, Mode::Eval).unwrap())]);
    if shape.depths.len() == 4 {
        let store = ParamStore::new(0, &Device::Cpu);
        let network = ResNet::new(&shape, 2, store.builder()).unwrap();
        store.load_matching(&weights.encoder).unwrap();
        known.insert("logits".to_owned(), network.forward(&images, Mode::Eval).unwrap());
    }
    known.insert("images".to_owned(), images);
    known
}

/// Exports `run` in each format; what Python is asked to compare.
fn exported(place: &Place, run: &str, formats: &[&str]) -> Vec<Value> {
    let reference = place.path(&format!("{run}-reference.safetensors"));
    candle_core::safetensors::save(&ours(&place.path(run)), &reference).unwrap();
    let export = |format: &&str| {
        let out = format!("{run}-{format}.safetensors");
        let found = result_of(place, &format!("export --from {run} --format {format} --out {out}"));
        json!({ "name": format!("{run}, {format}"), "snippet": found["snippet"], "left_out": found["left_out"],
                "complete": found["complete"], "reference": reference, "encoder": place.path(run).join("encoder.safetensors") })
    };
    formats.iter().map(export).collect()
}

#[test]
#[ignore = "some minutes, and a Python with torch, torchvision, timm and safetensors: \
            SELFIE_PYTHON=FILE cargo test --test cli take_home -- --ignored --nocapture"]
fn pytorch_finds_the_same_features_and_logits() {
    let place = Place::new();
    copy_photographs(&place);
    let mut cases = Vec::new();
    for (name, preset, settings, formats) in CASES {
        place.run(&format!("pretrain {preset} {settings} {RUN} --out {name}"));
        cases.extend(exported(&place, name, formats));
        let tuned = format!("{name}-tuned");
        place.run(&format!("finetune --from {name} --steps 20 --batch-size 2 --lr 0.0005 --out {tuned} --quiet"));
        cases.extend(exported(&place, &tuned, formats));
        std::fs::remove_dir_all(place.path(&tuned).join("checkpoints")).unwrap(); // some hundred megabytes
    }
    place.write("cases.json", &serde_json::to_vec(&cases).unwrap());
    python(&place, &["compare", "cases.json"]);
}

#[test]
#[ignore = "as above"]
fn imported_networks_of_torchvision_and_timm_have_their_logits() {
    let place = Place::new();
    python(&place, &["make", "."]);
    for file in ["torchvision.pth", "torchvision.safetensors", "timm.pth", "timm-v2.pth", "timm-v2.safetensors"] {
        let name = file.split('.').next().unwrap();
        place.run(&format!("import {file} --out imported-{file}.safetensors"));
        for read in [place.path(file), place.path(&format!("imported-{file}.safetensors"))] {
            let difference = logits_differ_by(&read, &place.path(&format!("{name}-reference.safetensors")));
            println!("{}: largest difference of logits {difference:.1e}", read.file_name().unwrap().display());
            assert!(difference < 1e-4, "{file}");
        }
    }
}

#[test]
#[ignore = "as above, with numpy"]
fn the_printed_view_gives_the_features_of_embed() {
    let place = Place::new();
    copy_photographs(&place);
    python(&place, &["images", "."]);
    let raw = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/foreign_v1_5.pth");
    let exported = result_of(&place, &format!("export --from {} --out home.safetensors", raw.display()));
    place.write("snippet.py", exported["snippet"].as_str().unwrap().as_bytes());
    place.run(&format!("embed --from {} --data images --features image --out f.npy --quiet", raw.display()));
    python(&place, &["view", "."]);
}

#[test]
#[ignore = "as above, with numpy, pandas and pyarrow"]
fn python_reads_the_embeddings() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    place.run("embed --from run --out f.safetensors --quiet");
    place.run("embed --from run --out f.npy --features image --quiet");
    place.run("embed --from run --out f.parquet --quiet");
    python(&place, &["embeddings", "f"]);
}
