//! The pooling beside PyTorch's `TransformerEncoderLayer`: outputs, attention weights and every gradient.
//!
//! The files in `tests/golden` were made by `xtask/golden/attnpool.py`. `SELFIE_ATTNPOOL_GOLDEN` names another folder with
//! files of the same program, for a check at full size.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode, Positions};
use std::collections::HashMap;
use std::path::PathBuf;

type Tensors = HashMap<String, Tensor>;

fn load(file: &str) -> Tensors {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = std::env::var_os("SELFIE_ATTNPOOL_GOLDEN").map_or(committed, PathBuf::from);
    candle_core::safetensors::load(folder.join(file), &Device::Cpu).unwrap()
}

/// The variables that the file has, as leaves of the graph.
fn variables(tensors: &Tensors) -> VarMap {
    let vars = VarMap::new();
    for (name, tensor) in tensors {
        if let Some(name) = name.strip_prefix("weight.") {
            vars.data()
                .lock()
                .unwrap()
                .insert(name.into(), Var::from_tensor(tensor).unwrap());
        }
    }
    vars
}

fn largest(x: &Tensor) -> f32 {
    x.abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar()
        .unwrap()
}

/// The largest difference, as a share of the largest entry of `want`.
fn deviation(got: &Tensor, want: &Tensor) -> f32 {
    largest(&(got - want).unwrap()) / largest(want)
}

fn agrees_with_pytorch(file: &str, grid: (usize, usize), positions: Positions) {
    let golden = load(file);
    let vars = variables(&golden);
    let dims = |name: &str| golden[name].dims().to_vec();
    let config = AttnPoolConfig {
        num_heads: dims("out.attention")[1],
        ffn_dim: dims("weight.layers.0.linear1.bias")[0],
        dropout: 0.0,
        positions,
        ..AttnPoolConfig::default()
    };
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let names = vars.data().lock().unwrap().len();
    let pool = AttentionPool::new(&config, dims("out.u")[1], grid, vb).unwrap();
    assert_eq!(
        vars.data().lock().unwrap().len(),
        names,
        "the builder was asked for a variable that PyTorch does not have"
    );

    let context = Var::from_tensor(&golden["in.context"]).unwrap();
    let (context_index, target_index) = (&golden["in.context_index"], &golden["in.target_index"]);
    let mode = Mode::Train { seed: 0 };
    let (out, attention) = pool
        .forward_with_attention(&context, context_index, target_index, mode)
        .unwrap();
    for (name, got) in [
        ("out.u", &out.u),
        ("out.queries", &out.queries),
        ("out.attention", &attention),
    ] {
        let deviation = deviation(got, &golden[name]);
        assert!(deviation < 1e-4, "{name}: {deviation}");
    }

    let weighted = |x: &Tensor, by: &str| (x * &golden[by]).unwrap().sum_all().unwrap();
    let loss =
        (weighted(&out.u, "cotangent.u") + weighted(&out.queries, "cotangent.queries")).unwrap();
    let grads = loss.backward().unwrap();
    let check = |name: &str, var: &Var| {
        let got = grads
            .get(var)
            .unwrap_or_else(|| panic!("{name} gets no gradient"));
        let want = &golden[&format!("grad.{name}")];
        let deviation = if name.ends_with("in_proj_bias") {
            bias_deviation(got, want)
        } else {
            deviation(got, want)
        };
        assert!(deviation < 1e-3, "gradient of {name}: {deviation}");
    };
    check("context", &context);
    vars.data()
        .lock()
        .unwrap()
        .iter()
        .for_each(|(name, var)| check(name, var));
}

/// Of q, k, v in turn. The gradient of k's bias is zero by theory (softmax ignores what all keys share), so its bound is
/// absolute: a share of the largest entry of the others.
fn bias_deviation(got: &Tensor, want: &Tensor) -> f32 {
    let d = want.dim(0).unwrap() / 3;
    let part = |x: &Tensor, i: usize| x.narrow(0, i * d, d).unwrap();
    let keys = largest(&part(got, 1)) / largest(want);
    [0, 2]
        .map(|i| deviation(&part(got, i), &part(want, i)))
        .into_iter()
        .fold(keys, f32::max)
}

#[test]
fn full_positions_agree_with_pytorch() {
    agrees_with_pytorch("full.safetensors", (4, 4), Positions::Full);
}

#[test]
fn row_column_positions_agree_with_pytorch() {
    agrees_with_pytorch("row-column.safetensors", (3, 5), Positions::RowColumn);
}
