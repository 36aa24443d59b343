//! Several processes that share one training, by MPI, from the outside: they are one run, they stop and resume together, and one
//! that dies ends them all. Built with the feature `mpi` only; needs `mpirun`.
#![cfg(all(unix, feature = "mpi"))]
#![allow(clippy::unwrap_used, reason = "these are tests, also outside of the test functions")]

#[path = "../cli/place.rs"]
#[allow(dead_code, reason = "shared with the other tests of the program")]
mod place;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use place::{Call, Place};
use selfie_train::{Checkpoint, RunDir};

/// A small model with norms over the whole batch.
const SHARED: &str = "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --set patch.image_size=16 \
    --set patch.patch_size=4 --set run.log_every=1 --set run.micro_batch_size=0 --set run.sync_norm=true \
    --set optim.name=sgd --lr 0.01 --seed 1";

/// `mpirun -n RANKS selfie ARGUMENTS`, on one thread each.
fn mpirun(place: &Place, ranks: usize, arguments: &str) -> Command {
    let selfie = place.command(arguments);
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string(), "--oversubscribe", "--bind-to", "none"]);
    command.arg(selfie.get_program()).args(selfie.get_args()).current_dir(selfie.get_current_dir().unwrap());
    // Tests may run in a container, as root.
    command.envs([
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("RAYON_NUM_THREADS", "1"),
    ]);
    command.env("OMPI_MCA_mpi_yield_when_idle", "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(place: &Place, ranks: usize, arguments: &str) -> Call {
    let call: Call = mpirun(place, ranks, arguments).output().unwrap().into();
    assert_eq!(call.status, Some(0), "{arguments}: {}", call.stderr);
    call
}

fn latest(place: &Place, run: &str) -> Checkpoint {
    RunDir::open(&place.path(run)).unwrap().read_checkpoint(None).unwrap()
}

/// The largest difference between the weights and running statistics of two runs, as a share of each tensor's largest value.
fn difference(place: &Place, a: &str, b: &str) -> (f32, String) {
    let (a, b) = (latest(place, a), latest(place, b));
    assert_eq!(a.record().step, b.record().step);
    let largest = |t: &candle_core::Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let of = |(name, ours): (&str, &candle_core::Tensor)| {
        let theirs = b.weights().get(name).unwrap();
        (largest(&(ours - theirs).unwrap()) / largest(ours), name.to_owned())
    };
    a.weights().iter().map(of).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Rounding is all that may differ, and what it comes to depends on the gradients. After one step they are compared themselves, in the
/// biases, which begin at 0: with scaled logits they do not cancel over the batch. Over twenty steps they must be so small, with
/// cosine logits, that no value is rounded to the other side of a ReLU's kink: one such value among 32,000 shows in the third digit.
#[test]
fn two_ranks_with_shared_norms_are_one_process() {
    let place = Place::new();
    for (steps, loss, most) in
        [(1, "--set loss.logits=scaled", 1e-6), (20, "--set loss.logits=cosine --set loss.temperature=1.0", 1e-5)]
    {
        let arguments =
            |to: &str| format!("pretrain {SHARED} --batch-size 4 {loss} --steps {steps} --quiet --out {to}-{steps}");
        place.run(&arguments("one"));
        run(&place, 2, &arguments("two"));
        let (apart, tensor) = difference(&place, &format!("one-{steps}"), &format!("two-{steps}"));
        println!("after {steps} steps: {apart:.1e} of the largest entry, in {tensor}");
        assert!(apart < most, "{apart} after {steps} steps, in {tensor}");
    }
}

/// Each rank's norms are those of a micro-batch, so two ranks are one process with parts of half the batch; but for the running
/// statistics, which one process takes from one part after the other.
#[test]
fn without_shared_norms_two_ranks_are_two_micro_batches() {
    let place = Place::new();
    let arguments = "--set run.sync_norm=false --batch-size 8 --set loss.logits=scaled --steps 1 --quiet";
    place.run(&format!("pretrain {SHARED} {arguments} --set run.micro_batch_size=4 --out one"));
    run(&place, 2, &format!("pretrain {SHARED} {arguments} --out two"));
    let (one, two) = (latest(&place, "one"), latest(&place, "two"));
    let largest = |t: &candle_core::Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    for (name, ours) in one.weights().iter().filter(|(name, _)| !name.contains("running")) {
        let apart = largest(&(ours - two.weights().get(name).unwrap()).unwrap()) / largest(ours);
        assert!(apart < 1e-5, "{apart} in {name}");
    }
}

#[test]
fn another_number_of_ranks_goes_on_and_the_first_alone_speaks() {
    let place = Place::new();
    // A rate that does not depend on the length of the run, and the loss of the test above.
    let steady = format!(
        "{SHARED} --batch-size 6 --set schedule.name=constant --set schedule.warmup_steps=2 \
         --set loss.logits=cosine --set loss.temperature=1.0"
    );
    let call = run(&place, 2, &format!("pretrain {steady} --steps 6 --out run"));
    for once in ["held out   accuracy", "of 2 ranks", "communication took", "wrote      run/config.toml"] {
        assert_eq!(call.stdout.matches(once).count(), 1, "{once}: {}", call.stdout);
    }
    let metrics = std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert!(metrics.lines().all(|line| line.contains("held_out") || line.contains("\"communication\":")), "{metrics}");
    place.run("pretrain --resume run --steps 8 --quiet");
    run(&place, 3, "pretrain --resume run --steps 12 --quiet --set run.checkpoint_every=2");
    place.run(&format!("pretrain {steady} --steps 12 --quiet --out straight"));
    let (apart, tensor) = difference(&place, "run", "straight");
    assert!(apart < 1e-5, "{apart} in {tensor}");
}

#[test]
fn shares_that_cannot_be_equal_and_ranks_that_were_not_started_are_refused() {
    let place = Place::new();
    let call: Call =
        mpirun(&place, 3, &format!("pretrain {SHARED} --batch-size 4 --steps 1 --out run")).output().unwrap().into();
    assert_eq!(call.status, Some(2), "{}", call.stderr);
    assert!(call.stderr.contains("run.batch_size: met 4, expected a multiple of the 3 ranks"), "{}", call.stderr);
    let call = place.call(&format!("pretrain {SHARED} --batch-size 4 --ranks 2 --out run"));
    assert_eq!(call.status, Some(2));
    assert!(call.stderr.contains("--ranks: met 2, but 1 were started"), "{}", call.stderr);
    assert!(!place.path("run").exists());
}

#[test]
fn ranks_that_were_told_different_things_do_not_begin() {
    let place = Place::new();
    let told = |decay: &str| {
        format!("pretrain {SHARED} --batch-size 4 --steps 1 --quiet --out run --set optim.weight_decay={decay}")
    };
    let mut command = mpirun(&place, 1, &told("0.1"));
    let other = place.command(&told("0.2"));
    command.args([":", "-n", "1"]).arg(other.get_program()).args(other.get_args());
    let call: Call = command.output().unwrap().into();
    assert_eq!(call.status, Some(1), "{}", call.stderr);
    assert!(call.stderr.contains("settings, data or checkpoint of rank 1 differ"), "{}", call.stderr);
    assert!(!place.path("run").exists());
}

#[test]
fn what_several_processes_cannot_share_is_refused() {
    let place = Place::new();
    let call: Call = mpirun(&place, 2, "finetune --from scratch --preset quick --out run").output().unwrap().into();
    assert_eq!(call.status, Some(2), "{}", call.stderr);
    assert!(call.stderr.contains("ranks: met 2 processes started together, expected one"), "{}", call.stderr);
    assert!(!place.path("run").exists());
}

/// Starts two ranks and waits until their run has `lines` lines of metrics.
fn started(place: &Place, arguments: &str, lines: usize) -> Child {
    let child = mpirun(place, 2, arguments).spawn().unwrap();
    let (metrics, begun) = (place.path("run/metrics.jsonl"), Instant::now());
    while std::fs::read_to_string(&metrics).unwrap_or_default().lines().count() < lines {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not get so far");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn send(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

#[test]
fn asked_to_stop_all_ranks_stop_after_the_same_step() {
    let place = Place::new();
    let child = started(&place, &format!("pretrain {SHARED} --batch-size 4 --steps 100000 --quiet --out run"), 3);
    send("-USR1", child.id());
    let call: Call = child.wait_with_output().unwrap().into();
    assert_eq!(call.status, Some(130), "{}", call.stderr);
    let step = latest(&place, "run").record().step;
    assert!(call.stderr.contains(&format!("stopped after step {step}, state saved in run/")), "{}", call.stderr);
    run(&place, 2, &format!("pretrain --resume run --steps {} --quiet", step + 2));
}

#[test]
fn a_rank_that_dies_ends_the_run_within_seconds_and_leaves_the_last_checkpoint() {
    let place = Place::new();
    let every = "--set run.checkpoint_every=2";
    let child =
        started(&place, &format!("pretrain {SHARED} --batch-size 4 {every} --steps 100000 --quiet --out run"), 5);
    let ranks = children(child.id());
    assert_eq!(ranks.len(), 2);
    send("-KILL", ranks[1]);
    let begun = Instant::now();
    let call: Call = child.wait_with_output().unwrap().into();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(call.status.is_some_and(|status| status != 0), "{:?}", call.status);
    assert!(call.stderr.contains("process rank") && call.stderr.contains("signal 9"), "{}", call.stderr);
    let step = latest(&place, "run").record().step; // whole, or it would not be read
    assert!(step >= 2 && step.is_multiple_of(2));
    run(&place, 2, &format!("pretrain --resume run --steps {} --quiet", step + 2));
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let threads = std::fs::read_dir(Path::new(&path)).unwrap();
    let of = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let mut found: Vec<u32> = threads
        .map(|thread| of(thread.unwrap()))
        .collect::<String>()
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    found.sort_unstable();
    found
}
