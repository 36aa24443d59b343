//! From photographs to figures in seconds: pretraining, the pretext task, fine-tuning, linear evaluation, speed.

use crate::place::{Place, TINY, json};
use serde_json::Value;

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
    for words in expected.into_iter().chain(["selfie finetune --from run", "selfie linear-eval --from run"]) {
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
    let (low, high) = (test["interval"][0].as_f64().unwrap(), test["interval"][1].as_f64().unwrap());
    assert!((low + high - 2.0 * test["accuracy"].as_f64().unwrap()).abs() < 1e-9 && low <= high);
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
    // What was fine-tuned can be an origin again, with all four stages: D = 32 · 8.
    let again = json(&place, "linear-eval --from tuned --features image");
    assert_eq!((&again["results"][0]["dim"], &again["stages"]), (&256.into(), &4.into()));
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
fn knn_eval_reports_each_kind_of_features_and_each_k() {
    let place = pretrained();
    let found = json(&place, "knn-eval --from run --k 1,20 --out near");
    let of = |result: &Value| (result["features"].as_str().unwrap().to_owned(), result["k"].as_u64().unwrap());
    let results = found["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(of).collect();
    assert_eq!(names, [("image", 1), ("image", 20), ("patches", 1), ("patches", 20)].map(|(f, k)| (f.to_owned(), k)));
    assert!(results.iter().all(|result| result["images"] == 48 && result["top1"].is_f64()));
    assert!(found["protocol"].as_str().unwrap().starts_with("kNN evaluation"));
    assert!(place.path("near/result.json").is_file() && place.path("near/labels.txt").is_file());
    let usual = json(&place, "knn-eval --from run --features image");
    let ks: Vec<_> = usual["results"].as_array().unwrap().iter().map(|result| result["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [20, 192]); // there are no 200
    let call = place.call("knn-eval --from run --k 0");
    assert_eq!(call.status, Some(2));
    assert!(call.stderr.contains("--k: met 0, expected 1 to 192"), "{}", call.stderr);
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

#[test]
fn a_run_ends_with_its_report_which_needs_nothing_else() {
    let place = Place::new();
    let text = place.run(&format!("pretrain {TINY} --steps 4 --set run.checkpoint_every=2 --out run"));
    assert!(text.contains("report     run/report.html"), "{text}");
    let page = std::fs::read_to_string(place.path("run/report.html")).unwrap();
    for words in
        ["What it learned", "before training", "step 2", "What looks alike", "How it went", "optim", "selfie pretrain"]
    {
        assert!(page.contains(words), "no '{words}'");
    }
    for request in ["src=\"http", "href=\"http", "<script", "@import", "url("] {
        assert!(!page.contains(request), "{request}");
    }
    for picture in ["loss", "accuracy", "learning-rate", "speed", "masked-patches", "history", "neighbours"] {
        let path = place.path(&format!("run/report/{picture}.png"));
        let png = std::fs::read(&path).unwrap();
        let picture = selfie_train::Image8::decode(&png, &path, 3).unwrap();
        assert!(picture.width() > 200 && picture.height() > 100);
    }
    // Without its images and checkpoints there is still a page, which says so.
    std::fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    let call = place.call("report run");
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    assert!(call.stderr.contains("left out"), "{}", call.stderr);
    assert!(std::fs::read_to_string(place.path("run/report.html")).unwrap().contains("Not shown: "));
}

/// The report of `run`.
fn page(place: &Place, run: &str) -> String {
    std::fs::read_to_string(place.path(run).join("report.html")).unwrap()
}

#[test]
fn the_report_of_a_fine_tuning_has_its_classes_and_no_empty_section() {
    let place = Place::new();
    let tiny = "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --steps 2 --batch-size 8";
    let found = json(&place, &format!("finetune --from scratch {tiny} --out tuned"));
    let page = page(&place, "tuned");
    assert!(page.contains("<p>done: 2 steps</p>") && !page.contains("What it learned"), "{page}");
    let error = format!("± {:.1}\u{a0}% on 48 images", 100.0 * found["standard_error"].as_f64().unwrap());
    assert!(page.contains(&error), "no '{error}'");
    for class in found["per_class"].as_array().unwrap() {
        let row = format!("<tr><td>{}</td>", class["class"].as_str().unwrap());
        assert!(page.contains(&row), "no '{row}'");
    }
}

#[test]
fn the_report_of_a_pretraining_shows_its_test_accuracy_until_it_goes_on() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out run --quiet"));
    let tile = "Accuracy, test split";
    assert!(!page(&place, "run").contains(tile));
    assert!(page(&place, "run").contains("± "), "the held-out accuracy has its standard error");
    place.run("masked-eval --from run --split train --quiet"); // not the test split
    assert!(!place.path("run/masked-eval.json").exists());
    let found = json(&place, "masked-eval --from run");
    place.run("report run");
    let accuracy = format!("{tile}</span><strong>{:.1}\u{a0}%", 100.0 * found["accuracy"].as_f64().unwrap());
    assert!(page(&place, "run").contains(&accuracy), "no '{accuracy}'");
    place.run("pretrain --resume run --steps 4 --quiet"); // other weights
    assert!(!page(&place, "run").contains(tile));
}

#[test]
fn commands_on_the_page_begin_with_the_name_of_the_program() {
    let place = Place::new();
    let arguments = format!("pretrain {TINY} --steps 1 --out run --quiet");
    let started = place.command(&arguments).env("SELFIE_STARTED_AS", "cargo xtask").status().unwrap();
    assert!(started.success() && page(&place, "run").contains("cargo xtask pretrain --config"));
    place.run("report run");
    assert!(page(&place, "run").contains("selfie pretrain --config") && !page(&place, "run").contains("cargo xtask"));
}

#[test]
fn runs_are_listed_with_their_state() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out runs/group/one --quiet"));
    place.run(&format!("pretrain {TINY} --steps 1 --out runs/two --quiet"));
    let table = place.run("runs");
    assert!(table.contains("runs/group/one") && table.contains("2/2") && table.contains("done"), "{table}");
    let found: Value = serde_json::from_str(&place.run("runs runs --json")).unwrap();
    let runs = found["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["path"], &runs[0]["state"]), (2, &"runs/two".into(), &"done".into()));
    assert!(runs[1]["loss"].is_f64() && runs[1]["chance"] == 0.25);
    assert!(place.run("runs runs/two").contains("1/1"));
    assert_eq!(place.call("runs nowhere").status, Some(1));
}

#[test]
fn the_hold_out_of_a_run_is_its_own() {
    let place = pretrained();
    for split in ["heldout", "train"] {
        let call = place.call(&format!("masked-eval --from run --split {split} --set data.holdout=0.5"));
        assert_eq!(call.status, Some(2), "{}", call.stderr);
        assert!(call.stderr.contains("data.holdout: got 0.5, expected 0.05, the run's own share"), "{}", call.stderr);
    }
    place.run("masked-eval --from run --split test --set data.holdout=0.5 --masks 1 --quiet"); // reads no hold-out
}

#[test]
fn advice_fits_the_data() {
    let place = Place::new();
    let photographs = concat!(env!("CARGO_MANIFEST_DIR"), "/../selfie-train/sample/train/butterfly");
    let text = place.run(&format!("pretrain {TINY} --data {photographs} --steps 2 --out run"));
    assert!(text.contains("next       selfie embed --from run --data"), "{text}");
    assert!(!text.contains("finetune --from") && !text.contains("linear-eval --from"), "{text}"); // no labels
    let next = text.lines().find_map(|line| line.strip_prefix("next       selfie ")).unwrap();
    place.run(&format!("{next} --quiet"));
}

#[test]
fn a_run_notes_the_build_that_trained_it() {
    let place = pretrained();
    let text = std::fs::read_to_string(place.path("run/env.json")).unwrap();
    let environment: Value = serde_json::from_str(&text).unwrap();
    assert!(environment["candle"].as_str().is_some_and(|version| version.starts_with("0.")), "{text}");
    let version = place.run("--version");
    match environment["git_commit"].as_str() {
        Some(commit) => assert!(version.contains(&commit[..9]), "{version} of {commit}"),
        None => assert!(environment["git_modified"].is_null(), "{text}"),
    }
    assert_eq!(environment["git_modified"] == Value::Bool(true), version.contains("modified"), "{version}");
}
