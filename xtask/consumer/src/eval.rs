//! selfie-eval alone: a linear classifier on features that came from anywhere.

use std::error::Error;

use candle_core::{Device, Tensor};
use selfie_eval::{Accuracy, Answer, Logistic, LogisticConfig, Standardiser};

use crate::ensure;

/// Two classes that one feature tells apart, in quite another unit than the other.
pub fn classify_by_features() -> Result<String, Box<dyn Error>> {
    let train = Tensor::new(&[[1f32, 900.], [2., 700.], [8., 800.], [9., 900.]], &Device::Cpu)?; // (images, D)
    let standardiser = Standardiser::fit(&train)?;
    let model = Logistic::fit(&standardiser.apply(&train)?, &[0, 0, 1, 1], 2, &LogisticConfig::default(), None)?;
    let test = Tensor::new(&[[1.5f32, 850.], [8.5, 850.]], &Device::Cpu)?;
    let predicted = model.predict(&standardiser.apply(&test)?)?;
    let answers = [Answer { predicted: predicted[0], label: 0 }, Answer { predicted: predicted[1], label: 1 }];
    let accuracy = Accuracy::new(&answers, &["small".to_owned(), "large".to_owned()])?;
    ensure(model.converged && accuracy.top1 == 1., "both test images right")?;
    Ok(format!("converged in {} steps, {} of {} right", model.iterations, accuracy.correct, accuracy.images))
}
