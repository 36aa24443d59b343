//! The whole model learns: eight images, no augmentation, fresh masks in every step.
#![allow(clippy::unwrap_used)]

mod small;

use candle_core::Device;
use selfie_train::{
    Augment, Dataset, EvalSet, Loader, LoaderConfig, MaskedPatches, ParamStore, Ranks, RunConfig, SelfieModel, Split,
    StopFlag, TrainState, Trainer, TrainingImages, Transform, channel_stats, normalise_of,
};

fn settings(folder: &std::path::Path) -> RunConfig {
    let mut config = small::config(folder, 400);
    (config.encoder.width, config.run.batch_size, config.run.log_every) = (8, 8, 25);
    (config.data.augment, config.optim.lr) = (Augment::None, 3e-3);
    config
}

#[test]
fn eight_images_are_learned_to_more_than_95_percent() {
    let folder = tempfile::tempdir().unwrap();
    small::images(folder.path(), 8);
    let mut config = settings(folder.path());
    let images = Dataset::open(&config.data.source, Split::Train).unwrap();
    (config.data.mean, config.data.std) = channel_stats(&images, 8).unwrap();

    let (device, plan) = (Device::Cpu, config.pretrain_plan());
    let store = ParamStore::new(0, &device);
    let task = MaskedPatches::new(SelfieModel::new(&config, store.builder()).unwrap(), &config).unwrap();
    let normalise = normalise_of(&config).unwrap();
    let batches = LoaderConfig { batch_size: 8, workers: 1, ..Default::default() };
    let transform = Transform::train(config.data.augment, config.patch.image_size);
    let mut loader = Loader::new(images.clone(), transform, normalise.clone(), batches, &device).unwrap();
    let trainer = Trainer {
        task: &task,
        store: &store,
        plan: &plan,
        images: TrainingImages { count: images.len(), names: String::new() },
        ranks: &Ranks::default(),
        held_out: Some(EvalSet { images, normalise, image_size: 32, batch_size: 8, workers: 1, passes: 8, seed: 1 }),
        knn: None,
        run_dir: None,
        recipe: serde_json::Value::Null,
        quiet: true,
        stop: StopFlag::default(),
    };
    let report = trainer.train(&mut TrainState::fresh(&plan, &store).unwrap(), &mut loader).unwrap();
    assert!(report.accuracy > 0.95, "training accuracy {}", report.accuracy);
    let seen = report.held_out.unwrap(); // the same images, in eval mode, under masks of their own
    assert!(seen.accuracy > 0.95 && seen.images == 8, "{seen:?}");
    assert_eq!(report.chance, 0.25);
}
