//! Bad input is refused by an error that names the thing, the value and what was expected.

use candle_core::{DType, Device, Tensor};
use selfie_loss::{InfoNce, LossConfig, Result};

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

fn zeros(dims: &[usize], dtype: DType) -> Result<Tensor> {
    Ok(Tensor::zeros(dims, dtype, &Device::Cpu)?)
}

#[test]
fn temperatures_out_of_range_are_refused() {
    for (temperature, shown) in [(0.0, "0"), (-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let config = LossConfig { temperature, ..LossConfig::default() };
        let expected = format!("temperature: {shown}, expected a finite number above 0");
        assert_eq!(message(config.validate()), expected);
        assert_eq!(message(InfoNce::new(&config, 4)), expected);
    }
}

#[test]
fn too_many_distractors_are_refused() {
    let config = LossConfig { num_distractors: 4, ..LossConfig::default() };
    let expected = "num_distractors: 4 of 3 other patches, expected 1 to 3, or 0 = all";
    assert_eq!(message(InfoNce::new(&config, 4)), expected);
}

#[test]
fn a_lone_target_is_refused() {
    for num_targets in [0, 1] {
        let expected = format!("num_targets: {num_targets} leaves a query without distractors, expected at least 2");
        assert_eq!(message(InfoNce::new(&LossConfig::default(), num_targets)), expected);
    }
}

#[test]
fn queries_of_another_shape_or_type_are_refused() -> Result<()> {
    let info_nce = InfoNce::new(&LossConfig::default(), 4)?;
    for (dims, dtype, got) in [
        (&[2, 3, 8][..], DType::F32, "[2, 3, 8] of f32"),
        (&[4, 8], DType::F32, "[4, 8] of f32"),
        (&[2, 4, 0], DType::F32, "[2, 4, 0] of f32"),
        (&[2, 4, 8], DType::U8, "[2, 4, 8] of u8"),
    ] {
        let x = zeros(dims, dtype)?;
        let refused = message(info_nce.forward(&x, &x, 0..2, 0));
        assert_eq!(refused, format!("queries: expected [B, 4, D] of floats, none of them 0, got {got}"));
    }
    Ok(())
}

#[test]
fn targets_unlike_the_queries_are_refused() -> Result<()> {
    let info_nce = InfoNce::new(&LossConfig::default(), 4)?;
    let queries = zeros(&[2, 4, 8], DType::F32)?;
    for (dims, dtype, got) in
        [(&[2, 4, 9], DType::F32, "[2, 4, 9] of f32"), (&[2, 4, 8], DType::F64, "[2, 4, 8] of f64")]
    {
        let refused = message(info_nce.forward(&queries, &zeros(dims, dtype)?, 0..2, 0));
        assert_eq!(refused, format!("targets: expected [2, 4, 8] of f32, as the queries, got {got}"));
    }
    Ok(())
}

#[test]
fn numbers_unlike_the_batch_are_refused() -> Result<()> {
    let info_nce = InfoNce::new(&LossConfig::default(), 4)?;
    let x = zeros(&[2, 4, 8], DType::F32)?;
    let reversed = std::ops::Range { start: 3, end: 1 };
    for (images, got) in [(0..3, "more"), (0..u64::MAX, "more"), (7..7, "0"), (reversed, "0")] {
        let refused = message(info_nce.forward(&x, &x, images, 0));
        assert_eq!(refused, format!("images: expected the numbers of 2 images, as the queries, got {got}"));
    }
    Ok(())
}
