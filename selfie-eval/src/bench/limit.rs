//! How fast a step could be if it were matrix products and nothing else: every product of the forward pass, and its two
//! of the backward pass, timed alone through `gemm` (Candle's own products), padding taps skipped. Batch norm, ReLU,
//! attention weights, the optimiser and autograd come on top of it, so a step above this limit beats `gemm` itself.

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};
use selfie_encoder::ProductSize;

/// Passes over all products; the fastest of each counts.
const PASSES: usize = 3;

/// Seconds of all products, forwards and backwards.
pub(super) fn seconds(products: &[ProductSize], device: &Device) -> Result<f64> {
    let mut total = 0.0;
    for (index, &ProductSize { rows, inner, columns }) in products.iter().enumerate() {
        let x = Tensor::ones((rows, inner), DType::F32, device)?;
        let w = Tensor::ones((inner, columns), DType::F32, device)?;
        let z = Tensor::ones((rows, columns), DType::F32, device)?;
        total += fastest(device, || x.matmul(&w))?; // (rows, columns)
        total += fastest(device, || x.t()?.matmul(&z))?; // the weights' gradient: (inner, columns)
        if index > 0 {
            total += fastest(device, || z.matmul(&w.t()?))?; // the input's: (rows, inner); the image has none
        }
    }
    Ok(total)
}

/// The products of the attention pooling: tokens T = 1 + K, embeddings D, FFN F. All but the last block run for every
/// token; in the last one only the pool token asks.
pub(super) fn pooling(images: usize, context: usize, d: usize, ffn: usize, depth: usize) -> Vec<ProductSize> {
    let tokens = images * (1 + context);
    let mut all = Vec::new();
    for block in 0..depth {
        let asking = if block + 1 < depth { tokens } else { images };
        all.push(ProductSize { rows: tokens, inner: d, columns: 2 * d }); // keys and values
        all.push(ProductSize { rows: asking, inner: d, columns: d }); // queries
        all.push(ProductSize { rows: asking, inner: d, columns: d }); // output projection
        all.push(ProductSize { rows: asking, inner: d, columns: ffn });
        all.push(ProductSize { rows: asking, inner: ffn, columns: d });
    }
    all
}

fn fastest(device: &Device, product: impl Fn() -> Result<Tensor>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        let result = product()?;
        device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(result);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_asks_for_the_pool_token_alone() {
        let rows: Vec<usize> = pooling(2, 3, 16, 10, 2).iter().map(|p| p.rows).collect();
        assert_eq!(rows, [8, 8, 8, 8, 8, 8, 2, 2, 2, 2]);
    }

    #[test]
    fn products_take_time() {
        let one = [ProductSize { rows: 64, inner: 16, columns: 32 }];
        assert!(seconds(&one, &Device::Cpu).unwrap() > 0.0);
    }
}
