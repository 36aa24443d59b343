//! `selfie import`, and weights of PyTorch where ours are taken (`xtask/golden/foreign_resnet.py` made the small ones).

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use selfie_encoder::{Mode, ResNet};
use selfie_eval::held_trunk;
use selfie_train::{ParamStore, Pretrained};
use serde_json::json;

use crate::bad_input::refuses;
use crate::place::{Place, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The largest difference between our logits with the weights in `file` and those in `reference`.
pub fn logits_differ_by(file: &Path, reference: &Path) -> f32 {
    let weights = Pretrained::open(file, None).unwrap();
    let known = candle_core::safetensors::load(reference, &Device::Cpu).unwrap();
    let config = held_trunk(weights.encoder_config.as_ref().unwrap(), Some(&weights));
    let store = ParamStore::new(0, &Device::Cpu);
    let network = ResNet::new(&config, known["logits"].dim(1).unwrap(), store.builder()).unwrap();
    let report = store.load_matching(&weights.encoder).unwrap();
    assert!(report.missing.is_empty() && report.reshaped.is_empty() && report.unexpected.is_empty(), "{report:?}");
    let logits = network.forward(&known["images"], Mode::Eval).unwrap();
    let differences = (logits - &known["logits"]).and_then(|d: Tensor| d.abs()?.flatten_all()).unwrap();
    differences.to_vec1::<f32>().unwrap().into_iter().fold(0.0, f32::max)
}

#[test]
fn an_imported_network_has_the_logits_of_pytorch() {
    let place = Place::new();
    for name in ["v1_5", "v2"] {
        let (pth, reference) = (golden(&format!("foreign_{name}.pth")), golden(&format!("foreign_{name}.safetensors")));
        let found = json(&place, &format!("import {} --out {name}.safetensors", pth.display()));
        assert_eq!((&found["complete"], &found["metadata"]["num_classes"]), (&true.into(), &3.into()));
        assert_eq!(found["metadata"]["depths"], json!([1, 1, 1, 1]));
        for file in [pth.as_path(), &place.path(&format!("{name}.safetensors"))] {
            let difference = logits_differ_by(file, &reference);
            assert!(difference < 1e-4, "{}: {difference}", file.display());
        }
    }
    assert!(!place.path("v1_5.py").exists());
}

#[test]
fn mean_and_deviation_are_noted_and_used() {
    let place = Place::new();
    let pth = golden("foreign_v1_5.pth");
    let import = |rest: &str| format!("import {} {rest}", pth.display());
    let said = json(&place, &import("--out a.safetensors"))["metadata"]["data"].clone();
    assert!((said["mean"][0].as_f64().unwrap() - 0.485).abs() < 1e-6 && said["std"][2].is_f64(), "{said}");
    place.run(&import("--out b.safetensors --mean 0.1,0.2,0.3 --std 0.5,0.5,0.5"));
    let weights = Pretrained::open(&place.path("b.safetensors"), None).unwrap();
    assert_eq!(weights.normalise, Some((vec![0.1, 0.2, 0.3], vec![0.5; 3])));
    refuses(&place, &import("--out c.safetensors --mean 0.1 --std 0.5"), 2, &["--mean", "expected 3 numbers"]);
    refuses(&place, &import("--out c.safetensors --mean 0,0,0 --std 1,0,1"), 2, &["--std", "above 0"]);
}

#[test]
fn training_starts_from_weights_of_pytorch() {
    let place = Place::new();
    for name in ["v1_5", "v2"] {
        let pth = golden(&format!("foreign_{name}.pth"));
        let data = "--data sample --set patch.image_size=32 --set patch.patch_size=8 --set data.mean=[0.5,0.5,0.5] \
                    --set data.std=[0.5,0.5,0.5] --set patch.num_targets=4";
        let from = pth.display();
        let tuned = json(&place, &format!("finetune --from {from} {data} --steps 1 --batch-size 4 --out tuned-{name}"));
        assert!(tuned["checkpoint"].as_str().unwrap().ends_with(".pth"));
        let shape = "--preset quick --set encoder.width=2 --set encoder.depths=[1,1,1]";
        let (block, stem) = if name == "v2" { ("v2", "small") } else { ("v1.5", "imagenet") };
        let shape = format!("{shape} --set encoder.block={block} --set encoder.stem={stem}");
        let text = place.run(&format!("pretrain {shape} --init-from {from} --steps 1 --batch-size 4 --out run-{name}"));
        assert!(text.contains("tensors from") && text.contains("without use here: "), "{text}");
    }
}

#[test]
fn what_is_no_network_is_refused() {
    let place = Place::new();
    let evil = [b"PK\x03\x04".as_slice(), b"cut off"].concat();
    place.write("cut.pth", &evil);
    place.write("old.pth", b"\x80\x02cposix\nsystem\nX\x05\x00\x00\x00touch\x85R.");
    refuses(&place, "import cut.pth --out a.safetensors", 2, &["cut.pth", "zip archive"]);
    refuses(&place, "import old.pth --out a.safetensors", 2, &["old.pth", "bare pickle"]);
    refuses(&place, "finetune --from old.pth --data sample", 2, &["old.pth", "bare pickle"]);
    refuses(&place, "pretrain --preset quick --init-from old.pth --out run", 2, &["old.pth", "bare pickle"]);
    refuses(&place, "import nowhere.pth --out a.safetensors", 2, &["nowhere.pth", "no such"]);
    let other = golden("foreign_v2.safetensors"); // tensors, but no network
    refuses(
        &place,
        &format!("import {} --out a.safetensors", other.display()),
        2,
        &["contains no ResNet", "features [2, ", "timm"],
    );
}
