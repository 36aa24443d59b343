//! Scratch against pretrained: the table, going on, the budget, bad input; and what fine-tuning can vary.

use crate::place::{Place, TINY, json};
use serde_json::Value;

/// A comparison of four tiny cells.
const SMALL: &str = "compare --from run --fractions 2/class,4/class --seeds 1 --steps 2 --batch-size 8 --out versus";

fn pretrained() -> Place {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out run --quiet"));
    place
}

/// Two photographs a class of the sample, in a folder of their own.
fn copy_of_sample(place: &Place, split: &str) {
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../selfie-train/sample").join(split);
    for class in std::fs::read_dir(sample).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let folder = place.path("other").join(split).join(class.file_name().unwrap());
        std::fs::create_dir_all(&folder).unwrap();
        for file in std::fs::read_dir(&class).unwrap().map(|entry| entry.unwrap().path()).take(4) {
            std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
}

fn text(place: &Place, file: &str) -> String {
    std::fs::read_to_string(place.path(file)).unwrap()
}

#[test]
fn a_comparison_keeps_its_cells_goes_on_and_takes_further_seeds() {
    let place = pretrained();
    let found = json(&place, SMALL);
    let fractions = found["fractions"].as_array().unwrap();
    assert_eq!((fractions.len(), &fractions[0]["train_images"]), (2, &24.into()));
    assert_eq!((&found["arms"][0]["arm"], &found["arms"][1]["arm"]), (&"scratch".into(), &"run".into()));
    assert_eq!((&fractions[1]["differences"][0]["interval"], &found["test_images"]), (&Value::Null, &48.into()));
    for file in ["compare.json", "compare.md", "compare.svg", "compare.png", "report.html", "compare.toml"] {
        assert!(place.path("versus").join(file).is_file(), "{file}");
    }
    assert_eq!(std::fs::read_dir(place.path("versus/cells")).unwrap().count(), 4);
    // On a narrow screen each cell stands beside its heading, and the chart has letters of its own size.
    let page = text(&place, "versus/report.html");
    for words in
        ["<td data-label=\"scratch\">", "<td data-label=\"top-1\">", "class=\"narrow\"", "<pre>selfie compare "]
    {
        assert!(page.contains(words), "no '{words}'");
    }

    // One cell is lost, and a second seed asked for: what is kept is not trained again.
    let cell = "versus/cells/scratch-2-per-class-seed0.result.json";
    let (lost, kept) = (text(&place, cell), text(&place, "versus/cells/run-2-per-class-seed0.result.json"));
    std::fs::remove_file(place.path(cell)).unwrap();
    let call = place.call(&SMALL.replace("--seeds 1", "--seeds 2 --paper cifar10"));
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    assert!(call.stdout.contains("kept       3 cells"), "{}", call.stdout);
    for words in ["| 2/class | 24 | 2 |", "± ", " to ", "Published, not ours", "| 5% | 75.9 ± 0.7 | 75.9 ± 0.4 |"] {
        assert!(call.stdout.contains(words), "no '{words}' in {}", call.stdout);
    }
    let top1 = |text: &str| serde_json::from_str::<Value>(text).unwrap()["report"]["top1"].clone();
    assert_eq!(top1(&text(&place, cell)), top1(&lost)); // the same seed, the same figure
    assert_eq!(text(&place, "versus/cells/run-2-per-class-seed0.result.json"), kept);

    // Other settings and other images are not mixed in.
    std::fs::create_dir(place.path("other")).unwrap();
    for split in ["train", "val"] {
        copy_of_sample(&place, split);
    }
    let call = place.call(&format!("{SMALL} --data other"));
    assert_eq!(call.status, Some(2));
    assert!(call.stderr.contains("data.source met \"sample\", expected \"other\""), "{}", call.stderr);
    let call = place.call(&SMALL.replace("--steps 2", "--steps 3"));
    assert_eq!(call.status, Some(2));
    assert!(call.stderr.contains("finetune.steps met 2, expected 3"), "{}", call.stderr);
}

#[test]
fn a_budget_leaves_out_whole_pairs_and_says_so() {
    let place = pretrained();
    let call = place.call(&format!("{SMALL} --budget 1s").replace("--steps 2", "--steps 4000"));
    assert_eq!(call.status, Some(2), "{}", call.stdout);
    assert!(call.stderr.contains("--budget") && call.stderr.contains("not one pair"), "{}", call.stderr);
    let found = json(&place, &format!("{SMALL} --budget 1h"));
    assert_eq!(found["left_out"], Value::Array(Vec::new()));
}

#[test]
fn what_cannot_be_compared_is_told_before_any_training() {
    let place = pretrained();
    place.run(&format!("pretrain {TINY} --set encoder.width=16 --steps 1 --out wide --quiet"));
    let cases = [
        ("--from run --seeds 0", "--seeds: met 0, expected at least 1"),
        ("--from run --from wide", "expected EncoderConfig { width: 8"),
        ("--from run --from ./run/", "met ./run/ twice"),
        ("--from run/encoder.safetensors --set finetune.head=attnpool --data sample", "has no attention pooling"),
        ("--from run --fractions 2/class,2/class", "different shares"),
        ("--from run --fractions 0%", "0%"),
        ("--from run --fractions 17/class", "has only 16 images"),
        ("--from scratch", "no pretrained weights"),
        ("--from run --fractions 2/class --tune", "expected more labels"),
        ("--from run --budget soon", "expected a time such as 2h"),
        ("--from run --paper mnist", "expected cifar10, imagenet32 or imagenet224"),
    ];
    for (arguments, words) in cases {
        let call = place.call(&format!("compare {arguments} --out versus"));
        assert_eq!(call.status, Some(2), "{arguments}: {}", call.stderr);
        assert!(call.stderr.contains(words), "no '{words}' in {}", call.stderr);
        assert!(!place.path("versus").exists(), "{arguments}");
    }
}

#[test]
fn the_rate_is_chosen_on_held_out_labels_and_the_trials_are_kept() {
    let place = pretrained();
    let tune =
        "finetune --from run --labels 8/class --steps 2 --batch-size 8 --set finetune.tune_lrs=[0.01,0.02] --tune";
    let found = json(&place, &format!("{tune} --out tuned"));
    let trials = found["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[0]["lr"], &trials[0]["images"]), (2, &0.01.into(), &12.into()));
    let best = if trials[1]["accuracy"].as_f64() > trials[0]["accuracy"].as_f64() { 0.02 } else { 0.01 };
    assert_eq!((&found["lr"], &found["train_images"]), (&best.into(), &96.into()));
    assert!(found["protocol"].as_str().unwrap().contains("rate chosen on a tenth"));
    assert!(text(&place, "tuned/config.toml").contains(&format!("\nlr = {best}\n")));
}

#[test]
fn a_comparison_chooses_each_rate_and_a_rate_that_diverges_is_only_a_bad_one() {
    let place = pretrained();
    let rates = "--set finetune.tune_lrs=[0.01,1e30]";
    let found = json(&place, &format!("{SMALL} --tune {rates}").replace("2/class,4/class", "8/class"));
    for cell in found["cells"].as_array().unwrap() {
        assert_eq!((&cell["lr"], &cell["trials"][1]["train_loss"]), (&0.01.into(), &Value::Null));
    }
}

#[test]
fn heads_and_frozen_stages_change_what_is_trained() {
    let place = pretrained();
    let tune = "finetune --labels 2/class --steps 2 --batch-size 8";
    let pool = json(&place, &format!("{tune} --from run --head attnpool --out pool"));
    assert!(pool["protocol"].as_str().unwrap().contains("the attention pooling, over all patches"));
    assert!(place.path("pool/patch-pool.safetensors").is_file());
    let fresh = json(&place, &format!("{tune} --from run --head attnpool-fresh --freeze-stages 3 --out fresh"));
    assert!(fresh["protocol"].as_str().unwrap().contains("stages 1 to 3 frozen"));

    let call = place.call(&format!("{tune} --from run/encoder.safetensors --data sample --head attnpool --out x"));
    assert_eq!(call.status, Some(2));
    assert!(call.stderr.contains("has no attention pooling"), "{}", call.stderr);
    let call = place.call(&format!("{tune} --from run --freeze-stages 4 --out x"));
    assert!(call.stderr.contains("met 4, expected at most 3"), "{}", call.stderr);
}
