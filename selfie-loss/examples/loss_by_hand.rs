//! A tiny case of the loss, once by the library and once by plain arithmetic: one image, two masked patches, vectors of width 2.
//!
//! `cargo run -p selfie-loss --example loss_by_hand`

use candle_core::{Device, Tensor, Var};
use selfie_loss::{InfoNce, LossConfig};

const M: usize = 2;
/// The queries v, a row each.
const V: [[f32; 2]; M] = [[1., 0.], [1., 1.]];
/// The embeddings h of the masked patches; row m is what query m must find.
const H: [[f32; 2]; M] = [[2., 0.], [1., 3.]];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queries = Var::new(&[V], &Device::Cpu)?; // (B, M, D) = (1, 2, 2)
    let targets = Var::new(&[H], &Device::Cpu)?;
    let output = InfoNce::new(&LossConfig::default(), M)?.forward(&queries, &targets, 0..1, 0)?;
    let gradients = output.loss.backward()?;
    let library = |tensor: &Tensor| tensor.get(0)?.to_vec2::<f32>(); // the only image: (M, ...)

    // Similarities: the dot product of every query with every patch.
    let logits = V.map(|v| H.map(|h| v[0] * h[0] + v[1] * h[1]));
    show("logits, row m = query m with every patch", &logits, &library(&output.logits)?)?;

    // Each row's softmax: how sure a query is of each patch.
    let probabilities = logits.map(|row| {
        let sum: f32 = row.iter().map(|logit| logit.exp()).sum();
        row.map(|logit| logit.exp() / sum)
    });
    let softmax = candle_nn::ops::softmax(&output.logits, 2)?; // (1, M, M)
    show("probabilities", &probabilities, &library(&softmax)?)?;

    // The loss of a query is -ln of the probability of its own patch.
    let losses = [0, 1].map(|m| -probabilities[m][m].ln());
    println!("losses of the queries: {:.4} and {:.4}", losses[0], losses[1]);
    let loss = (losses[0] + losses[1]) / M as f32;
    show("loss, their mean", &[[loss]], &[vec![output.loss.to_scalar()?]])?;

    // Query m is right where its own patch has the largest logit of its row.
    let right = (0..M).filter(|&m| logits[m].iter().all(|&logit| logit <= logits[m][m])).count();
    show("accuracy", &[[right as f32 / M as f32]], &[vec![output.accuracy.to_scalar()?]])?;
    println!("chance, the accuracy of guessing: {}\n", output.chance);

    // d loss / d logits = (probabilities - identity) / M; queries get it times the embeddings, and the other way round.
    let identity = |m: usize, j: usize| if m == j { 1. } else { 0. };
    let dlogits = [0, 1].map(|m| [0, 1].map(|j| (probabilities[m][j] - identity(m, j)) / M as f32));
    let dv = [0, 1].map(|m| [0, 1].map(|d| (0..M).map(|j| dlogits[m][j] * H[j][d]).sum::<f32>()));
    let dh = [0, 1].map(|j| [0, 1].map(|d| (0..M).map(|m| dlogits[m][j] * V[m][d]).sum::<f32>()));
    for (title, by_hand, var) in
        [("gradient of the queries", dv, &queries), ("gradient of the embeddings", dh, &targets)]
    {
        let gradient = gradients.get(var).ok_or("no gradient")?;
        show(title, &by_hand, &library(gradient)?)?;
    }
    println!("both agree");
    Ok(())
}

/// Prints both side by side; an error where they differ.
fn show<const N: usize>(title: &str, by_hand: &[[f32; N]], library: &[Vec<f32>]) -> Result<(), String> {
    println!("{title:44}by hand            library");
    for (by_hand, library) in by_hand.iter().zip(library) {
        let words = |row: &[f32]| row.iter().map(|x| format!("{x:8.4} ")).collect::<String>();
        println!("{:40}{:19}{}", "", words(by_hand), words(library));
        if by_hand.iter().zip(library).any(|(a, b)| (a - b).abs() > 1e-6) {
            return Err(format!("{title}: {by_hand:?} by hand, {library:?} by the library"));
        }
    }
    println!();
    Ok(())
}
