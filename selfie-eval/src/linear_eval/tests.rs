//! The choice of the regularisation.

use candle_core::{Device, Tensor};
use selfie_train::{Batch, Dataset, FeatureRows, Image8};

use super::*;
use crate::stream::{HOLDOUT, below, stream};

/// One feature tells the class, 15 are noise: 4 images a class.
fn noisy() -> ImageFeatures {
    let mut rng = stream(1, HOLDOUT, 9, 9);
    let labels: Vec<u32> = (0..80).map(|i| i % 2).collect();
    let value = |image: usize, feature: usize, noise: f64| {
        if feature == 0 { 2.0 * f64::from(labels[image]) - 1.0 + 0.5 * noise } else { noise }
    };
    let values: Vec<f32> =
        (0..80 * 16).map(|i| value(i / 16, i % 16, below(2001, &mut rng) as f64 / 1000.0 - 1.0) as f32).collect();
    let images = (0..80).map(|_| Image8::new(1, 1, vec![0; 3]).unwrap()).collect();
    let mut rows = FeatureRows::new(&Dataset::from_images(images, &labels, &["a", "b"]).unwrap());
    let values = Tensor::from_vec(values, (80, 16), &Device::Cpu).unwrap();
    let images = values.reshape((80, 1, 4, 4)).unwrap();
    let batch = Batch { images, labels: None, indices: (0..80).collect(), keys: (0..80).collect() };
    rows.add(&batch, &values).unwrap();
    rows.finish().unwrap()
}

#[test]
fn the_strength_comes_from_the_grid_and_the_holdout() {
    let tuning = Tuning { grid: vec![1e3, 1e-2], holdout: 0.25 };
    let chosen = choose(&noisy(), 2, &tuning, 3).unwrap();
    assert_eq!((chosen.l2, chosen.images), (1e-2, 20));
    assert!(chosen.accuracy.unwrap() > 0.9, "{chosen:?}");
}

#[test]
fn without_a_holdout_the_middle_of_the_grid_is_taken() {
    let tuning = Tuning { grid: vec![1.0, 0.1, 0.01], holdout: 0.0 };
    assert_eq!(choose(&noisy(), 2, &tuning, 3).unwrap(), Chosen { l2: 0.1, accuracy: None, images: 0 });
}
