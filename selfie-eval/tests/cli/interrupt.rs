//! Ctrl-C in the middle of a training: state saved, status 130, and a resumed run with the bits of one that was never
//! stopped.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Call, Place, TINY};

/// Starts a training, sends it `signal` after its second line of metrics, and waits for its end.
fn stopped(place: &Place, arguments: &str, run: &str, signal: &str) -> Call {
    let mut command = place.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = place.path(run).join("metrics.jsonl");
    let begun = Instant::now();
    while lines(&metrics) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no metrics");
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    child.wait_with_output().unwrap().into()
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn checkpoint(place: &Place, run: &str) -> Vec<u8> {
    let folder = place.path(run).join("checkpoints");
    let latest = std::fs::read_to_string(folder.join("latest")).unwrap();
    std::fs::read(folder.join(latest.trim())).unwrap()
}

#[test]
fn a_stopped_pretraining_resumes_to_the_same_bits() {
    let place = Place::new();
    let steps = 150;
    let call = stopped(&place, &format!("pretrain {TINY} --steps {steps} --out run --quiet"), "run", "-INT");
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    assert!(call.stderr.contains("state saved") && call.stderr.contains("--resume run"), "{}", call.stderr);
    assert!(lines(&place.path("run/metrics.jsonl")) < steps, "the signal came too late");
    place.run("pretrain --resume run --quiet");
    place.run(&format!("pretrain {TINY} --steps {steps} --out straight --quiet"));
    assert!(checkpoint(&place, "run") == checkpoint(&place, "straight"), "the checkpoints differ");
}

#[test]
fn a_stopped_finetuning_resumes_to_the_same_bits() {
    let place = Place::new();
    let finetune = "finetune --from scratch --preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] \
                    --set finetune.log_every=1 --steps 150 --batch-size 8 --quiet";
    let call = stopped(&place, &format!("{finetune} --out tuned"), "tuned", "-TERM");
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    place.run("finetune --out tuned --resume --quiet");
    place.run(&format!("{finetune} --out straight"));
    assert!(checkpoint(&place, "tuned") == checkpoint(&place, "straight"), "the checkpoints differ");
    assert!(place.path("tuned/result.json").is_file());
}

#[test]
fn a_reader_that_goes_away_stops_no_training() {
    let place = Place::new();
    let mut command = place.command(&format!("pretrain {TINY} --steps 3 --out run"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.path("run/encoder.safetensors").is_file());
}
