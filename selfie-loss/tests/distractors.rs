//! The random subset of distractors, seen from outside.

use candle_core::{DType, Device, Tensor};
use selfie_loss::{InfoNce, LossConfig, LossOutput, Result};

fn forward(num_distractors: usize, x: &Tensor, images: std::ops::Range<u64>, seed: u64) -> Result<LossOutput> {
    let config = LossConfig { num_distractors, ..LossConfig::default() };
    InfoNce::new(&config, x.dim(1)?)?.forward(x, x, images, seed)
}

/// Vectors that are all different: (B, M, D).
fn vectors(b: usize, m: usize) -> Result<Tensor> {
    let values: Vec<f32> = (0..b * m * 3).map(|i| (1.7 * i as f32).sin()).collect();
    Ok(Tensor::from_vec(values, (b, m, 3), &Device::Cpu)?)
}

#[test]
fn the_number_of_distractors_is_honoured() -> Result<()> {
    // All logits are equal, so a softmax over 1 + S candidates costs ln(1 + S).
    let zeros = Tensor::zeros((8, 6, 3), DType::F32, &Device::Cpu)?;
    for s in 1..6 {
        let output = forward(s, &zeros, 0..8, 1)?;
        let expected = (1.0 + s as f32).ln();
        assert!((output.loss.to_scalar::<f32>()? - expected).abs() < 1e-6);
        assert_eq!(output.chance, 1.0 / (1 + s) as f64);
    }
    Ok(())
}

#[test]
fn zero_distractors_means_all_of_them() -> Result<()> {
    let x = vectors(2, 5)?;
    let (all, four) = (forward(0, &x, 0..2, 1)?, forward(4, &x, 0..2, 2)?);
    assert_eq!(all.loss.to_scalar::<f32>()?, four.loss.to_scalar::<f32>()?);
    assert_eq!((all.chance, four.chance), (0.2, 0.2));
    Ok(())
}

#[test]
fn fewer_distractors_never_cost_more() -> Result<()> {
    let x = vectors(4, 6)?;
    for s in 1..5 {
        let (some, all) = (forward(s, &x, 0..4, 1)?, forward(0, &x, 0..4, 1)?);
        assert!(some.loss.to_scalar::<f32>()? < all.loss.to_scalar::<f32>()?);
        let (some, all) = (some.correct.to_vec2::<u8>()?, all.correct.to_vec2::<u8>()?);
        let lost = some.concat().iter().zip(all.concat()).any(|(&some, all)| some < all);
        assert!(!lost, "a query lost its positive among fewer distractors");
    }
    Ok(())
}

#[test]
fn logits_are_there_for_every_pair() -> Result<()> {
    let x = vectors(2, 6)?;
    assert_eq!(forward(1, &x, 0..2, 1)?.logits.to_vec3::<f32>()?, forward(0, &x, 0..2, 1)?.logits.to_vec3::<f32>()?);
    Ok(())
}

#[test]
fn equal_logits_score_by_chance_on_average() -> Result<()> {
    // The query is right where its positive stands before its distractors: 1 in 1 + S. 6000
    // queries, four deviations.
    let (b, m, s) = (1000, 6, 2);
    let output = forward(s, &Tensor::zeros((b, m, 1), DType::F32, &Device::Cpu)?, 0..b as u64, 1)?;
    let deviation = (output.chance * (1.0 - output.chance) / (b * m) as f64).sqrt();
    let accuracy = f64::from(output.accuracy.to_scalar::<f32>()?);
    assert!((accuracy - output.chance).abs() < 4.0 * deviation, "{accuracy} and {}", output.chance);
    Ok(())
}

#[test]
fn a_batch_cut_in_pieces_has_the_same_loss() -> Result<()> {
    let x = vectors(4, 6)?;
    let whole = forward(2, &x, 10..14, 3)?;
    let pieces = [forward(2, &x.narrow(0, 0, 3)?, 10..13, 3)?, forward(2, &x.narrow(0, 3, 1)?, 13..14, 3)?];
    let correct = Tensor::cat(&[&pieces[0].correct, &pieces[1].correct], 0)?;
    assert_eq!(correct.to_vec2::<u8>()?, whole.correct.to_vec2::<u8>()?);
    let mean = (3. * pieces[0].loss.to_scalar::<f32>()? + pieces[1].loss.to_scalar::<f32>()?) / 4.;
    assert!((mean - whole.loss.to_scalar::<f32>()?).abs() < 1e-6);
    Ok(())
}

#[test]
fn another_seed_draws_other_distractors() -> Result<()> {
    let x = vectors(4, 6)?;
    let loss = |seed| -> Result<f32> { Ok(forward(2, &x, 0..4, seed)?.loss.to_scalar()?) };
    assert_eq!(loss(1)?, loss(1)?);
    assert_ne!(loss(1)?, loss(2)?);
    Ok(())
}
