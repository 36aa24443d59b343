//! `selfie export`: what is written, what it says of itself, and what is refused. What PyTorch makes of it is in
//! `take_home.rs`.

use crate::bad_input::refuses;
use crate::place::{Place, TINY, json};
use selfie_train::Weights;
use serde_json::json;

#[test]
fn a_pretrained_trunk_is_the_same_network_again() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out run --quiet"));
    let found = json(&place, "export --from run --out home.safetensors");
    assert_eq!((&found["complete"], &found["format"]), (&false.into(), &"torchvision".into()));
    let of_file = Weights::open(&place.path("home.safetensors")).unwrap();
    let of_run = Weights::open(&place.path("run/encoder.safetensors")).unwrap();
    let names = |weights: &Weights| weights.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&of_file), names(&of_run));
    let said = of_file.metadata().unwrap();
    assert_eq!((&said["width"], &said["depths"]), (&8.into(), &json!([1, 1, 1])));
    assert_eq!((&said["block"], &said["input_size"]), (&"v1.5".into(), &json!([3, 32, 32])));
    assert_eq!((&said["run"], &said["step"], &said["weights"]), (&"run".into(), &2.into(), &"raw".into()));
    assert!(said["stem"].as_str().unwrap().starts_with("small") && said["data"]["mean"][2].is_f64());
    assert!(said["git_commit"].is_string() || said["git_commit"].is_null());
    let of = |from: &str| json(&place, &format!("linear-eval --from {from} --features image"))["results"].clone();
    assert_eq!(of("home.safetensors"), of("run"));
}

#[test]
fn the_file_and_the_recipe_state_the_view_of_evaluation() {
    let place = Place::new();
    let raw = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/foreign_v1_5.pth");
    let found = json(&place, &format!("export --from {} --out home.safetensors", raw.display()));
    let view = &found["metadata"]["preprocessing"];
    assert_eq!(
        (&view["resize"], &view["center_crop"]),
        (&selfie_train::Transform::eval_resize(224).into(), &224.into())
    );
    assert_eq!(view["interpolation"], "bilinear, antialiased");
    let (_, recipe) = found["snippet"].as_str().unwrap().split_once("\nfrom PIL").unwrap();
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    assert!(recipe.contains("F.resize(image, 256), 224)") && readme.contains(recipe), "{recipe}");
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    let small = json(&place, "export --from run --out small.safetensors")["metadata"]["preprocessing"].clone();
    assert_eq!((&small["resize"], &small["center_crop"]), (&37.into(), &32.into()));
}

#[test]
fn another_width_gets_a_module_beside_it_and_says_so() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    let text = place.run("export --from run --out my-home.safetensors");
    for words in ["builds width 64", "width 8 with depths [1,1,1]", "from my_home import load", "load(\"my-home.saf"] {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
    let module = std::fs::read_to_string(place.path("my_home.py")).unwrap();
    assert!(module.contains("width=8, depths=[1, 1, 1], small_stem=True, classes=0"), "{module}");
}

#[test]
fn a_finetuned_network_is_complete_and_names_its_classes() {
    let place = Place::new();
    let tiny = "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --steps 1 --batch-size 4";
    place.run(&format!("finetune --from scratch {tiny} --out tuned --quiet"));
    let found = json(&place, "export --from tuned --format timm --out home.safetensors");
    assert_eq!((&found["complete"], &found["metadata"]["num_classes"]), (&true.into(), &12.into()));
    assert_eq!(found["metadata"]["classes"].as_array().unwrap().len(), 12);
    let weights = Weights::open(&place.path("home.safetensors")).unwrap();
    assert_eq!(weights.get("fc.weight").unwrap().dims(), [12, 256]);
    // Again, from the file that came out.
    let again = json(&place, "export --from home.safetensors --out again.safetensors");
    assert_eq!((&again["complete"], &again["metadata"]["run"]), (&true.into(), &"tuned".into()));
}

#[test]
fn the_average_and_the_trained_weights_can_be_chosen() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --set run.ema_decay=0.9 --out run --quiet"));
    let weights = |which: &str| {
        let found = json(&place, &format!("export --from run --out {which}.safetensors --weights {which}"));
        assert_eq!(found["metadata"]["weights"], which);
        let weights = Weights::open(&place.path(&format!("{which}.safetensors"))).unwrap();
        weights.get("conv1.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_ne!(weights("ema"), weights("raw"));
    assert_eq!(json(&place, "export --from run --out used.safetensors")["metadata"]["weights"], "ema");
    refuses(&place, "export --from run --out new.safetensors --weights best", 2, &["`best`", "ema or raw"]);
    let file = "export --from ema.safetensors --out new.safetensors --weights raw";
    refuses(&place, file, 2, &["raw", "ema.safetensors", "one kind"]);
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --set encoder.block=v2 --steps 1 --out run --quiet"));
    let export = |rest: &str| format!("export --from run {rest}");
    refuses(&place, &export("--out a.safetensors"), 2, &["torchvision", "v2", "expected timm"]);
    refuses(&place, &export("--format onnx --out a.safetensors"), 2, &["`onnx`", "torchvision, timm or safetensors"]);
    refuses(&place, &export("--format timm --out a.pth"), 2, &["a.pth", ".safetensors"]);
    refuses(&place, &export("--format timm --out a.safetensors --weights ema"), 2, &["ema", "run.ema_decay"]);
    refuses(&place, &export("--format timm --out a.safetensors --checkpoint 9"), 2, &["9", "expected one of 1"]);
    refuses(&place, "export --from nowhere --out a.safetensors", 2, &["nowhere", "no such"]);
    place.run("export --from run --format timm --out a.safetensors");
    refuses(&place, &export("--format timm --out a.safetensors"), 2, &["a.safetensors", "already"]);
}
