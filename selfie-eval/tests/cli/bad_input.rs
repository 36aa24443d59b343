//! What a user meets on the command line: help, and for every bad input one line, the right exit status, and nothing
//! written.

use crate::place::{Place, TINY};

/// How the lines begin that describe the data, or follow an error with a hint.
const DESCRIBING: [&str; 7] = ["data ", "train ", "test ", "not read ", "skipped ", "note ", "hint: "];

/// Asserts the exit status, one line on stderr that holds every word (beside those that describe the data), nothing on stdout,
/// and nothing new in the folder.
pub fn refuses(place: &Place, arguments: &str, status: i32, words: &[&str]) {
    let before = place.names();
    let call = place.call(arguments);
    assert_eq!(call.status, Some(status), "{arguments}: {}", call.stderr);
    let describes = |line: &&str| DESCRIBING.iter().any(|word| line.starts_with(word));
    let lines: Vec<_> = call.stderr.lines().filter(|line| !describes(line)).collect();
    let [line] = lines[..] else { panic!("{arguments}: {}", call.stderr) };
    assert!(line.starts_with("error: ") && call.stdout.is_empty(), "{arguments}: {line} {}", call.stdout);
    for word in words {
        assert!(line.contains(word), "{arguments}: no '{word}' in {line}");
    }
    assert_eq!(place.names(), before, "{arguments}");
}

#[test]
fn every_command_has_its_help() {
    let place = Place::new();
    for command in [
        "pretrain-imagenet",
        "pretrain",
        "finetune",
        "masked-eval",
        "linear-eval",
        "embed",
        "export",
        "import",
        "runs",
        "report",
        "bench",
        "bench step",
        "plan",
    ] {
        let page = place.run(&format!("{command} --help"));
        assert!(page.contains("Usage: selfie") && page.contains("--help"), "{page}");
    }
    let page = place.run("finetune --help");
    for option in ["--data", "--out", "--seed", "--device", "--threads", "--config", "--set", "--quiet", "--json"] {
        assert!(page.contains(option), "no {option} in {page}");
    }
}

#[test]
fn bad_usage_is_told_in_one_line() {
    let place = Place::new();
    refuses(&place, "pretrian", 2, &["pretrian", "the nearest is 'pretrain'"]);
    refuses(&place, "finetune --form x", 2, &["--form", "the nearest is '--from'"]);
    refuses(&place, "finetune", 2, &["--from"]);
    refuses(&place, "pretrain --resume", 2, &["--resume RUN"]);
    refuses(&place, "pretrain --resume a --init-from b", 2, &["--init-from"]);
    assert_eq!(place.call("").status, Some(2));
}

#[test]
fn a_plan_that_cannot_be_is_refused_before_it_measures() {
    let place = Place::new();
    refuses(&place, "plan --ranks 3", 2, &["--ranks", "met 3", "run.batch_size = 1024"]);
    refuses(&place, "plan --images-per-second -1", 2, &["--images-per-second", "met -1"]);
    refuses(&place, "plan --ranks 2 --bandwidth 0", 2, &["--bandwidth", "met 0"]);
    refuses(&place, "plan --preset imagenet", 2, &["imagenet"]);
}

#[test]
fn a_plan_tells_every_figure_with_its_assumption() {
    let place = Place::new();
    let plan = "plan --preset quick --images-per-second 64 --ranks 2 --bandwidth 1 --image-bytes 1000 --steps 450";
    let text = place.run(plan);
    // 128 images on two ranks at 64 images/s are a second a step, and next to nothing to average.
    assert!(text.contains("450 steps of 128 images, 2 ranks"), "{text}");
    let words =
        ["all-reduce", "1 GB/s each way, as given", "memory, a rank", "checkpoint", "1.0 kB an image", "held out"];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    let json: serde_json::Value = serde_json::from_str(&place.run(&format!("{plan} --json"))).unwrap();
    let figures = json["costs"]["figures"].as_array().unwrap();
    let hours = figures.iter().find(|figure| figure["name"] == "all_steps_hours").unwrap()["value"].as_f64().unwrap();
    assert!((0.125..0.127).contains(&hours), "{hours}");
    assert!(figures.iter().all(|figure| figure["assumption"].as_str().is_some_and(|words| words.len() > 5)));
}

#[test]
fn bad_settings_name_key_value_and_expectation() {
    let place = Place::new();
    place.write("bad.toml", b"[optim]\nlr = \"fast\"\n");
    place.write("torn.toml", b"[optim\n");
    refuses(&place, "pretrain --set optim.lrr=1", 2, &["optim.lrr", "the nearest is optim.lr"]);
    refuses(&place, "pretrain --set run.steps=many", 2, &["run.steps", "`many`", "a whole number"]);
    refuses(&place, "pretrain --steps -3", 2, &["--steps", "-3", "0 or more"]);
    refuses(&place, "pretrain --set nonsense", 2, &["`nonsense`", "section.key=value"]);
    refuses(&place, "pretrain --preset huge", 2, &["`huge`", "cifar10"]);
    refuses(&place, "pretrain --set patch.patch_size=7", 2, &["32", "7"]);
    refuses(&place, "pretrain --config bad.toml", 2, &["bad.toml", "optim.lr", "a number"]);
    refuses(&place, "pretrain --config torn.toml", 2, &["torn.toml", "line 1"]);
    refuses(&place, "pretrain --config none.toml", 2, &["none.toml"]);
    refuses(&place, "bench step --patch-size 7", 2, &["32", "7"]);
    refuses(&place, "bench step --task sleep", 2, &["`sleep`", "pretrain or finetune"]);
}

#[test]
fn bad_data_names_the_place() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    place.write("broken/train/a/x.jpg", b"no image");
    place.write("broken/train/b/y.jpg", b"no image");
    place.write("flat/z.png", b"no image");
    let quick = |data: &str| format!("pretrain {TINY} --steps 1 --out out --data {data}");
    refuses(&place, &quick("nowhere"), 2, &["no such folder", "nowhere"]);
    refuses(&place, &quick("empty"), 2, &["no images", "empty", ".jpg"]);
    refuses(&place, &quick("broken --on-bad-image fail"), 1, &["broken/train/", ".jpg", "neither JPEG, PNG"]);
    refuses(&place, &quick("zip:file"), 2, &["zip", "folder:DIR"]);
    let finetune = |data: &str| format!("finetune --from scratch --preset quick --out out --data {data}");
    refuses(&place, &finetune("flat"), 2, &["flat", "no labels"]);
    refuses(&place, &finetune("broken"), 2, &["broken", "no test split"]);
    refuses(&place, "finetune --from scratch --labels 0.05", 2, &["\"0.05\"", "5%", "400/class"]);
    refuses(&place, "linear-eval --from scratch --labels 900/class", 2, &["900/class", "has only"]);
}

#[test]
fn bad_devices_are_told() {
    let place = Place::new();
    refuses(&place, "pretrain --preset quick --device tpu", 2, &["`tpu`", "cuda:N"]);
    // Whatever the program was built for: there are not so many.
    refuses(&place, "pretrain --preset quick --device cuda:99", 2, &["--device", "cuda:99"]);
}

#[test]
fn bad_origins_are_told() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    place.write("text.safetensors", b"no tensors");
    for command in ["finetune", "linear-eval"] {
        refuses(&place, &format!("{command} --from nowhere"), 2, &["nowhere", "scratch"]);
        refuses(&place, &format!("{command} --from empty"), 2, &["empty", "holds no run"]);
        refuses(&place, &format!("{command} --from text.safetensors"), 2, &["text.safetensors", "safetensors file"]);
        refuses(&place, &format!("{command} --from scratch --checkpoint 3"), 2, &["--checkpoint", "3"]);
        refuses(&place, &format!("{command} --from scratch --data empty"), 2, &["--preset", "cifar10"]);
    }
    refuses(&place, "masked-eval --from nowhere", 2, &["nowhere", "no such run directory"]);
    refuses(&place, "linear-eval --from scratch --features all", 2, &["`all`", "image or patches"]);
}

#[test]
fn a_run_is_not_written_over_and_misfits_are_named() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    refuses(&place, &format!("pretrain {TINY} --steps 1 --out run"), 2, &["run", "already holds a run", "--resume"]);
    refuses(&place, "finetune --from run --out run", 2, &["run", "already holds a run"]);
    refuses(&place, "finetune --from run --preset quick", 2, &["--preset", "quick", "run"]);
    refuses(&place, "finetune --resume run", 2, &["run", "no fine-tuning run"]);
    let width = ["conv1.weight", "[8, 3, 3, 3]", "[16, 3, 3, 3]"];
    refuses(&place, "finetune --from run --set encoder.width=16 --out new", 2, &width);
    refuses(&place, "linear-eval --from run/encoder.safetensors --set encoder.width=16", 2, &width);
    refuses(&place, "masked-eval --from run --set encoder.width=16", 2, &width);
    refuses(&place, "masked-eval --from run --checkpoint 7", 2, &["7", "1"]);
    refuses(&place, "masked-eval --from run --masks 0", 2, &["--masks", "0"]);
    refuses(&place, "masked-eval --from run --split all", 2, &["`all`", "heldout"]);
    refuses(&place, "pretrain --resume run --lr 3", 2, &["optim.lr", "0.001", "3"]);
    place.run("finetune --from run --steps 1 --batch-size 4 --out tuned --quiet");
    refuses(&place, "finetune --resume tuned --lr 3", 2, &["finetune.lr", "0.02", "3"]);
}

#[test]
fn a_damaged_checkpoint_is_a_failure_and_not_a_panic() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    let checkpoint = place.path("run/checkpoints/step-00000001.safetensors");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&checkpoint, &bytes).unwrap();
    refuses(&place, "masked-eval --from run", 1, &["step-00000001.safetensors", "damaged"]);
    std::fs::write(&checkpoint, &bytes[..middle]).unwrap();
    refuses(&place, "finetune --from run", 1, &["step-00000001.safetensors"]);
}
