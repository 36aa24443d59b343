//! A tiny case of the loss, step by step: one image, two masked patches, vectors of width 2.
//!
//! `cargo run -p selfie-loss --example loss_by_hand`

use candle_core::{Device, Tensor, Var};
use selfie_loss::{InfoNce, LossConfig, Result};

fn main() -> Result<()> {
    let queries = Var::new(&[[[1f32, 0.], [1., 1.]]], &Device::Cpu)?; // (B, M, D) = (1, 2, 2)
    let targets = Var::new(&[[[2f32, 0.], [1., 3.]]], &Device::Cpu)?;
    print_rows("queries v", &queries)?;
    print_rows("embeddings h of the masked patches", &targets)?;

    let info_nce = InfoNce::new(&LossConfig::default(), 2)?;
    let output = info_nce.forward(&queries, &targets, 0..1, 0)?;
    print_rows("logits, row m = query m with every patch", &output.logits)?;

    let probabilities = candle_nn::ops::softmax(&output.logits, 2)?; // (1, 2, 2)
    print_rows("probabilities, each row's softmax", &probabilities)?;

    for (m, row) in probabilities.get(0)?.to_vec2::<f32>()?.iter().enumerate() {
        println!(
            "query {m}: its own patch has probability {:.4}, so its loss is -ln of it = {:.4}",
            row[m],
            -row[m].ln()
        );
    }
    println!("loss, their mean: {:.4}", output.loss.to_scalar::<f32>()?);
    println!("accuracy {}, chance {}\n", output.accuracy.to_scalar::<f32>()?, output.chance);

    // d loss / d logits = (probabilities - identity) / (B M); the queries get it times the
    // embeddings, and the other way round.
    let gradients = output.loss.backward()?;
    for (name, var) in [("gradient of the queries", &queries), ("gradient of the embeddings", &targets)] {
        if let Some(gradient) = gradients.get(var) {
            print_rows(name, gradient)?;
        }
    }
    Ok(())
}

/// Prints the rows of the only image: (1, rows, columns).
fn print_rows(title: &str, tensor: &Tensor) -> Result<()> {
    println!("{title}:");
    for row in tensor.get(0)?.to_vec2::<f32>()? {
        println!("  {}", row.iter().map(|x| format!("{x:8.4}")).collect::<String>());
    }
    println!();
    Ok(())
}
