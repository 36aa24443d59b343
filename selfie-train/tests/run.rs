//! A pretraining run from outside: its directory, its report, starting from weights, and what is refused.
#![allow(clippy::unwrap_used)]

mod small;

use std::fs;
use std::path::Path;

use candle_core::Device;
use selfie_train::{
    Error, EvalSet, PretrainOptions, Pretrained, RunConfig, RunDir, Weights, evaluate, load_run, normalise_of,
    pretrain, read_metrics,
};
use small::{config, images, options};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"), 20);
    folder
}

fn small(folder: &Path) -> RunConfig {
    config(&folder.join("images"), 5)
}

/// The message of a refusal that left nothing behind.
fn refused(config: RunConfig, options: &PretrainOptions, exit_code: u8) -> String {
    let before = options.out.exists();
    let error = pretrain(config, options).unwrap_err();
    assert_eq!(error.exit_code(), exit_code, "{error}");
    assert_eq!(options.out.exists(), before, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn the_directory_holds_what_is_promised() {
    let folder = folder();
    let out = folder.path().join("runs/one");
    let report = pretrain(small(folder.path()), &options(&out)).unwrap();
    assert!(report.files.iter().all(|file| file.is_file()), "{:?}", report.files);
    assert_eq!((report.steps, report.chance), (5, 0.25));

    let run = RunDir::open(&out).unwrap();
    let config = run.config().unwrap();
    assert_eq!((config.data.mean.len(), config.run.steps), (3, 5)); // complete: measured values too
    let environment: serde_json::Value = serde_json::from_slice(&fs::read(out.join("env.json")).unwrap()).unwrap();
    assert!(environment["device"].as_str().unwrap().starts_with("cpu"));
    let steps: Vec<_> = run.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [3, 5]);
    assert_eq!(run.latest_checkpoint().unwrap(), run.checkpoint(5));

    let metrics = read_metrics(&run.metrics_path()).unwrap();
    let trained: Vec<_> = metrics.iter().filter(|line| line["loss"].is_f64()).collect();
    assert_eq!(trained.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4, 5]);
    for key in [
        "epoch",
        "images",
        "loss",
        "accuracy",
        "chance",
        "lr",
        "grad_norm",
        "images_per_second",
        "data_wait",
        "peak_rss_mb",
    ] {
        assert!(trained[0][key].is_number(), "{key}");
    }
    let held_out: Vec<_> = metrics
        .iter()
        .filter(|line| line["held_out_accuracy"].is_f64())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(held_out, [4, 5]);
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    let folder = folder();
    let mut config = small(folder.path());
    (config.run.checkpoint_every, config.run.keep_last) = (1, 2);
    let out = folder.path().join("run");
    pretrain(config, &options(&out)).unwrap();
    let steps: Vec<_> = RunDir::open(&out).unwrap().checkpoints().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [4, 5]);
}

#[test]
fn the_trunk_is_written_with_its_shape_and_starts_another_run() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(small(folder.path()), &options(&out)).unwrap();
    let (of_file, of_run) =
        (Pretrained::open(&out.join("encoder.safetensors"), None).unwrap(), Pretrained::open(&out, None).unwrap());
    let names = |found: &Pretrained| found.encoder.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&of_file), names(&of_run));
    assert!(names(&of_file).contains(&"layer1.0.conv1.weight".to_owned()));
    assert_eq!(of_file.encoder_config, of_run.encoder_config);
    assert_eq!((of_file.normalise, of_file.encoder_config.unwrap().width), (of_run.normalise, 4));

    // Nothing trained yet: the new run begins with the weights of the old one.
    for from in ["run", "run/encoder.safetensors", "run/checkpoints/step-00000003.safetensors"] {
        let next = folder.path().join(format!("from-{}", from.replace('/', "-")));
        let init = PretrainOptions { init_from: Some(folder.path().join(from)), ..options(&next) };
        let mut config = small(folder.path());
        (config.run.steps, config.run.seed, config.optim.lr) = (1, 7, 1e-30);
        pretrain(config, &init).unwrap();
        let started = Pretrained::open(&next, None).unwrap().encoder;
        let expected = Pretrained::open(&folder.path().join(from), None).unwrap().encoder;
        let values =
            |weights: &Weights| weights.get("conv1.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&started), values(&expected), "{from}");
    }
}

#[test]
fn a_run_is_evaluated_again_to_the_accuracy_that_it_reported() {
    let folder = folder();
    let out = folder.path().join("run");
    let report = pretrain(small(folder.path()), &options(&out)).unwrap();
    let (config, _store, task) = load_run(&RunDir::open(&out).unwrap(), None, &Device::Cpu).unwrap();
    let all = selfie_train::Dataset::open(&config.data.source, selfie_train::Split::Train).unwrap();
    let (_, images) = all.split_holdout(config.data.holdout).unwrap();
    let normalise = normalise_of(&config).unwrap();
    let set = EvalSet {
        images,
        normalise,
        image_size: 32,
        batch_size: 3,
        workers: 2,
        passes: config.run.eval_masks,
        seed: config.run.seed,
    };
    let again = evaluate(&task, &set, &Device::Cpu).unwrap();
    let first = report.held_out.unwrap();
    assert_eq!(
        (again.accuracy, again.standard_error, again.images),
        (first.accuracy, first.standard_error, first.images)
    );
}

#[test]
fn a_directory_with_a_run_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(small(folder.path()), &options(&out)).unwrap();
    let before = fs::read(out.join("metrics.jsonl")).unwrap();
    let message = refused(small(folder.path()), &options(&out), 2);
    assert!(message.contains("already holds a run"), "{message}");
    assert_eq!(fs::read(out.join("metrics.jsonl")).unwrap(), before);
}

#[test]
fn bad_input_is_refused_in_one_line_before_anything_is_written() {
    let folder = folder();
    let out = options(&folder.path().join("run"));
    let with = |change: fn(&mut RunConfig)| {
        let mut config = small(folder.path());
        change(&mut config);
        config
    };
    assert!(refused(with(|c| c.data.source = "/no/such/folder".into()), &out, 2).contains("/no/such/folder"));
    assert!(refused(with(|c| c.patch.patch_size = 7), &out, 2).starts_with("patch."));
    let cuda = PretrainOptions { device: selfie_train::DeviceChoice::Cuda(0), ..out.clone() };
    if cuda.device.select().is_err() {
        assert!(refused(with(|_| {}), &cuda, 2).starts_with("--device: met cuda:0"));
    }
    let resume = PretrainOptions { resume: true, ..out.clone() };
    assert!(refused(with(|_| {}), &resume, 2).contains("no such run directory"));
    let both = PretrainOptions { init_from: Some("x".into()), ..resume };
    assert!(refused(with(|_| {}), &both, 2).starts_with("--init-from"));
    let missing = PretrainOptions { init_from: Some("/no/weights.safetensors".into()), ..out.clone() };
    assert!(refused(with(|_| {}), &missing, 2).contains("/no/weights.safetensors"));
    // More than 5 % of all 20, held-out images included.
    for image in ["even/000.png", "odd/001.png"] {
        fs::write(folder.path().join("images").join(image), "no image").unwrap();
    }
    assert!(refused(with(|_| {}), &out, 1).contains("2 of 20 images could not be read"));
}

#[test]
fn weights_of_another_width_are_refused_with_tensor_and_shapes() {
    let folder = folder();
    let wide = folder.path().join("wide");
    let mut config = small(folder.path());
    config.encoder.width = 8;
    pretrain(config, &options(&wide)).unwrap();
    let init =
        PretrainOptions { init_from: Some(wide.join("encoder.safetensors")), ..options(&folder.path().join("run")) };
    let message = refused(small(folder.path()), &init, 2);
    assert!(
        message.contains("encoder.safetensors: encoder.conv1.weight has shape [8, 3, 3, 3], expected [4, 3, 3, 3]"),
        "{message}"
    );
}

#[test]
fn a_damaged_checkpoint_stops_a_resume_by_name() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(small(folder.path()), &options(&out)).unwrap();
    let run = RunDir::open(&out).unwrap();
    let path = run.latest_checkpoint().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = pretrain(run.config().unwrap(), &PretrainOptions { resume: true, ..options(&out) }).unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint { .. }) && error.to_string().contains("step-00000005.safetensors"),
        "{error}"
    );
}
