//! Milliseconds of forward and of forward + backward, minima over many passes.
//!
//! RAYON_NUM_THREADS=2 cargo run --release -p selfie-attnpool --example timing -- B K D [PASSES]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode};
use std::time::Instant;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<Vec<usize>, _>>()?;
    let (b, k, d, passes) = match args[..] {
        [b, k, d] => (b, k, d, 20),
        [b, k, d, passes] => (b, k, d, passes),
        _ => return Err("usage: timing B K D [PASSES]".into()),
    };
    let cells = k + k / 3;
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let pool = AttentionPool::new(&AttnPoolConfig::cifar10(), d, (1, cells), vb)?;
    let numbers: Vec<f32> = (0..b * k * d).map(|i| (i as f32 * 0.7).sin()).collect();
    let context = Var::from_tensor(&Tensor::from_vec(numbers, (b, k, d), &Device::Cpu)?)?;
    let index = |from: usize, to: usize| Tensor::arange(from as u32, to as u32, &Device::Cpu)?.repeat((b, 1));
    let (context_index, target_index) = (index(0, k)?, index(k, cells)?);

    let (mut forward, mut both) = (f64::INFINITY, f64::INFINITY);
    for seed in 0..passes as u64 {
        let start = Instant::now();
        let out = pool.forward(&context, &context_index, &target_index, Mode::Train { seed, first_image: 0 })?;
        let loss = out.queries.sqr()?.mean_all()?;
        forward = forward.min(start.elapsed().as_secs_f64() * 1e3);
        let grads = loss.backward()?;
        both = both.min(start.elapsed().as_secs_f64() * 1e3);
        assert!(grads.get(&context).is_some());
    }
    println!("B {b}, K {k}, D {d}: forward {forward:.2} ms, forward + backward {both:.2} ms");
    Ok(())
}
