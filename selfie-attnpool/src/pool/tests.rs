//! The network on both paths.

use super::*;
use candle_core::{D, Device, Var};
use candle_nn::VarMap;

/// sin(0), sin(step), sin(2 step), ...
fn wave(shape: &[usize], step: f64, dtype: DType) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * step).sin()).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?)
}

/// A pool on a 3x4 grid, and context (B, 9, D), its cells, and the three other cells.
fn setup(dtype: DType) -> Result<(AttentionPool, [Tensor; 3])> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, dtype, &Device::Cpu);
    let config = AttnPoolConfig { dropout: 0.2, ..AttnPoolConfig::imagenet224() };
    let pool = AttentionPool::new(&config, 24, (3, 4), vb)?;
    for var in vars.data().lock().unwrap().values() {
        var.set(&(wave(var.dims(), 1.7, dtype)? * 0.4)?)?;
    }
    let context = wave(&[2, 9, 24], 0.37, dtype)?;
    let cells = |from: u32, to: u32| Tensor::arange(from, to, &Device::Cpu)?.repeat((2, 1));
    Ok((pool, [context, cells(0, 9)?, cells(9, 12)?]))
}

/// The queries, and the gradient of their cubes' sum in the context.
fn pass(pool: &AttentionPool, inputs: &[Tensor; 3], mode: Mode, path: Path) -> Result<[Tensor; 2]> {
    let [context, index, targets] = inputs;
    let context = Var::from_tensor(context)?;
    let (Pooled { queries, .. }, _) = pool.run(&context, index, targets, mode, path)?;
    let grads = queries.powf(3.0)?.sum_all()?.backward()?;
    Ok([queries.detach(), grads.get(&context).unwrap().clone()])
}

/// The largest difference as a share of the largest entry.
fn deviation(got: &Tensor, want: &Tensor) -> Result<f64> {
    let largest = |x: Tensor| x.abs()?.flatten_all()?.max(D::Minus1);
    let share = (largest((got - want)?)? / largest(want.clone())?)?;
    Ok(share.to_dtype(DType::F64)?.to_scalar()?)
}

#[test]
fn both_paths_draw_the_same_dropout_and_agree() -> Result<()> {
    let (pool, inputs) = setup(DType::F32)?;
    for mode in [Mode::Eval, Mode::Train { seed: 5, first_image: 0 }] {
        let fused = pass(&pool, &inputs, mode, Path::Fused)?;
        let composed = pass(&pool, &inputs, mode, Path::Composed)?;
        assert!(deviation(&fused[0], &composed[0])? < 1e-5, "{mode:?}");
        assert!(deviation(&fused[1], &composed[1])? < 1e-4, "{mode:?}");
    }
    Ok(())
}

#[test]
fn bf16_products_change_the_third_digit_and_no_type() -> Result<()> {
    let (pool, inputs) = setup(DType::F32)?;
    let [context, index, targets] = &inputs;
    let mode = Mode::Train { seed: 5, first_image: 0 };
    let exact = pass(&pool, &inputs, mode, Path::Composed)?;
    let rounded = pass(&pool, &inputs, mode, Path::Bf16)?;
    for (rounded, exact) in rounded.iter().zip(&exact) {
        assert_eq!(rounded.dtype(), DType::F32);
        let apart = deviation(rounded, exact)?;
        assert!(apart > 1e-4 && apart < 5e-2, "{apart}");
    }
    let asked_for = pool.with_bf16_products().forward(context, index, targets, mode)?.queries;
    assert_eq!(deviation(&asked_for, &rounded[0])?, 0.0);
    Ok(())
}

#[test]
fn other_types_take_the_composed_path() -> Result<()> {
    let (pool, inputs) = setup(DType::F64)?;
    let [context, index, targets] = &inputs;
    let mode = Mode::Train { seed: 1, first_image: 0 };
    let got = pool.forward(context, index, targets, mode)?.queries;
    let [want, _] = pass(&pool, &inputs, mode, Path::Composed)?;
    assert_eq!(got.dtype(), DType::F64);
    assert_eq!(deviation(&got, &want)?, 0.0);
    Ok(())
}

#[test]
fn double_precision_agrees_with_single() -> Result<()> {
    let [single, double] = [DType::F32, DType::F64].map(|dtype| {
        let (pool, [context, index, targets]) = setup(dtype)?;
        let pooled = pool.forward(&context, &index, &targets, Mode::Train { seed: 1, first_image: 0 })?;
        Ok::<_, Error>(pooled.queries.to_dtype(DType::F64)?)
    });
    assert!(deviation(&single?, &double?)? < 1e-5);
    Ok(())
}

#[test]
fn the_last_block_for_one_token_is_the_last_block_for_all() -> Result<()> {
    let (pool, [context, index, targets]) = setup(DType::F32)?;
    for path in [Path::Fused, Path::Composed] {
        let (_, tokens) = pool.run(&context, &index, &targets, Mode::Eval, path)?;
        let one = pool.last.forward(&tokens, 1, Mode::Eval, path)?;
        let all = pool.last.forward(&tokens, 10, Mode::Eval, path)?;
        assert!(deviation(&one, &all.narrow(1, 0, 1)?)? < 1e-6);
    }
    Ok(())
}
