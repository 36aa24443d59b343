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
    // The first line is written after every file of the run has been opened.
    until("no metrics", || fs::metadata(place.path("run/metrics.jsonl")).is_ok_and(|file| file.len() > 0));
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

/// The error of a call that is refused before any work.
fn refusal(place: &Place, arguments: &str) -> String {
    complaint(&place.call(arguments), 2).to_owned()
}

#[test]
fn a_run_that_was_killed_before_it_began_starts_again() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 2 --out first --quiet"));
    let again = format!("pretrain {TINY} --steps 2 --init-from first --out run --quiet");
    // What is there if the process is killed while the checkpoint of step 0 is written, or after it.
    for file in ["step-00000000.safetensors.tmp", "step-00000000.safetensors", "latest"] {
        place.write("run/env.json", b"{}");
        place.write(
            &format!("run/checkpoints/{file}"),
            if file == "latest" { b"step-00000000.safetensors\n" } else { b"torn" },
        );
        place.run(&again);
        fs::remove_dir_all(place.path("run")).unwrap();
    }
    // Checkpoints of steps are never cleared away.
    place.write("run/checkpoints/step-00000040.safetensors", b"precious");
    says(&refusal(&place, &again), &["run: holds checkpoints of a run without its config.toml"]);
    assert_eq!(fs::read(place.path("run/checkpoints/step-00000040.safetensors")).unwrap(), b"precious");
}

#[test]
fn two_runs_started_at_once_get_names_of_their_own() {
    let place = Place::new();
    let short = format!("pretrain {TINY} --steps 2 --quiet");
    let children: Vec<_> = (0..2).map(|_| start(&place, &short)).collect();
    for child in children {
        let call: Call = child.wait_with_output().unwrap().into();
        assert_eq!(call.status, Some(0), "{}", call.stderr);
    }
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 2);
    let children: Vec<_> = (0..2).map(|_| start(&place, &format!("{short} --out one"))).collect();
    let calls: Vec<Call> = children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    let mut status: Vec<_> = calls.iter().map(|call| call.status).collect();
    status.sort_unstable();
    assert_eq!(status, [Some(0), Some(2)], "{} {}", calls[0].stderr, calls[1].stderr);
    place.call("pretrain --preset quick --data nowhere --quiet"); // refused: it leaves no directory
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 2);
}

#[test]
fn a_run_goes_on_with_the_images_that_it_began_with() {
    let place = Place::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../selfie-train/sample/train/butterfly");
    fs::create_dir(place.path("images")).unwrap();
    let copy = |from: &std::path::Path, name: &str| {
        fs::copy(from, place.path("images").join(name)).unwrap();
    };
    let photographs: Vec<_> = fs::read_dir(sample).unwrap().map(|entry| entry.unwrap().path()).collect();
    photographs.iter().enumerate().for_each(|(i, photograph)| copy(photograph, &format!("{i:03}.jpg")));
    place.run(&format!("pretrain {TINY} --data images --steps 2 --out run --quiet"));
    fs::rename(place.path("images/003.jpg"), place.path("images/new.jpg")).unwrap();
    let error = refusal(&place, "pretrain --resume run --steps 4 --quiet");
    says(&error, &["data.source: got ", "images with other names, expected those that the run began with"]);
}

#[test]
fn a_length_that_lies_behind_is_refused_and_another_one_announced() {
    let place = Place::new();
    place.run(&format!(
        "pretrain {TINY} --steps 6 --set run.checkpoint_every=2 --set run.keep_last=0 --out run --quiet"
    ));
    let metrics = fs::read(place.path("run/metrics.jsonl")).unwrap();
    says(
        &refusal(&place, "pretrain --resume run --checkpoint 2 --steps 2 --quiet"),
        &["run.steps: got 2, expected more than 2"],
    );
    says(&refusal(&place, "pretrain --resume run --steps 4 --quiet"), &["run.steps: got 4, expected at least 6"]);
    assert_eq!(fs::read(place.path("run/metrics.jsonl")).unwrap(), metrics);
    let text = place.run("pretrain --resume run --steps 12");
    assert!(text.contains("12 steps instead of 6: the learning rate goes from 0.000e0 to "), "{text}");
    place.run("report run");
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("at step 6 its length was changed from 6 to 12 steps"));
    assert!(!page.contains("give the same bytes"));
}

#[test]
fn what_is_spoiled_in_a_run_has_a_way_out() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 4 --set run.checkpoint_every=2 --out run --quiet"));
    // A line of metrics, and the note of the latest checkpoint.
    let mut metrics = fs::read(place.path("run/metrics.jsonl")).unwrap();
    metrics[3] = 0xff;
    fs::write(place.path("run/metrics.jsonl"), metrics).unwrap();
    fs::remove_file(place.path("run/checkpoints/latest")).unwrap();
    fs::create_dir(place.path("run/checkpoints/latest")).unwrap();
    place.run("pretrain --resume run --steps 6 --quiet");
    place.write("run/checkpoints/latest", b"../../elsewhere\xff");
    place.run("pretrain --resume run --steps 8 --quiet");
    // A bit anywhere in the file's header.
    let file = place.path("run/checkpoints/step-00000008.safetensors");
    let good = fs::read(&file).unwrap();
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for at in (8..8 + header).step_by(header / 40) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        let call = place.call("masked-eval --from run --masks 1 --quiet");
        assert_eq!(call.status, Some(1), "byte {at} of the header: {}", call.stderr);
        says(complaint(&call, 1), &["step-00000008", "the checkpoint of step 6 is good"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn limits_are_told_before_memory_is_taken() {
    let place = Place::new();
    let wide = "pretrain --preset quick --set encoder.width=900 --batch-size 8 --quiet";
    let mut shell = Command::new("sh");
    let program = place.command(wide);
    shell.args(["-c", "ulimit -v 3000000; exec \"$@\"", "sh"]).arg(program.get_program()).args(program.get_args());
    shell.current_dir(place.path("")).env("RAYON_NUM_THREADS", "1");
    let call: Call = shell.output().unwrap().into();
    says(complaint(&call, 2), &["run.batch_size: ", "GB are free"]);
    for (setting, key) in
        [("run.eval_masks=1000000000000", "run.eval_masks"), ("run.steps=9000000000000000000", "run.steps")]
    {
        says(&refusal(&place, &format!("pretrain {TINY} --set {setting} --quiet")), &[key, "expected 1 to "]);
    }
}
