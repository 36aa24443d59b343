//! Ctrl-C in the middle of a training: state saved, status 130, and a resumed run with the bits of one that was never
//! stopped.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Call, Place, TINY};

/// Starts a training, sends it `signal` after its second line of metrics, and waits for its end.
fn stopped(place: &Place, arguments: &str, run: &str, signal: &str) -> Call {
    let metrics = place.path(run).join("metrics.jsonl");
    stopped_when(place, arguments, signal, || lines(&metrics) >= 2)
}

/// Starts the program, sends it `signal` once `ready`, and waits for its end.
fn stopped_when(place: &Place, arguments: &str, signal: &str, ready: impl Fn() -> bool) -> Call {
    let mut command = place.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not get so far");
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

#[test]
fn a_stopped_comparison_tells_what_it_has_and_goes_on_with_the_rest() {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    let compare = "compare --from run --fractions 2/class --seeds 3 --steps 40 --batch-size 8 --out versus --quiet";
    let first = place.path("versus/cells/scratch-2-per-class-seed0.result.json");
    let call = stopped_when(&place, compare, "-INT", || first.exists());
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    assert!(call.stdout.contains("| 2/class | 24 |") && call.stdout.contains("not trained yet"), "{}", call.stdout);
    assert!(call.stderr.contains("goes on there"), "{}", call.stderr);
    let kept = std::fs::read(&first).unwrap();
    place.run(compare);
    assert_eq!(std::fs::read(&first).unwrap(), kept);
    assert_eq!(std::fs::read_dir(place.path("versus/cells")).unwrap().count(), 6);
}

#[test]
fn a_stopped_choice_of_the_rate_keeps_its_trials() {
    let place = Place::new();
    let tune = "finetune --from scratch --preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --labels 8/class \
                --steps 40 --batch-size 8 --tune --set finetune.tune_lrs=[0.01,0.02,0.03,0.04] --quiet --out tuned";
    let trials = place.path("tuned/tuning.json");
    let call = stopped_when(&place, tune, "-INT", || trials.exists());
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    assert!(call.stderr.contains("trials that ended are kept; --resume tuned"), "{}", call.stderr);
    let begun = std::fs::read_to_string(&trials).unwrap();
    assert!(!begun.contains("\"lr\": 0.04"), "the signal came too late");
    let call = place.call("finetune --resume tuned --checkpoint 3 --quiet");
    assert!(call.stderr.contains("no checkpoint of step 3"), "{}", call.stderr);
    place.run("finetune --resume tuned --quiet");
    let trial = |text: &str| text.split("\"trials\": [").nth(1).unwrap().split('}').next().unwrap().to_owned();
    assert_eq!(trial(&std::fs::read_to_string(&trials).unwrap()), trial(&begun)); // the first was not made again
    assert!(place.path("tuned/result.json").is_file());
}

#[test]
fn signals_that_come_together_save_the_state() {
    let place = Place::new();
    let mut command = place.command(&format!("pretrain {TINY} --steps 100000 --out run --quiet"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while lines(&place.path("run/metrics.jsonl")) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not get so far");
        std::thread::sleep(Duration::from_millis(2));
    }
    for signal in ["-TERM", "-HUP", "-TERM"] {
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    }
    let call: Call = child.wait_with_output().unwrap().into();
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    assert!(call.stderr.contains("state saved"), "{}", call.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn an_ignored_signal_stays_ignored() {
    let place = Place::new();
    let program = place.command(&format!("pretrain {TINY} --steps 60 --out run --quiet"));
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]).arg(program.get_program()).args(program.get_args());
    nohup.current_dir(place.path("")).env("RAYON_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = nohup.spawn().unwrap();
    let metrics = place.path("run/metrics.jsonl");
    let begun = Instant::now();
    while lines(&metrics) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not get so far");
        std::thread::sleep(Duration::from_millis(2));
    }
    for signal in ["-HUP", "-INT", "-INT"] {
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    }
    let call: Call = child.wait_with_output().unwrap().into();
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    assert_eq!(
        std::fs::read_to_string(place.path("run/checkpoints/latest")).unwrap().trim(),
        "step-00000060.safetensors"
    );
}
