//! Each figure against a number worked by hand, and the checkpoint against a file.

use candle_core::Device;
use selfie_train::{Override, PretrainOptions, RunDir, pretrain};

use super::*;

/// 25 million parameters, 100 MB of gradients; 1,280,000 images of 100 kB; 1000 images/s a rank; 12.5 GB/s.
fn plan(ranks: usize) -> JobPlan {
    let mut config = RunConfig::preset("imagenet224").unwrap(); // 120,000 steps of 1024, 32 at once, SGD
    config.data.holdout = 0.0;
    JobPlan {
        config,
        ranks,
        model: ModelSize { parameters: 25_000_000, statistics: 50_000 },
        images: Images::given(1_280_000, Some(100_000.0)).unwrap(),
        speed: Speed::given(1000.0).unwrap(),
        bandwidth: Bandwidth::given(12.5).unwrap(),
    }
}

fn assert_figures(costs: &JobCosts, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        let got = costs.figure(name).unwrap_or_else(|| panic!("no {name}"));
        assert!((got - value).abs() < 1e-9 * value.abs().max(1.0), "{name}: {got}, by hand {value}");
    }
    assert!(costs.figures.iter().all(|figure| figure.value.is_finite() && figure.assumption.len() > 5));
}

#[test]
fn eight_ranks_are_as_by_hand() {
    // 128 images a rank take 128 ms. 2 * 7/8 * 100 MB = 175 MB over 12.5 GB/s take 14 ms. A step is 142 ms, 1250 an epoch.
    let expected = [
        ("compute_ms", 128.0),
        ("all_reduce_ms", 14.0),
        ("all_reduce_share", 100.0 * 14.0 / 142.0),
        ("step_ms", 142.0),
        ("images_per_second", 1024.0 / 0.142),
        ("epoch_hours", 1250.0 * 0.142 / 3600.0),
        ("all_steps_hours", 120_000.0 * 0.142 / 3600.0),
        // Weights, statistics and one moment: 50,050,000 numbers.
        ("checkpoint_mb", 200.2),
        // Of 20,000, 40,000, ... the newest, 120,000, is among the last two: five for good, two last.
        ("checkpoints_gb", 7.0 * 0.2002),
        ("read_mb_per_second", 1024.0 / 0.142 * 0.1),
        ("rank_read_mb_per_second", 128.0 / 0.142 * 0.1),
        ("rank_sent_mb_per_second", 175.0 / 0.142),
    ];
    assert_figures(&plan(8).costs().unwrap(), &expected);
}

#[test]
fn one_rank_sends_nothing() {
    let costs = plan(1).costs().unwrap();
    let expected =
        [("all_reduce_ms", 0.0), ("all_reduce_share", 0.0), ("step_ms", 1024.0), ("rank_sent_mb_per_second", 0.0)];
    assert_figures(&costs, &expected);
}

#[test]
fn memory_is_the_estimate_for_a_ranks_part_and_the_bucket() {
    let mut share = plan(8).config;
    share.run.batch_size = 128;
    let estimate = MemoryEstimate::of(&share, 25_000_000);
    let expected = [("rank_memory_gb", (estimate.fixed + 32.0 * estimate.per_image + 1e8) / 1e9)];
    assert_figures(&plan(8).costs().unwrap(), &expected);
    // With 64 ranks a part has 16 images, less than the 32 that may be at once.
    let costs = plan(64).costs().unwrap();
    let compute = &costs.figures[1];
    assert!(compute.assumption.starts_with("16 images a rank, 1 x 16 at once"), "{}", compute.assumption);
}

#[test]
fn what_is_held_out_is_not_trained_on() {
    let mut plan = plan(1);
    plan.config.data.holdout = 0.5;
    assert_figures(&plan.costs().unwrap(), &[("epoch_hours", 625.0 * 1.024 / 3600.0)]);
}

#[test]
fn a_batch_that_cannot_be_shared_is_refused() {
    for ranks in [0, 3, 2048] {
        let message = plan(ranks).costs().unwrap_err().to_string();
        assert_eq!(message, format!("--ranks: met {ranks}, expected a divisor of run.batch_size = 1024"));
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    assert!(Speed::given(0.0).unwrap_err().to_string().starts_with("--images-per-second: met 0"));
    assert!(Bandwidth::given(f64::NAN).unwrap_err().to_string().starts_with("--bandwidth: met NaN"));
    assert!(Images::given(0, None).is_err() && Images::given(1, Some(-1.0)).is_err());
}

#[test]
fn the_data_of_a_preset_need_not_be_here_and_others_are_counted() {
    let config = RunConfig::preset("imagenet224").unwrap();
    let images = Images::of("imagenet224", &config, None, None).unwrap();
    assert_eq!((images.count, images.bytes_each.map(f64::round)), (1_281_167, Some(115_440.0)));
    let images = Images::of("imagenet224", &config, Some(100), Some(7.0)).unwrap();
    assert_eq!((images.count, images.bytes_each), (100, Some(7.0)));
    let images = Images::of("sample", &RunConfig::preset("sample").unwrap(), None, None).unwrap();
    assert_eq!((images.count, images.bytes_each), (192, None));
}

/// A small run, which writes a checkpoint.
fn small(setting: &str) -> (RunConfig, tempfile::TempDir) {
    let settings =
        ["encoder.width=8", "encoder.depths=[1, 1, 1]", "run.steps=1", "run.batch_size=2", "run.eval_masks=1"];
    let overrides: Vec<_> =
        settings.into_iter().chain([setting, "optim.lr=0.001"]).map(|set| Override::set(set).unwrap()).collect();
    (RunConfig::resolve("quick", None, &overrides).unwrap(), tempfile::tempdir().unwrap())
}

#[test]
fn a_checkpoint_is_as_large_as_planned() {
    for setting in ["optim.name=sgd", "optim.name=adamw", "run.ema_decay=0.9"] {
        let (config, folder) = small(setting);
        let out = folder.path().join("run");
        pretrain(config.clone(), &PretrainOptions { out: out.clone(), quiet: true, ..Default::default() }).unwrap();
        let file = RunDir::open(&out).unwrap().latest_checkpoint().unwrap();
        let written = std::fs::metadata(file).unwrap().len() as f64;
        let (planned, _) = checkpoint_bytes(&config, &ModelSize::of(&config).unwrap());
        // Beside the tensors there are their names and the record.
        assert!(planned < written && written < 1.05 * planned, "{setting}: {planned} planned, {written} written");
    }
}

#[test]
fn checkpoints_are_counted_as_they_are_kept() {
    let kept = |steps, every, last, for_good| {
        let mut config = RunConfig::default();
        (config.run.steps, config.run.checkpoint_every) = (steps, every);
        (config.run.keep_last, config.run.keep_every) = (last, for_good);
        checkpoints_kept(&config)
    };
    assert_eq!(kept(100, 10, 2, 0), 2); // 90, 100
    assert_eq!(kept(100, 10, 2, 30), 4); // 30, 60; 90 and 100 are the last
    assert_eq!(kept(105, 10, 2, 50), 3); // 50; 100, 105
    assert_eq!(kept(100, 10, 0, 0), 10);
    assert_eq!(kept(100, 0, 2, 0), 1);
}

#[test]
fn both_measurements_give_positive_numbers() {
    let (config, _folder) = small("optim.name=sgd");
    let speed = Speed::measured(&config, &Device::Cpu).unwrap();
    assert!(speed.images_per_second > 0.0 && speed.assumption.contains("2 random images"), "{}", speed.assumption);
    let bandwidth = Bandwidth::measured();
    assert!(bandwidth.bytes_per_second > 1e8, "{}", bandwidth.assumption);
}
