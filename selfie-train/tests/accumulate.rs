//! A batch that goes through the model in parts gives the update of the whole batch; tested with a task without batch norm.
#![allow(clippy::unwrap_used)]

mod small;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Linear, Module};
use selfie_train::{
    Batch, Dataset, Image8, Loader, LoaderConfig, Normalise, ParamStore, Phase, Plan, Ranks, Result, RunConfig,
    StopFlag, Task, TaskOutput, TrainState, Trainer, TrainingImages, Transform,
};

/// Which of two classes an image has, by one linear layer over its pixels.
struct Linear2(Linear);

impl Task for Linear2 {
    fn loss(&self, batch: &Batch, _: Phase) -> Result<TaskOutput> {
        let labels = batch.labels.as_ref().unwrap();
        let logits = self.0.forward(&batch.images.flatten_from(1)?)?; // (B, 2)
        let correct = logits.detach().argmax(D::Minus1)?.eq(labels)?; // (B)
        Ok(TaskOutput {
            loss: candle_nn::loss::cross_entropy(&logits, labels)?,
            accuracy: correct.to_dtype(DType::F32)?.mean_all()?,
            correct: correct.unsqueeze(1)?,
            features: None,
        })
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

fn plan(micro_batch_size: usize) -> Plan {
    let mut config = RunConfig::preset("quick").unwrap();
    (config.run.steps, config.run.batch_size, config.run.log_every) = (5, 12, 5);
    (config.run.micro_batch_size, config.optim.clip_norm) = (micro_batch_size, 0.1);
    config.pretrain_plan()
}

/// Weights, loss and accuracy after five steps.
fn trained(micro_batch_size: usize) -> (Vec<f32>, f64, f64) {
    let pixels = |i: u8| (0..48).map(|p| (p * 5) ^ i.wrapping_mul(37)).collect();
    let images = (0..24).map(|i| Image8::new(4, 4, pixels(i)).unwrap()).collect();
    let labels: Vec<_> = (0..24).map(|i| i % 2).collect();
    let data = Dataset::from_images(images, &labels, &["a", "b"]).unwrap();
    let normalise = Normalise::new(&[0.5; 3], &[0.25; 3]).unwrap();
    let batches = LoaderConfig { batch_size: 12, workers: 1, ..Default::default() };
    let mut loader = Loader::new(data, Transform::eval(4), normalise, batches, &Device::Cpu).unwrap();

    let (plan, store) = (plan(micro_batch_size), ParamStore::new(0, &Device::Cpu));
    let task = Linear2(candle_nn::linear(48, 2, store.builder()).unwrap());
    let (recipe, stop) = (serde_json::Value::Null, StopFlag::default());
    let trainer = Trainer {
        task: &task,
        store: &store,
        plan: &plan,
        images: TrainingImages { count: 24, names: String::new() },
        ranks: &Ranks::default(),
        held_out: None,
        knn: None,
        run_dir: None,
        recipe,
        quiet: true,
        stop,
    };
    let report = trainer.train(&mut TrainState::fresh(&plan, &store).unwrap(), &mut loader).unwrap();
    let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (store.tensors().into_iter().flat_map(|(_, tensor)| flat(tensor)).collect(), report.loss, report.accuracy)
}

#[test]
fn parts_of_any_size_give_the_update_of_the_whole_batch() {
    let (whole, loss, accuracy) = trained(0);
    for micro in [1, 3, 5, 7, 12, 100] {
        let (parts, loss_of_parts, accuracy_of_parts) = trained(micro);
        let apart = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 2e-6, "parts of {micro}: weights {apart} apart");
        assert!((loss - loss_of_parts).abs() < 1e-6 && (accuracy - accuracy_of_parts).abs() < 1e-6, "parts of {micro}");
    }
}

#[test]
fn masks_do_not_depend_on_how_the_batch_is_cut() {
    use selfie_train::{MaskedPatches, SelfieModel};
    let config = small::config(std::path::Path::new("unused"), 1);
    let store = ParamStore::new(0, &Device::Cpu);
    let task = MaskedPatches::new(SelfieModel::new(&config, store.builder()).unwrap(), &config).unwrap();
    let targets = |images: std::ops::Range<u64>| {
        let puzzle = task.puzzle(&images.collect::<Vec<_>>(), Phase::Train { step: 3 }, &Device::Cpu).unwrap();
        puzzle.mask.targets.to_vec2::<u32>().unwrap()
    };
    let whole = targets(36..48);
    assert_eq!(whole, [targets(36..40), targets(40..48)].concat());
    assert_ne!(whole, targets(48..60)); // and are fresh in the next step
}

/// The whole model with its norms frozen: batch norm's running statistics, no dropout; so an image's loss is its own.
struct Frozen(selfie_train::MaskedPatches);

impl Task for Frozen {
    fn loss(&self, batch: &Batch, phase: Phase) -> Result<TaskOutput> {
        let puzzle = self.0.puzzle(&batch.keys, phase, batch.images.device())?;
        let output = self.0.model().forward(&batch.images, &puzzle, selfie_train::Mode::Eval)?;
        let features = None;
        Ok(TaskOutput { loss: output.loss, accuracy: output.accuracy, correct: output.correct, features })
    }

    fn chance(&self) -> f64 {
        self.0.chance()
    }
}

/// All weights of the model after three updates by SGD, with clipping.
fn model_trained(micro_batch_size: usize) -> (Vec<(String, Vec<f32>)>, f64) {
    use selfie_train::{MaskedPatches, OptimName, SelfieModel};
    let mut config = small::config(std::path::Path::new("unused"), 3);
    (config.run.batch_size, config.run.micro_batch_size, config.run.log_every) = (6, micro_batch_size, 3);
    (config.optim.name, config.optim.lr, config.optim.clip_norm) = (OptimName::Sgd, 0.01, 1.0);
    let pixels = |i: usize| (0..32 * 32 * 3).map(|p| ((p * 7 + i * 31) ^ (p / 96)) as u8).collect();
    let images = (0..12).map(|i| Image8::new(32, 32, pixels(i)).unwrap()).collect();
    let data = Dataset::from_images(images, &[], &[]).unwrap();
    let normalise = Normalise::new(&[0.5; 3], &[0.25; 3]).unwrap();
    let batches = LoaderConfig { batch_size: 6, workers: 1, ..Default::default() };
    let mut loader = Loader::new(data, Transform::eval(32), normalise, batches, &Device::Cpu).unwrap();
    let (plan, store) = (config.pretrain_plan(), ParamStore::new(0, &Device::Cpu));
    let model = SelfieModel::new(&config, store.builder()).unwrap();
    let task = Frozen(MaskedPatches::new(model, &config).unwrap());
    let trainer = Trainer {
        task: &task,
        store: &store,
        plan: &plan,
        images: TrainingImages { count: 12, names: String::new() },
        ranks: &Ranks::default(),
        held_out: None,
        knn: None,
        run_dir: None,
        recipe: serde_json::Value::Null,
        quiet: true,
        stop: StopFlag::default(),
    };
    let report = trainer.train(&mut TrainState::fresh(&plan, &store).unwrap(), &mut loader).unwrap();
    let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (store.tensors().into_iter().map(|(name, tensor)| (name, flat(tensor))).collect(), report.loss)
}

#[test]
fn with_frozen_norms_the_whole_model_learns_the_same_in_parts() {
    let (whole, loss) = model_trained(0);
    for micro in [1, 2, 4] {
        let (parts, loss_of_parts) = model_trained(micro);
        assert!((loss - loss_of_parts).abs() < 1e-4 * loss, "parts of {micro}: loss {loss_of_parts}, expected {loss}");
        for ((name, whole), (_, parts)) in whole.iter().zip(&parts) {
            let largest = whole.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
            let apart = whole.iter().zip(parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4 * largest, "parts of {micro}: {name} is {apart} apart");
        }
    }
}
