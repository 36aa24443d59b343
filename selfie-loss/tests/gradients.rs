//! Gradients of every kind of logits, with all distractors and with some, against central
//! differences.

use candle_core::{DType, Device, Tensor, Var};
use selfie_loss::{InfoNce, Logits, LossConfig, Result};

const DIMS: (usize, usize, usize) = (2, 4, 3); // (B, M, D)

/// Numbers between -1 and 1 without a pattern that the loss could share.
fn numbers(phase: f64) -> Result<Tensor> {
    let count = DIMS.0 * DIMS.1 * DIMS.2;
    let values: Vec<f64> = (0..count).map(|i| (7.3 * i as f64 + phase).sin()).collect();
    Ok(Tensor::from_vec(values, DIMS, &Device::Cpu)?)
}

/// Compares the gradient of the scalar `f` at `x` with central differences.
fn assert_gradient(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let var = Var::from_tensor(x)?;
    let gradients = f(&var)?.backward()?;
    let gradient = gradients.get(&var).expect("the input is reached").flatten_all()?.to_vec1::<f64>()?;
    let values = x.flatten_all()?.to_vec1::<f64>()?;
    let at = |i: usize, step: f64| -> Result<f64> {
        let mut values = values.clone();
        values[i] += step;
        Ok(f(&Tensor::from_vec(values, DIMS, &Device::Cpu)?)?.to_scalar()?)
    };
    for (i, gradient) in gradient.into_iter().enumerate() {
        let difference = (at(i, 1e-5)? - at(i, -1e-5)?) / 2e-5;
        assert!((gradient - difference).abs() < 1e-8, "element {i}: {gradient} and {difference}");
    }
    Ok(())
}

#[test]
fn every_kind_of_logits_agrees_with_finite_differences() -> Result<()> {
    let (queries, targets) = (numbers(0.1)?, numbers(2.5)?);
    for logits in [Logits::Plain, Logits::Scaled, Logits::Cosine] {
        for num_distractors in [0, 1, 2] {
            let config = LossConfig { logits, temperature: 0.3, num_distractors };
            let info_nce = InfoNce::new(&config, DIMS.1)?;
            assert_gradient(&queries, |queries| Ok(info_nce.forward(queries, &targets, 0..2, 5)?.loss))?;
            assert_gradient(&targets, |targets| Ok(info_nce.forward(&queries, targets, 0..2, 5)?.loss))?;
        }
    }
    Ok(())
}

#[test]
fn logits_carry_gradient_and_accuracy_does_not() -> Result<()> {
    let queries = Var::from_tensor(&numbers(0.1)?)?;
    let output = InfoNce::new(&LossConfig::default(), DIMS.1)?.forward(&queries, &numbers(2.5)?, 0..2, 0)?;
    assert!(output.logits.sum_all()?.backward()?.get(&queries).is_some());
    assert!(!output.accuracy.track_op() && !output.correct.track_op());
    Ok(())
}

#[test]
fn half_precision_is_computed_in_single_and_gets_its_gradient_back() -> Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        let queries = Var::from_tensor(&numbers(0.1)?.to_dtype(dtype)?)?;
        let targets = numbers(2.5)?.to_dtype(dtype)?;
        let output = InfoNce::new(&LossConfig::default(), DIMS.1)?.forward(&queries, &targets, 0..2, 0)?;
        assert_eq!((output.loss.dtype(), output.accuracy.dtype()), (DType::F32, DType::F32));
        let gradients = output.loss.backward()?;
        assert_eq!(gradients.get(&queries).expect("a gradient").dtype(), dtype);
    }
    Ok(())
}

#[test]
fn large_logits_stay_finite() -> Result<()> {
    // Logits of 1e4 and -1e4: e^1e4 is beyond any float. Query 0 is right, query 1 is as wrong as
    // can be.
    let queries = Var::new(&[[[100f32, 0.], [100., -100.]]], &Device::Cpu)?;
    let targets = Tensor::new(&[[[100f32, 0.], [0., 100.]]], &Device::Cpu)?;
    for num_distractors in [0, 1] {
        let config = LossConfig { num_distractors, ..LossConfig::default() };
        let output = InfoNce::new(&config, 2)?.forward(&queries, &targets, 0..1, 0)?;
        assert_eq!(output.loss.to_scalar::<f32>()?, 1e4); // the mean of 0 and 2e4
        let gradients = output.loss.backward()?;
        let gradient = gradients.get(&queries).expect("a gradient").to_vec3::<f32>()?;
        assert_eq!(gradient, [[[0., 0.], [50., -50.]]]); // half the wrong patch minus half the right one
    }
    Ok(())
}

#[test]
fn large_logits_beside_left_out_patches_stay_finite() -> Result<()> {
    let queries = Var::from_tensor(&(numbers(0.1)? * 100.)?.to_dtype(DType::F32)?)?;
    let targets = (numbers(2.5)? * 100.)?.to_dtype(DType::F32)?;
    let config = LossConfig { num_distractors: 1, ..LossConfig::default() };
    let output = InfoNce::new(&config, DIMS.1)?.forward(&queries, &targets, 0..2, 0)?;
    assert!(output.loss.to_scalar::<f32>()?.is_finite());
    let gradients = output.loss.backward()?;
    let gradient = gradients.get(&queries).expect("a gradient").flatten_all()?.to_vec1::<f32>()?;
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    Ok(())
}

#[test]
fn zero_vectors_have_a_finite_cosine() -> Result<()> {
    let queries = Var::from_tensor(&Tensor::zeros(DIMS, DType::F32, &Device::Cpu)?)?;
    let targets = numbers(2.5)?.to_dtype(DType::F32)?;
    let config = LossConfig { logits: Logits::Cosine, ..LossConfig::default() };
    let output = InfoNce::new(&config, DIMS.1)?.forward(&queries, &targets, 0..2, 0)?;
    assert!((output.loss.to_scalar::<f32>()? - 4f32.ln()).abs() < 1e-6);
    let gradients = output.loss.backward()?;
    let gradient = gradients.get(&queries).expect("a gradient").flatten_all()?.to_vec1::<f32>()?;
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    Ok(())
}
