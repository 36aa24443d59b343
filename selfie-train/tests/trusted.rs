//! What makes a run one that can be trusted, beside resuming: averages of the weights, updates that are left out, checkpoints that stay.
#![allow(clippy::unwrap_used)]

mod small;

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use selfie_train::{
    Batch, Checkpoint, Dataset, Error, Image8, Loader, LoaderConfig, Normalise, OnNonfinite, ParamStore, Phase, Plan,
    PretrainOptions, Pretrained, Ranks, Result, RunConfig, RunDir, StopFlag, Task, TaskOutput, TrainReport, TrainState,
    Trainer, TrainingImages, Transform, load_run, pretrain, read_metrics,
};
use small::{config, images, options};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"), 20);
    folder
}

#[test]
fn an_average_of_the_weights_resumes_to_the_same_bits_and_is_what_others_take() {
    let folder = folder();
    let mut config = config(&folder.path().join("images"), 7);
    config.run.ema_decay = 0.8;
    let [straight, stopped]: [PathBuf; 2] = ["straight", "stopped"].map(|name| folder.path().join(name));
    pretrain(config.clone(), &options(&straight)).unwrap();
    pretrain(config, &options(&stopped)).unwrap();
    let run = RunDir::open(&stopped).unwrap();
    let resume = PretrainOptions { resume: true, checkpoint: Some(3), ..options(&stopped) };
    pretrain(run.config().unwrap(), &resume).unwrap();
    let last = |run: &PathBuf| fs::read(RunDir::open(run).unwrap().latest_checkpoint().unwrap()).unwrap();
    assert!(last(&straight) == last(&stopped), "the final checkpoints differ");

    let checkpoint = run.read_checkpoint(None).unwrap();
    let value = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let name = "encoder.conv1.weight";
    let (trained, average) =
        (value(checkpoint.weights().get(name).unwrap()), value(checkpoint.used_weights().get(name).unwrap()));
    assert_ne!(trained, average);
    let (_, store, _) = load_run(&run, None, &Device::Cpu).unwrap();
    assert_eq!(value(&store.get(name).unwrap()), average);
    for from in [stopped.clone(), run.latest_checkpoint().unwrap(), run.encoder_path()] {
        let taken = Pretrained::open(&from, None).unwrap().encoder;
        assert_eq!(value(taken.get("conv1.weight").unwrap()), average, "{}", from.display());
    }
}

#[test]
fn checkpoints_at_every_so_many_steps_stay() {
    let folder = folder();
    let out = folder.path().join("run");
    let mut config = config(&folder.path().join("images"), 7);
    (config.run.checkpoint_every, config.run.keep_last, config.run.keep_every) = (1, 1, 3);
    pretrain(config, &options(&out)).unwrap();
    let kept: Vec<_> = RunDir::open(&out).unwrap().checkpoints().unwrap().iter().map(|(step, _)| *step).collect();
    assert_eq!(kept, [3, 6, 7]);
}

#[test]
fn metrics_tell_the_spread_of_the_features_and_the_probe_where_there_are_labels() {
    let folder = folder();
    let out = folder.path().join("run");
    pretrain(config(&folder.path().join("images"), 4), &options(&out)).unwrap();
    let lines = read_metrics(&out.join("metrics.jsonl")).unwrap();
    let spread: Vec<_> = lines.iter().filter_map(|line| line["feature_std"].as_f64()).collect();
    assert!(spread.len() == 2 && spread.iter().all(|&spread| 0.0 < spread && spread < 1.5), "{spread:?}");
    let probe =
        lines.iter().find_map(|line| line["knn_probe_accuracy"].as_f64().zip(line["knn_probe_chance"].as_f64()));
    assert!(probe.is_some_and(|(accuracy, chance)| (0.0..=1.0).contains(&accuracy) && chance == 0.5), "{lines:?}");
    let events = fs::read_dir(out.join("tensorboard")).unwrap().count();
    assert_eq!(events, 1);
}

/// One weight that is to become the mean of the images; the third loss is no number.
struct Mean {
    weight: Tensor,
    losses: Cell<u32>,
    bad: u32,
}

impl Task for Mean {
    fn loss(&self, batch: &Batch, _: Phase) -> Result<TaskOutput> {
        self.losses.set(self.losses.get() + 1);
        let error = self.weight.broadcast_sub(&batch.images.mean_all()?)?.sqr()?.mean_all()?;
        let loss = if self.losses.get() == self.bad { (error * f64::NAN)? } else { error };
        let zero = Tensor::new(0f32, &Device::Cpu)?;
        let correct = Tensor::zeros((batch.len(), 1), candle_core::DType::U8, &Device::Cpu)?;
        Ok(TaskOutput { loss, accuracy: zero, correct, features: None })
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

/// Four updates of [`Mean`], the `bad`th loss no number.
fn train_mean(on_nonfinite: OnNonfinite, max_skipped: u64, bad: u32) -> (Result<TrainReport>, TrainState, f32) {
    let images = (0..8).map(|i| Image8::new(1, 1, vec![30 * i; 3]).unwrap()).collect();
    let data = Dataset::from_images(images, &[], &[]).unwrap();
    let mut config = RunConfig::preset("quick").unwrap();
    (config.run.steps, config.run.batch_size, config.run.log_every) = (4, 4, 1);
    (config.run.on_nonfinite, config.run.max_skipped) = (on_nonfinite, max_skipped);
    let plan: Plan = config.pretrain_plan();
    let normalise = Normalise::new(&[0.5; 3], &[0.25; 3]).unwrap();
    let batches = LoaderConfig { batch_size: 4, workers: 1, ..Default::default() };
    let mut loader = Loader::new(data, Transform::eval(1), normalise, batches, &Device::Cpu).unwrap();
    let store = ParamStore::new(0, &Device::Cpu);
    let weight = store.builder().get_with_hints(1, "weight", candle_nn::Init::Const(1.0)).unwrap();
    let task = Mean { weight, losses: Cell::new(0), bad };
    let trainer = Trainer {
        task: &task,
        store: &store,
        plan: &plan,
        images: TrainingImages { count: 8, names: String::new() },
        ranks: &Ranks::default(),
        held_out: None,
        knn: None,
        run_dir: None,
        recipe: serde_json::Value::Null,
        quiet: true,
        stop: StopFlag::default(),
    };
    let mut state = TrainState::fresh(&plan, &store).unwrap();
    let report = trainer.train(&mut state, &mut loader);
    let weight = store.get("weight").unwrap().to_vec1::<f32>().unwrap()[0];
    (report, state, weight)
}

#[test]
fn a_loss_that_is_no_number_stops_before_its_update() {
    let (report, state, weight) = train_mean(OnNonfinite::Stop, 0, 3);
    let Err(Error::NotFinite { step: 3, what, last: None }) = report else { panic!("{report:?}") };
    assert!(what.contains("loss NaN is not finite, on images "), "{what}");
    assert_eq!((state.step, state.optimizer.updates()), (2, 2));
    let (_, two, expected) = train_mean(OnNonfinite::Stop, 0, 3);
    assert!(weight.is_finite() && weight == expected && two.step == 2);
}

#[test]
fn a_skipped_update_is_counted_up_to_the_limit() {
    let (report, state, weight) = train_mean(OnNonfinite::Skip, 1, 3);
    assert_eq!((report.unwrap().steps, state.skipped, state.optimizer.updates()), (4, 1, 3));
    assert!(weight.is_finite());
    let (report, state, _) = train_mean(OnNonfinite::Skip, 0, 3);
    assert!(report.unwrap_err().to_string().contains("run.max_skipped = 0 updates have been skipped"));
    assert_eq!(state.step, 2);
}

#[test]
fn running_statistics_are_no_part_of_a_skipped_update() {
    let folder = folder();
    let out = folder.path().join("run");
    let mut config = config(&folder.path().join("images"), 4);
    // The first update ruins the weights, so that every later loss is no number.
    (config.optim.lr, config.optim.name) = (1e30, selfie_train::OptimName::Sgd);
    (config.run.on_nonfinite, config.run.max_skipped, config.run.checkpoint_every) = (OnNonfinite::Skip, 10, 1);
    config.schedule.warmup_steps = 0;
    pretrain(config, &options(&out)).unwrap();
    let run = RunDir::open(&out).unwrap();
    let statistics = |step| {
        let checkpoint: Checkpoint = run.read_checkpoint(Some(step)).unwrap();
        let values = checkpoint.weights().get("encoder.bn1.running_mean").unwrap().to_vec1::<f32>().unwrap();
        (values, checkpoint.record().skipped, checkpoint.record().updates)
    };
    let ((first, ..), (last, skipped, updates)) = (statistics(1), statistics(4));
    assert_eq!((first, 3, 1), (last, skipped, updates));
}
