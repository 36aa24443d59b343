//! Values and gradients agree with PyTorch. The golden file is the output of
//! `xtask/golden/loss.py`.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use selfie_loss::{InfoNce, Logits, LossConfig, Result};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/info_nce.safetensors");

/// Fails where an element is off by more than a millionth of the largest.
fn assert_close(name: &str, got: &Tensor, golden: &HashMap<String, Tensor>) -> Result<()> {
    let expected = &golden[name];
    assert_eq!(got.dims(), expected.dims(), "{name}");
    let largest = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let off = (got - expected)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    assert!(off <= 1e-6 * largest, "{name} is off by {off}, its largest entry is {largest}");
    Ok(())
}

#[test]
fn every_kind_of_logits_agrees_with_pytorch() -> Result<()> {
    let golden = candle_core::safetensors::load(GOLDEN, &Device::Cpu)?;
    let (queries, targets) = (Var::from_tensor(&golden["queries"])?, Var::from_tensor(&golden["targets"])?);
    for (name, logits) in [("plain", Logits::Plain), ("scaled", Logits::Scaled), ("cosine", Logits::Cosine)] {
        let config = LossConfig { logits, temperature: 0.1, num_distractors: 0 };
        let output = InfoNce::new(&config, 3)?.forward(&queries, &targets, 0..2, 0)?;
        assert_close(&format!("{name}.logits"), &output.logits, &golden)?;
        assert_close(&format!("{name}.loss"), &output.loss, &golden)?;
        let gradients = output.loss.backward()?;
        for (var, of) in [(&queries, "queries"), (&targets, "targets")] {
            let gradient = gradients.get(var).expect("a gradient");
            assert_close(&format!("{name}.{of}.grad"), gradient, &golden)?;
        }
    }
    Ok(())
}
