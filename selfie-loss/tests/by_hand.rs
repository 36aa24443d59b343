//! Values of the loss that can be worked out on paper.

use candle_core::{DType, Device, Tensor, Var};
use selfie_loss::{InfoNce, Logits, LossConfig, LossOutput, Result};

/// The paper's loss of queries and targets (B, M, D).
fn plain(queries: &Tensor, targets: &Tensor) -> Result<LossOutput> {
    let (b, m, _) = queries.dims3()?;
    InfoNce::new(&LossConfig::default(), m)?.forward(queries, targets, 0..b as u64, 0)
}

fn assert_close(got: &Tensor, expected: &[f64]) -> Result<()> {
    let got = got.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got} and {expected}");
    }
    Ok(())
}

#[test]
fn two_targets_by_hand() -> Result<()> {
    // Logits [[1, 0], [0, 2]]: the losses are ln(1 + e^-1) = 0.313262 and ln(1 + e^-2) = 0.126928.
    let queries = Var::new(&[[[1f32, 0.], [0., 2.]]], &Device::Cpu)?;
    let targets = Var::new(&[[[1f32, 0.], [0., 1.]]], &Device::Cpu)?;
    let output = plain(&queries, &targets)?;
    assert_close(&output.logits, &[1., 0., 0., 2.])?;
    assert_close(&output.loss, &[(0.313_261_7 + 0.126_928_0) / 2.])?;

    // d loss / d logits = (softmax - 1) / 2, where 1 / (1 + e) = 0.268941 and 1 / (1 + e^2) =
    // 0.119203 go to the distractors.
    let (p, q) = (0.268_941_4 / 2., 0.119_202_9 / 2.);
    let gradients = output.loss.backward()?;
    let gradient = |var: &Var| gradients.get(var).cloned().expect("a gradient");
    assert_close(&gradient(&queries), &[-p, p, q, -q])?; // times the targets, which are the unit vectors
    assert_close(&gradient(&targets), &[-p, 2. * q, p, -2. * q])?; // transposed, times the queries
    Ok(())
}

#[test]
fn images_do_not_see_each_other() -> Result<()> {
    let two = Tensor::new(&[[[1f32, 0.], [0., 2.]], [[3., 1.], [-1., 1.]]], &Device::Cpu)?;
    let apart =
        [plain(&two.narrow(0, 0, 1)?, &two.narrow(0, 0, 1)?)?, plain(&two.narrow(0, 1, 1)?, &two.narrow(0, 1, 1)?)?];
    let mean = ((&apart[0].loss + &apart[1].loss)? / 2.)?.to_scalar::<f32>()?;
    assert_close(&plain(&two, &two)?.loss, &[f64::from(mean)])
}

#[test]
fn perfectly_aligned_queries_are_all_correct() -> Result<()> {
    let units = Tensor::eye(5, DType::F32, &Device::Cpu)?.unsqueeze(0)?; // (1, 5, 5)
    for logits in [Logits::Plain, Logits::Scaled, Logits::Cosine] {
        let config = LossConfig { logits, ..LossConfig::default() };
        let output = InfoNce::new(&config, 5)?.forward(&units, &units, 0..1, 0)?;
        assert_eq!(output.accuracy.to_scalar::<f32>()?, 1.);
        assert_eq!(output.correct.to_vec2::<u8>()?, [[1; 5]]);
    }
    Ok(())
}

#[test]
fn accuracy_counts_single_queries() -> Result<()> {
    // Queries 0 and 1 of image 1 take each other's patch.
    let targets = Tensor::eye(3, DType::F32, &Device::Cpu)?.broadcast_as((2, 3, 3))?.contiguous()?;
    let queries = Tensor::new(
        &[[[1f32, 0., 0.], [0., 1., 0.], [0., 0., 1.]], [[0., 1., 0.], [1., 0., 0.], [0., 0., 1.]]],
        &Device::Cpu,
    )?;
    let output = plain(&queries, &targets)?;
    assert_eq!(output.correct.to_vec2::<u8>()?, [[1, 1, 1], [0, 0, 1]]);
    assert_close(&output.accuracy, &[4. / 6.])
}

#[test]
fn equal_logits_score_by_chance() -> Result<()> {
    // A network that has collapsed must not look clever: of equal patches the first is taken.
    let same = Tensor::ones((2, 4, 3), DType::F32, &Device::Cpu)?;
    let output = plain(&same, &same)?;
    assert_eq!(output.correct.to_vec2::<u8>()?, [[1, 0, 0, 0]; 2]);
    assert_close(&output.accuracy, &[output.chance])?;
    assert_close(&output.loss, &[4f64.ln()])
}

#[test]
fn a_duplicate_of_the_positive_costs_one_bit() -> Result<()> {
    // Patches 0 and 1 look the same, so each of their queries is torn in two; patch 2 is far off.
    let patches = Tensor::new(&[[[50f32, 0.], [50., 0.], [0., 50.]]], &Device::Cpu)?;
    let output = plain(&patches, &patches)?;
    assert_close(&output.loss, &[2. * 2f64.ln() / 3.])?;
    assert_eq!(output.correct.to_vec2::<u8>()?, [[1, 0, 1]]);
    Ok(())
}

#[test]
fn temperature_divides_the_cosine_and_nothing_else() -> Result<()> {
    let queries = Tensor::new(&[[[3f32, 4.], [0., 2.]]], &Device::Cpu)?;
    let targets = Tensor::new(&[[[5f32, 0.], [0., 7.]]], &Device::Cpu)?;
    let logits = |logits, temperature| -> Result<Tensor> {
        let config = LossConfig { logits, temperature, ..LossConfig::default() };
        Ok(InfoNce::new(&config, 2)?.forward(&queries, &targets, 0..1, 0)?.logits)
    };
    assert_close(&logits(Logits::Cosine, 0.5)?, &[1.2, 1.6, 0., 2.])?;
    assert_close(&logits(Logits::Plain, 0.5)?, &[15., 28., 0., 14.])?;
    let root = 2f64.sqrt();
    assert_close(&logits(Logits::Scaled, 0.5)?, &[15. / root, 28. / root, 0., 14. / root])
}
