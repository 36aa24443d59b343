//! A run that is stopped anywhere and resumed is, byte for byte, the run that was never stopped.
#![allow(clippy::unwrap_used)]

mod small;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use selfie_train::{Error, OptimName, PretrainOptions, RunConfig, RunDir, pretrain, read_metrics};
use small::{config, images, options};

/// A folder with 20 images in `images/`, for the runs of one test.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"), 20);
    folder
}

fn resumed(out: &Path) -> PretrainOptions {
    PretrainOptions { resume: true, ..options(out) }
}

/// Takes a finished run back to its checkpoint of `step`, as if it had been killed before the next one.
fn kill_after(run: &RunDir, step: u64) {
    for (later, path) in run.checkpoints().unwrap() {
        if later > step {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(run.path().join("checkpoints/latest"), format!("step-{step:08}.safetensors\n")).unwrap();
    // A line that was being written when the process died.
    let metrics = fs::read_to_string(run.metrics_path()).unwrap() + "{\"step\":99,\"lo";
    fs::write(run.metrics_path(), metrics).unwrap();
}

fn last(run: &Path) -> Vec<u8> {
    fs::read(RunDir::open(run).unwrap().latest_checkpoint().unwrap()).unwrap()
}

fn straight_and_resumed(change: impl Fn(&mut RunConfig), workers: usize) {
    let folder = folder();
    let mut config = config(&folder.path().join("images"), 7);
    change(&mut config);
    let [straight, stopped]: [PathBuf; 2] = ["straight", "stopped"].map(|name| folder.path().join(name));
    pretrain(config.clone(), &options(&straight)).unwrap();
    pretrain(config, &options(&stopped)).unwrap();
    let run = RunDir::open(&stopped).unwrap();
    kill_after(&run, 3);

    let mut continued = run.config().unwrap();
    continued.data.workers = workers;
    pretrain(continued, &resumed(&stopped)).unwrap();
    assert!(last(&straight) == last(&stopped), "the final checkpoints differ");

    let steps = |run: &Path| {
        read_metrics(&run.join("metrics.jsonl"))
            .unwrap()
            .iter()
            .map(|line| line["step"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(&straight), steps(&stopped)); // no step twice, none lost
    let trunk = |run: &Path| fs::read(run.join("encoder.safetensors")).unwrap();
    assert!(trunk(&straight) == trunk(&stopped), "the trunks differ");
}

#[test]
fn adamw_with_one_loader_thread() {
    straight_and_resumed(|_| {}, 1);
}

#[test]
fn sgd_with_four_loader_threads() {
    straight_and_resumed(|config| (config.optim.name, config.optim.lr) = (OptimName::Sgd, 0.05), 4);
}

#[test]
fn an_evaluation_at_the_step_of_a_checkpoint_is_made_after_it_and_again_if_it_was_lost() {
    straight_and_resumed(|config| config.run.eval_every = 3, 2);
    // Killed between the two: the checkpoint is there, its evaluation is not.
    let folder = folder();
    let mut config = config(&folder.path().join("images"), 7);
    config.run.eval_every = 3;
    let [straight, stopped]: [PathBuf; 2] = ["straight", "stopped"].map(|name| folder.path().join(name));
    for out in [&straight, &stopped] {
        pretrain(config.clone(), &options(out)).unwrap();
    }
    let run = RunDir::open(&stopped).unwrap();
    let evaluations = |run: &Path| {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        text.lines().filter(|line| line.contains("held_out")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(evaluations(&straight).len(), 3); // steps 3, 6 and 7
    for step in [3, 7] {
        kill_after(&run, step);
        let text = fs::read_to_string(run.metrics_path()).unwrap();
        let lost = |line: &&str| !(line.contains("held_out") && line.contains(&format!("\"step\":{step},")));
        fs::write(run.metrics_path(), text.lines().filter(lost).map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
        pretrain(run.config().unwrap(), &resumed(&stopped)).unwrap();
        assert_eq!(evaluations(&straight), evaluations(&stopped));
        assert!(last(&straight) == last(&stopped), "the final checkpoints differ");
    }
}

#[test]
fn micro_batches_clipping_and_distractor_subsets() {
    let change = |config: &mut RunConfig| {
        (config.run.micro_batch_size, config.optim.clip_norm, config.loss.num_distractors) = (2, 0.5, 2);
    };
    straight_and_resumed(change, 2);
}

#[test]
fn one_mask_a_batch() {
    straight_and_resumed(|config| config.patch.mask = selfie_patch::MaskScope::PerBatch, 2);
}

#[test]
fn a_request_to_stop_saves_the_state_and_the_run_goes_on_from_there() {
    let folder = folder();
    let [straight, stopped]: [PathBuf; 2] = ["straight", "stopped"].map(|name| folder.path().join(name));
    let config = config(&folder.path().join("images"), 5);
    pretrain(config.clone(), &options(&straight)).unwrap();

    let stopping = options(&stopped);
    stopping.stop.store(true, Ordering::Relaxed);
    let error = pretrain(config.clone(), &stopping).unwrap_err();
    assert_eq!(error.exit_code(), 130);
    let Error::Interrupted { step: 1, checkpoint: Some(checkpoint) } = error else { panic!("{error}") };
    assert!(checkpoint.is_file());

    let config = RunDir::open(&stopped).unwrap().config().unwrap();
    pretrain(config, &resumed(&stopped)).unwrap();
    assert!(last(&straight) == last(&stopped), "the final checkpoints differ");
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again_with_the_weights_it_began_with() {
    let folder = folder();
    let [first, straight, stopped] = ["first", "straight", "stopped"].map(|name| folder.path().join(name));
    let config = config(&folder.path().join("images"), 4);
    pretrain(config.clone(), &options(&first)).unwrap();
    for init_from in [None, Some(first)] {
        let [straight, stopped] =
            [&straight, &stopped].map(|out| out.with_extension(format!("{}", init_from.is_some())));
        for out in [&straight, &stopped] {
            pretrain(config.clone(), &PretrainOptions { init_from: init_from.clone(), ..options(out) }).unwrap();
        }
        let run = RunDir::open(&stopped).unwrap();
        match init_from {
            Some(_) => kill_after(&run, 0),
            None => {
                fs::remove_dir_all(stopped.join("checkpoints")).unwrap();
                fs::create_dir(stopped.join("checkpoints")).unwrap();
            }
        }
        pretrain(run.config().unwrap(), &resumed(&stopped)).unwrap();
        assert!(last(&straight) == last(&stopped), "the final checkpoints differ");
    }
}

#[test]
fn a_longer_run_continues_a_finished_one_and_its_settings_say_so() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(config(&folder.path().join("images"), 3), &options(&out)).unwrap();
    let mut longer = RunDir::open(&out).unwrap().config().unwrap();
    longer.run.steps = 5;
    assert_eq!(pretrain(longer, &resumed(&out)).unwrap().steps, 5);
    assert_eq!(RunDir::open(&out).unwrap().config().unwrap().run.steps, 5);
}

#[test]
fn changed_settings_are_refused_by_name() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(config(&folder.path().join("images"), 3), &options(&out)).unwrap();
    let mut other = RunDir::open(&out).unwrap().config().unwrap();
    (other.optim.lr, other.run.steps) = (0.5, 9);
    let error = pretrain(other, &resumed(&out)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.starts_with("--resume: optim.lr: was 0.001, is 0.5;"), "{message}");
}

#[test]
fn other_data_are_refused() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(config(&folder.path().join("images"), 3), &options(&out)).unwrap();
    fs::remove_file(folder.path().join("images/even/000.png")).unwrap();
    fs::remove_file(folder.path().join("images/odd/001.png")).unwrap();
    let error = pretrain(RunDir::open(&out).unwrap().config().unwrap(), &resumed(&out)).unwrap_err();
    assert!(error.to_string().starts_with("data.source: "), "{error}");
}
