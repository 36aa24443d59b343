//! `kill -9` at any moment, then `--resume`: the end is, byte for byte, that of a run that was never stopped.
//!
//! Three kinds of moments take turns: while the program starts, between and within steps, and while a checkpoint is being
//! written. Dropout, augmentation and the order of the images are on, as they are by default; two threads compute, three load.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Place, TINY};

const STEPS: u64 = 240;

/// The run that is killed `kills` times, against the one that is not.
fn survives(optimizer: &str, kills: u64, seed: u64) {
    let place = Place::new();
    let settings = format!(
        "{TINY} --steps {STEPS} --set optim.name={optimizer} --lr 0.001 --set run.checkpoint_every=4 --set run.eval_every=60 \
         --set data.workers=3 --set run.ema_decay=0.9 --quiet"
    );
    let start = |out: &str| format!("pretrain {settings} --out {out}");
    let mut random = Random(seed);
    let mut torn = 0;
    for kill in 0..kills {
        let run = place.path("run");
        let arguments =
            if run.join("config.toml").exists() { "pretrain --resume run --quiet".to_owned() } else { start("run") };
        let mut child = two_threads(&place, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        match kill % 3 {
            0 => std::thread::sleep(Duration::from_millis(random.below(500))),
            1 => {
                let steps = steps_of(&run).last().copied().unwrap_or(0) + 1 + random.below(8);
                until(|| {
                    steps_of(&run).last().is_some_and(|&step| step >= steps) || child.try_wait().unwrap().is_some()
                });
                std::thread::sleep(Duration::from_millis(random.below(20)));
            }
            _ => until(|| is_writing(&run) || child.try_wait().unwrap().is_some()),
        }
        assert!(child.try_wait().unwrap().is_none(), "the run was over before kill {kill}: more steps are needed");
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        torn += u64::from(is_writing(&run));
    }
    let finish = two_threads(&place, "pretrain --resume run --quiet").output().unwrap();
    assert!(finish.status.success(), "{}", String::from_utf8_lossy(&finish.stderr));
    assert!(two_threads(&place, &start("straight")).output().unwrap().status.success());

    let [ours, theirs] = ["run", "straight"].map(|run| place.path(run));
    for file in [format!("checkpoints/step-{STEPS:08}.safetensors"), "encoder.safetensors".to_owned()] {
        let read = |run: &Path| std::fs::read(run.join(&file)).unwrap();
        assert!(read(&ours) == read(&theirs), "{file} differs");
    }
    assert_eq!(steps_of(&ours), steps_of(&theirs)); // no step twice, none lost
    eprintln!("{optimizer}: {kills} kills survived, {torn} of them with a checkpoint half written");
    assert!(kills < 3 || torn > 0, "no kill met a checkpoint that was being written");
}

fn two_threads(place: &Place, arguments: &str) -> Command {
    let mut command = place.command(arguments);
    command.env("RAYON_NUM_THREADS", "2");
    command
}

/// The steps in `metrics.jsonl`, evaluations aside; a line that is being written does not count.
fn steps_of(run: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok().filter(|line| line["lr"].is_number());
    text.lines().filter_map(line).filter_map(|line| line["step"].as_u64()).collect()
}

/// Whether there is a checkpoint that is not whole.
fn is_writing(run: &Path) -> bool {
    let entries = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".safetensors.tmp"))
}

fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(180), "nothing happened");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % most
    }
}

#[test]
fn adamw_survives_being_killed() {
    survives("adamw", 3, 1);
}

#[test]
fn sgd_survives_being_killed() {
    survives("sgd", 3, 2);
}

#[test]
#[ignore = "a minute or two: cargo test -p selfie-eval --test cli twenty -- --ignored --nocapture"]
fn twenty_kills_with_adamw_and_twenty_with_sgd() {
    survives("adamw", 20, 3);
    survives("sgd", 20, 4);
}
