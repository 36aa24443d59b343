//! selfie-attnpool alone: one vector for a set of vectors, and where it came from.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap}; // tidy: a stranger takes Candle's own map
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode};

use crate::ensure;

/// Seven vectors of width 16 on a line of eight places, and a question for the eighth.
pub fn pool_a_set_of_vectors() -> Result<String, Box<dyn Error>> {
    let variables = VarMap::new(); // tidy: a stranger's
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let config = AttnPoolConfig { depth: 1, num_heads: 2, ..AttnPoolConfig::cifar10() };
    let pool = AttentionPool::new(&config, 16, (1, 8), vb)?;
    let vectors = Tensor::arange(0f32, 7. * 16., &Device::Cpu)?.cos()?.reshape((1, 7, 16))?; // (B, K, D)
    let places = Tensor::arange(0u32, 7, &Device::Cpu)?.unsqueeze(0)?; // (B, K)
    let asked = Tensor::new(&[[7u32]], &Device::Cpu)?; // (B, M)
    let (pooled, attention) = pool.forward_with_attention(&vectors, &places, &asked, Mode::Eval)?;
    ensure(pooled.u.dims() == [1, 16] && pooled.queries.dims() == [1, 1, 16], "one summary and one query")?;
    ensure(attention.dims() == [1, 2, 8], "weights for the pool token and seven vectors, of two heads")?;
    let sums = attention.sum(2)?.flatten_all()?.to_vec1::<f32>()?;
    ensure(sums.iter().all(|sum| (sum - 1.).abs() < 1e-5), "weights that sum to 1")?;
    Ok("seven vectors pooled into one, the attention of each head sums to 1".to_owned())
}
