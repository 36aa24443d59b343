//! selfie-loss alone: questions, answers, and how many are found.

use std::error::Error;

use candle_core::{Device, Tensor};
use selfie_loss::{InfoNce, LossConfig};

use crate::ensure;

/// Each question points at its own answer, so all are found; with the answers turned around, none.
pub fn find_the_right_answer() -> Result<String, Box<dyn Error>> {
    let answers = Tensor::eye(4, candle_core::DType::F32, &Device::Cpu)?.unsqueeze(0)?; // (B, M, D)
    let questions = (&answers * 5.)?;
    let info_nce = InfoNce::new(&LossConfig::default(), 4)?;
    let found = info_nce.forward(&questions, &answers, 0..1, 0)?;
    ensure(found.accuracy.to_scalar::<f32>()? == 1., "every answer found")?;
    // -ln(e^5 / (e^5 + 3))
    let by_hand = -(5f32.exp() / (5f32.exp() + 3.)).ln();
    ensure((found.loss.to_scalar::<f32>()? - by_hand).abs() < 1e-6, "the loss by hand")?;

    let turned = answers.index_select(&Tensor::new(&[1u32, 2, 3, 0], &Device::Cpu)?, 1)?;
    let lost = info_nce.forward(&questions, &turned, 0..1, 0)?;
    ensure(lost.accuracy.to_scalar::<f32>()? == 0., "no answer found")?;
    Ok(format!("loss {by_hand:.4} as by hand; chance {}", found.chance))
}
