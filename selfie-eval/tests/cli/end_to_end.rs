//! From photographs to figures in seconds: pretraining, the pretext task, fine-tuning, linear evaluation, speed.

use crate::place::{Place, TINY};
use serde_json::Value;

/// The one line on stdout, read.
fn json(place: &Place, arguments: &str) -> Value {
    let stdout = place.run(&format!("{arguments} --quiet --json"));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

fn pretrained() -> Place {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 3 --out run --quiet"));
    place
}

#[test]
fn pretraining_shows_settings_figures_paths_and_what_comes_next() {
    let place = Place::new();
    let text = place.run(&format!("pretrain {TINY} --steps 2 --out run"));
    let expected =
        ["width = 8", "steps = 2", "trained ", "held out ", "(4 masks each; chance 0.2500)", "run/encoder.safetensors"];
    for words in expected.into_iter().chain(["cargo xtask finetune --from run", "cargo xtask linear-eval --from run"]) {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
    for file in ["config.toml", "env.json", "metrics.jsonl", "encoder.safetensors", "checkpoints/latest"] {
        assert!(place.path("run").join(file).is_file(), "{file}");
    }
}

#[test]
fn the_main_job_needs_no_data_and_asks_the_photographs_of_the_test_split() {
    let place = Place::new();
    let small = "--steps 1 --batch-size 4 --set encoder.width=8 --set encoder.depths=[1,1,1] --set data.holdout=0.02";
    let call = place.call(&format!("pretrain-imagenet {small} --out run"));
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    let expected =
        ["no --data", "patch_size = 32", "num_targets = 12", "test split of sample", "8 masks each", "chance 0.0833"];
    for words in expected {
        assert!(call.stdout.contains(words), "no '{words}' in {}", call.stdout);
    }
    assert_eq!(call.stdout.matches("no --data").count(), 1, "{}", call.stdout);
}

#[test]
fn masked_eval_tells_accuracy_beside_chance() {
    let place = pretrained();
    let test = json(&place, "masked-eval --from run");
    assert_eq!((&test["split"], &test["chance"], &test["passes"]), (&"test".into(), &0.25.into(), &4.into()));
    assert_eq!((&test["step"], &test["data"]), (&3.into(), &"sample".into()));
    assert!(test["accuracy"].is_f64() && test["standard_error"].is_f64() && test["above_chance"].is_boolean());
    assert_eq!(json(&place, "masked-eval --from run"), test); // the same seed, the same masks
    let held_out = json(&place, "masked-eval --from run --split heldout --masks 2 --out result");
    assert_eq!((&held_out["split"], &held_out["passes"]), (&"heldout".into(), &2.into()));
    let kept: Value = serde_json::from_slice(&std::fs::read(place.path("result/result.json")).unwrap()).unwrap();
    assert_eq!(kept, held_out);
}

#[test]
fn finetuning_takes_the_patch_network_and_tests_the_whole_split() {
    let place = pretrained();
    let found = json(&place, "finetune --from run --labels 4/class --steps 2 --batch-size 8 --out tuned");
    assert_eq!((&found["train_images"], &found["images"], &found["steps"]), (&48.into(), &48.into(), &2.into()));
    assert_eq!((&found["labels"], &found["split"]), (&"4/class".into(), &"test".into()));
    assert_eq!(found["per_class"].as_array().unwrap().len(), 12);
    assert!(found["checkpoint"].as_str().unwrap().ends_with("step-00000003.safetensors"), "{found}");
    for file in ["config.toml", "result.json", "resnet.safetensors", "metrics.jsonl"] {
        assert!(place.path("tuned").join(file).is_file(), "{file}");
    }
    // What was fine-tuned can be an origin again: its first three stages.
    let again = json(&place, "linear-eval --from tuned --features image");
    assert_eq!(again["results"].as_array().unwrap().len(), 1);
    json(
        &place,
        "linear-eval --from tuned/resnet.safetensors --features image --data sample --preset quick --set encoder.width=8 --set encoder.depths=[1,1,1]",
    );
}

#[test]
fn scratch_is_the_same_without_an_origin() {
    let place = Place::new();
    let tiny = "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --steps 2 --batch-size 8";
    let found = json(&place, &format!("finetune --from scratch {tiny} --out tuned"));
    assert_eq!((&found["from"], &found["checkpoint"]), (&"scratch".into(), &Value::Null));
    let same = json(&place, &format!("finetune --from scratch {tiny} --out again"));
    assert_eq!((&same["correct"], &same["train_loss"]), (&found["correct"], &found["train_loss"]));
}

#[test]
fn linear_eval_reports_both_features_by_name() {
    let place = pretrained();
    let found = json(&place, "linear-eval --from run/encoder.safetensors --data sample");
    let results = found["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|result| result["features"].as_str().unwrap()).collect();
    assert_eq!(names, ["image", "patches"]);
    for result in results {
        assert_eq!((&result["dim"], &result["converged"]), (&128.into(), &true.into()));
        assert!(result["top1"].is_f64() && result["l2"].is_f64() && result["holdout_accuracy"].is_f64());
    }
    assert!(found["protocol"].as_str().unwrap().starts_with("linear evaluation"));
}

#[test]
fn threads_take_effect_from_the_option() {
    let place = pretrained();
    let call = place.call("masked-eval --from run --threads 3 --masks 1");
    assert!(call.stdout.contains("cpu, 3 threads"), "{}", call.stdout);
}

#[test]
fn bench_prints_the_line_that_tools_read() {
    let place = Place::new();
    let stdout = place.run("bench step --width 8 --batch-size 2 --steps 2 --warmup 1 --threads 1 --json");
    let line = stdout.lines().last().unwrap();
    assert!(line.starts_with("{\"images_per_second\":"), "{line}");
    let found: Value = serde_json::from_str(line).unwrap();
    assert_eq!(found["step_ms"].as_array().unwrap().len(), 2);
    assert_eq!((&found["width"], &found["batch_size"], &found["threads"]), (&8.into(), &2.into(), &1.into()));
    for key in ["best_images_per_second", "peak_rss_mb", "forward_ms", "backward_ms", "optimiser_ms"] {
        assert!(found[key].is_number(), "{key}");
    }
}
