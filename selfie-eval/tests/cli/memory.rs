//! The memory that is estimated before the first step, against what a run really takes; and a batch that cannot fit.

use selfie_train::{MemoryEstimate, RunDir, read_metrics};
use serde_json::Value;

use crate::place::Place;

/// Estimated and measured peak of two steps, in MB.
fn peaks(settings: &str) -> (f64, f64) {
    let place = Place::new();
    let report = place.run(&format!("pretrain --preset quick {settings} --steps 2 --out run --quiet --json"));
    let parameters = serde_json::from_str::<Value>(&report).unwrap()["parameters"].as_u64().unwrap();
    let run = RunDir::open(&place.path("run")).unwrap();
    let config = run.config().unwrap();
    let lines = read_metrics(&run.metrics_path()).unwrap();
    let measured = lines.iter().find_map(|line| line["peak_rss_mb"].as_f64()).unwrap();
    (MemoryEstimate::of(&config, parameters as usize).peak(config.run.micro_batch()) / (1 << 20) as f64, measured)
}

#[test]
#[cfg(target_os = "linux")]
fn the_estimate_is_near_the_peak_of_a_run() {
    for settings in
        ["--batch-size 64", "--batch-size 128 --set run.micro_batch_size=32 --set optim.name=sgd --lr 0.001"]
    {
        let (estimated, measured) = peaks(settings);
        eprintln!("{settings}: estimated {estimated:.0} MB, measured {measured:.0} MB");
        assert!(
            (0.75..1.35).contains(&(estimated / measured)),
            "{settings}: {estimated:.0} MB, measured {measured:.0} MB"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_batch_that_cannot_fit_is_refused_with_what_would() {
    let place = Place::new();
    let call = place.call(
        "pretrain --preset cifar10 --data sample --batch-size 65536 --set run.micro_batch_size=0 --out run --quiet",
    );
    assert_eq!(call.status, Some(2), "{}", call.stderr);
    assert_eq!(call.stderr.lines().count(), 1, "{}", call.stderr);
    for words in ["65536 images at once need about", "GB are free", "run.micro_batch_size="] {
        assert!(call.stderr.contains(words), "no '{words}' in {}", call.stderr);
    }
    assert!(!place.path("run").exists());
}
