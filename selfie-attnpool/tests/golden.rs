//! The pooling beside PyTorch's `TransformerEncoderLayer`: outputs, attention weights and every gradient.
//!
//! The files in `tests/golden` were made by `xtask/golden/attnpool.py`. `SELFIE_ATTNPOOL_GOLDEN` names another folder with
//! files of the same program, for a check at full size.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, its helpers too")]

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode, Positions};
use std::collections::HashMap;
use std::path::PathBuf;

fn load(file: &str) -> Result<HashMap<String, Tensor>> {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = std::env::var_os("SELFIE_ATTNPOOL_GOLDEN").map_or(committed, PathBuf::from);
    candle_core::safetensors::load(folder.join(file), &Device::Cpu)
}

fn largest(x: &Tensor) -> Result<f32> {
    x.abs()?.flatten_all()?.max(0)?.to_scalar()
}

/// The largest difference, as a share of the largest entry of `want`.
fn deviation(got: &Tensor, want: &Tensor) -> Result<f32> {
    Ok(largest(&(got - want)?)? / largest(want)?)
}

/// Of the bias of q, k, v in turn. The gradient of k's is zero by theory (softmax ignores what all keys share), so its bound
/// is absolute: a share of the largest entry of the others.
fn in_proj_bias_deviation(got: &Tensor, want: &Tensor) -> Result<f32> {
    let (got, want) = (got.chunk(3, 0)?, want.chunk(3, 0)?);
    let keys = largest(&got[1])? / largest(&want[0])?.max(largest(&want[2])?);
    Ok(keys.max(deviation(&got[0], &want[0])?).max(deviation(&got[2], &want[2])?))
}

fn agrees_with_pytorch(file: &str, grid: (usize, usize), positions: Positions) -> Result<()> {
    let golden = load(file)?;
    let vars = VarMap::new();
    for (name, tensor) in &golden {
        if let Some(name) = name.strip_prefix("weight.") {
            vars.data().lock().unwrap().insert(name.into(), Var::from_tensor(tensor)?);
        }
    }
    let count = vars.data().lock().unwrap().len();
    let config = AttnPoolConfig {
        num_heads: golden["out.attention"].dim(1)?,
        ffn_dim: golden["weight.layers.0.linear1.bias"].dim(0)?,
        dropout: 0.0,
        positions,
        ..AttnPoolConfig::default()
    };
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let pool = AttentionPool::new(&config, golden["out.u"].dim(1)?, grid, vb).unwrap();
    let vars = vars.data().lock().unwrap();
    assert_eq!(vars.len(), count, "a variable that PyTorch does not have");

    let context = Var::from_tensor(&golden["in.context"])?;
    let (context_index, target_index) = (&golden["in.context_index"], &golden["in.target_index"]);
    let mode = Mode::Train { seed: 0, first_image: 0 };
    let (out, attention) = pool.forward_with_attention(&context, context_index, target_index, mode).unwrap();
    for (name, got) in [("u", &out.u), ("queries", &out.queries), ("attention", &attention)] {
        let deviation = deviation(got, &golden[&format!("out.{name}")])?;
        assert!(deviation < 1e-4, "{name}: {deviation}");
    }

    let of_u = (&out.u * &golden["cotangent.u"])?.sum_all()?;
    let of_queries = (&out.queries * &golden["cotangent.queries"])?.sum_all()?;
    let grads = (of_u + of_queries)?.backward()?;
    for (name, var) in vars.iter().map(|(name, var)| (name.as_str(), var)).chain([("context", &context)]) {
        let got = grads.get(var).unwrap_or_else(|| panic!("{name} gets no gradient"));
        let want = &golden[&format!("grad.{name}")];
        let deviation = match name.ends_with("in_proj_bias") {
            true => in_proj_bias_deviation(got, want)?,
            false => deviation(got, want)?,
        };
        assert!(deviation < 1e-3, "gradient of {name}: {deviation}");
    }
    Ok(())
}

#[test]
fn full_positions_agree_with_pytorch() -> Result<()> {
    agrees_with_pytorch("full.safetensors", (4, 4), Positions::Full)
}

#[test]
fn row_column_positions_agree_with_pytorch() -> Result<()> {
    agrees_with_pytorch("row-column.safetensors", (3, 5), Positions::RowColumn)
}
