//! The hold-out and the choice of the regularisation.

use super::*;

#[test]
fn the_holdout_takes_a_tenth_of_each_class_and_leaves_the_rest() {
    let labels: Vec<u32> = (0..100).map(|i| u32::from(i >= 60)).collect(); // 60 and 40
    let (fit, held_out) = stratified_holdout(&labels, 2, 0.1, 7);
    let of_class = |class| held_out.iter().filter(|&&i| labels[i as usize] == class).count();
    assert_eq!((of_class(0), of_class(1), fit.len()), (6, 4, 90));
    let mut all = [fit, held_out].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<u32>>());
}

#[test]
fn a_class_of_one_image_keeps_it() {
    let (fit, held_out) = stratified_holdout(&[0, 1, 1, 1], 2, 0.9, 0);
    assert!(fit.contains(&0) && held_out.len() == 2);
}

#[test]
fn another_seed_holds_out_other_images() {
    let labels = [0; 50];
    let held_out = |seed| stratified_holdout(&labels, 1, 0.1, seed).1;
    assert_eq!(held_out(1), held_out(1));
    assert_ne!(held_out(1), held_out(2));
}

/// One feature tells the class, 15 are noise: 4 images a class.
fn noisy() -> Features {
    let mut rng = stream(1, HOLDOUT, 9, 9);
    let labels: Vec<u32> = (0..80).map(|i| i % 2).collect();
    let value = |image: usize, feature: usize, noise: f64| {
        if feature == 0 { 2.0 * f64::from(labels[image]) - 1.0 + 0.5 * noise } else { noise }
    };
    let values: Vec<f32> =
        (0..80 * 16).map(|i| value(i / 16, i % 16, below(2001, &mut rng) as f64 / 1000.0 - 1.0) as f32).collect();
    Features { kind: FeatureKind::Image, values: Tensor::from_vec(values, (80, 16), &Device::Cpu).unwrap(), labels }
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
