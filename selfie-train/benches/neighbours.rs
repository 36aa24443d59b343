//! The nearest 200 of 50,000 features for 10,000 others at D = 1024: `cargo bench -p selfie-train`.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use divan::Bencher;
use rand::RngCore;
use selfie_train::{Neighbours, Purpose, peak_rss_mb, stream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
    eprintln!("peak memory {} MB", peak_rss_mb().unwrap_or(0));
}

fn features(n: usize, salt: u64) -> Tensor {
    let rng = &mut stream(0, Purpose::ImageOrder, salt, 0);
    let values: Vec<f32> = (0..n * 1024).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
    Tensor::from_vec(values, (n, 1024), &Device::Cpu).unwrap()
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn nearest(bencher: Bencher) {
    let labels = (0..50_000).map(|i| i % 10).collect();
    let (bank, queries) = (Neighbours::new(&features(50_000, 1), labels, 10).unwrap(), features(10_000, 2));
    bencher.bench_local(|| {
        let found = bank.nearest(&queries, 200).unwrap();
        found.iter().map(|near| bank.vote(near)).sum::<u32>()
    });
}
