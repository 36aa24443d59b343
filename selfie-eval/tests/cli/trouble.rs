//! What goes wrong around a run: one clear line, and the last good checkpoint as it was.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Call, Place, TINY};

fn start(place: &Place, arguments: &str) -> Child {
    place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The last line on stderr; there is no other that is an error.
fn complaint(call: &Call, status: i32) -> &str {
    assert_eq!(call.status, Some(status), "{}", call.stderr);
    assert_eq!(call.stderr.matches("error: ").count(), 1, "{}", call.stderr);
    call.stderr.lines().last().unwrap()
}

fn says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "no '{word}' in {line}");
    }
}

#[test]
fn one_process_at_a_time_trains_in_a_run() {
    let place = Place::new();
    let mut first = start(&place, &format!("pretrain {TINY} --steps 100000 --out run --quiet"));
    until("no metrics", || place.path("run/metrics.jsonl").exists());
    let second = place.call("pretrain --resume run --quiet");
    says(complaint(&second, 2), &["run: process ", &first.id().to_string(), "one at a time"]);
    first.kill().unwrap();
    first.wait().unwrap();
    place.run("pretrain --resume run --steps 2 --quiet"); // the system took the lock back
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one_line_and_the_last_checkpoint_is_intact() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out run --quiet"));
    let good = fs::read(place.path("run/checkpoints/step-00000002.safetensors")).unwrap();
    let torn = place.path("run/checkpoints/step-00000004.safetensors.tmp");
    std::os::unix::fs::symlink("/dev/full", &torn).unwrap();
    let longer = "pretrain --resume run --steps 8 --set run.checkpoint_every=2 --quiet";
    let call = place.call(longer);
    says(complaint(&call, 1), &["state of step 4", "No space left", "the last good checkpoint is of step 2"]);
    assert!(fs::read(place.path("run/checkpoints/step-00000002.safetensors")).unwrap() == good);
    place.run(longer); // there is room again
}

#[test]
fn a_deleted_run_is_one_line() {
    let place = Place::new();
    let child =
        start(&place, &format!("pretrain {TINY} --steps 100000 --set run.checkpoint_every=20 --out run --quiet"));
    until("no metrics", || place.path("run/metrics.jsonl").exists());
    fs::rename(place.path("run"), place.path("gone")).unwrap();
    let call = child.wait_with_output().unwrap().into();
    says(complaint(&call, 1), &["cannot be saved", "run/checkpoints", "No such file"]);
}

#[test]
fn a_damaged_checkpoint_offers_the_one_before_it() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 4 --set run.checkpoint_every=2 --out run --quiet"));
    let last = place.path("run/checkpoints/step-00000004.safetensors");
    let whole = fs::read(&last).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&last, damaged).unwrap();
    let call = place.call("pretrain --resume run --quiet");
    says(complaint(&call, 1), &["step-00000004.safetensors: damaged", "step 2 is good", "--checkpoint 2 takes it"]);
    place.run("pretrain --resume run --checkpoint 2 --quiet");
    assert!(fs::read(&last).unwrap() == whole);
    fs::write(&last, b"").unwrap();
    fs::remove_file(place.path("run/checkpoints/step-00000002.safetensors")).unwrap();
    says(complaint(&place.call("pretrain --resume run --quiet"), 1), &["no other checkpoint of this run is good"]);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let place = Place::new();
    // A step of some seconds.
    let slow = "--preset quick --set encoder.width=16 --batch-size 1024 --steps 50";
    let child = start(&place, &format!("pretrain {slow} --out run --quiet"));
    until("no run", || place.path("run/config.toml").exists());
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(200));
    }
    let left = Instant::now();
    let call: Call = child.wait_with_output().unwrap().into();
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    assert!(
        call.stderr.contains("Ctrl-C again leaves at once") && !call.stderr.contains("state saved"),
        "{}",
        call.stderr
    );
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}

#[test]
fn a_loss_that_is_no_number_stops_with_step_images_and_layer() {
    let place = Place::new();
    let wild = format!("pretrain {TINY} --steps 8 --lr 1e30 --set optim.name=sgd --quiet");
    let call = place.call(&format!("{wild} --out run"));
    says(
        complaint(&call, 1),
        &["is not finite, on images ", "the first layer that is not finite is ", "no checkpoint yet"],
    );
    let call = place.call(&format!("{wild} --out skipping --set run.on_nonfinite=skip --set run.max_skipped=2"));
    says(complaint(&call, 1), &["run.max_skipped = 2 updates have been skipped"]);
}
