//! What a user of the pooling may rely on.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, its helpers too")]

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Error, Mode, Pooled};

const D: usize = 32;

/// A pool on a 4x4 grid, with fixed parameters that are large enough to matter.
fn pool(config: &AttnPoolConfig) -> Result<(AttentionPool, VarMap)> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let pool = AttentionPool::new(config, D, (4, 4), vb).unwrap();
    for (name, var) in vars.data().lock().unwrap().iter() {
        let salt = name.bytes().map(f32::from).sum::<f32>();
        let middle = f32::from(name.contains("norm") && name.ends_with("weight"));
        let number = |i: usize| middle + 0.3 * (salt + i as f32 * 1.7).sin();
        let numbers: Vec<f32> = (0..var.elem_count()).map(number).collect();
        var.set(&Tensor::from_vec(numbers, var.shape(), &Device::Cpu)?)?;
    }
    Ok((pool, vars))
}

/// The same cells for two images: (B, K).
fn cells(cells: &[u32]) -> Result<Tensor> {
    Tensor::new(cells, &Device::Cpu)?.repeat((2, 1))
}

/// Embeddings (B, 12, D), their cells, and the four other cells.
fn inputs() -> Result<[Tensor; 3]> {
    let context: Vec<f32> = (0..2 * 12 * D).map(|i| (i as f32 * 0.37).sin()).collect();
    let context = Tensor::from_vec(context, (2, 12, D), &Device::Cpu)?;
    Ok([context, cells(&[3, 0, 1, 2, 4, 5, 15, 7, 8, 9, 10, 11])?, cells(&[14, 12, 6, 13])?])
}

fn forward(pool: &AttentionPool, [context, index, targets]: &[Tensor; 3], mode: Mode) -> Pooled {
    pool.forward(context, index, targets, mode).unwrap()
}

fn values(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    Ok(values(&(a - b)?)?.into_iter().fold(0.0, |max, x| max.max(x.abs())))
}

#[test]
fn every_parameter_gets_a_gradient_that_is_not_zero() -> Result<()> {
    for (config, positions) in [(AttnPoolConfig::cifar10(), 1), (AttnPoolConfig::imagenet224(), 2)] {
        let (pool, vars) = pool(&config)?;
        let queries = forward(&pool, &inputs()?, Mode::Train { seed: 1, first_image: 0 }).queries;
        let grads = queries.powf(3.0)?.sum_all()?.backward()?;
        let vars = vars.data().lock().unwrap();
        assert_eq!(vars.len(), 1 + positions + 3 * 12);
        for (name, var) in vars.iter() {
            let gradient = grads.get(var).unwrap_or_else(|| panic!("{name} gets no gradient"));
            assert_eq!(gradient.dims(), var.dims());
            assert!(values(gradient)?.iter().any(|g| *g != 0.0), "{name}");
        }
    }
    Ok(())
}

#[test]
fn eval_mode_is_deterministic_and_training_is_a_function_of_the_seed() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::cifar10())?;
    let inputs = inputs()?;
    let run = |mode| values(&forward(&pool, &inputs, mode).queries);
    assert_eq!(run(Mode::Eval)?, run(Mode::Eval)?);
    assert_eq!(run(Mode::Train { seed: 7, first_image: 0 })?, run(Mode::Train { seed: 7, first_image: 0 })?);
    assert_ne!(run(Mode::Train { seed: 7, first_image: 0 })?, run(Mode::Train { seed: 8, first_image: 0 })?);
    assert_ne!(run(Mode::Train { seed: 7, first_image: 0 })?, run(Mode::Eval)?);
    Ok(())
}

#[test]
fn dropout_of_an_image_does_not_depend_on_how_the_batch_is_cut() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::cifar10())?;
    let inputs = inputs()?;
    let run = |inputs: &[Tensor; 3], first_image| forward(&pool, inputs, Mode::Train { seed: 7, first_image }).queries;
    let whole = run(&inputs, 40);
    let second = inputs.each_ref().map(|input| input.narrow(0, 1, 1).unwrap());
    assert!(difference(&run(&second, 41), &whole.narrow(0, 1, 1)?)? < 1e-5);
    assert!(difference(&run(&second, 40), &whole.narrow(0, 1, 1)?)? > 1e-2);
    Ok(())
}

#[test]
fn without_dropout_training_and_eval_agree() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig { dropout: 0.0, ..AttnPoolConfig::cifar10() })?;
    let inputs = inputs()?;
    let run = |mode| values(&forward(&pool, &inputs, mode).queries);
    assert_eq!(run(Mode::Train { seed: 7, first_image: 0 })?, run(Mode::Eval)?);
    Ok(())
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() -> Result<()> {
    let (pool, vars) = pool(&AttnPoolConfig::cifar10())?;
    let inputs = inputs()?;
    let gradients = || {
        let queries = forward(&pool, &inputs, Mode::Train { seed: 1, first_image: 0 }).queries;
        let grads = queries.sqr()?.sum_all()?.backward()?;
        let vars = vars.data().lock().unwrap();
        let mut vars: Vec<_> = vars.iter().collect();
        vars.sort_by_key(|(name, _)| name.as_str());
        vars.into_iter().map(|(_, var)| values(grads.get(var).unwrap())).collect::<Result<Vec<_>>>()
    };
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(gradients);
    assert_eq!(on(1)?, on(3)?);
    Ok(())
}

#[test]
fn queries_are_u_plus_the_positions_of_the_masked_cells() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::imagenet224())?;
    let Pooled { u, queries } = forward(&pool, &inputs()?, Mode::Eval);
    let positions = pool.positions().unwrap(); // (N, D)
    for (i, cell) in [14, 12, 6, 13].into_iter().enumerate() {
        let query = queries.narrow(1, i, 1)?.squeeze(1)?; // (B, D)
        assert_eq!(values(&query)?, values(&u.broadcast_add(&positions.get(cell)?)?)?);
    }
    Ok(())
}

#[test]
fn the_order_of_the_context_does_not_matter() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::cifar10())?;
    let [context, index, targets] = inputs()?;
    let order = Tensor::new(&[5u32, 0, 11, 3, 2, 9, 7, 1, 8, 4, 10, 6], &Device::Cpu)?;
    let turned = [context.index_select(&order, 1)?, index.index_select(&order, 1)?, targets.clone()];
    let u = forward(&pool, &[context, index, targets], Mode::Eval).u;
    assert!(difference(&u, &forward(&pool, &turned, Mode::Eval).u)? < 1e-5);
    Ok(())
}

#[test]
fn the_context_sees_its_positions_only_if_the_switch_says_so() -> Result<()> {
    for context_positions in [true, false] {
        let (pool, _vars) = pool(&AttnPoolConfig { context_positions, ..AttnPoolConfig::cifar10() })?;
        let [context, index, targets] = inputs()?;
        let elsewhere = cells(&[0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 15])?;
        let u = forward(&pool, &[context.clone(), index, targets.clone()], Mode::Eval).u;
        let moved = forward(&pool, &[context, elsewhere, targets], Mode::Eval).u;
        assert_eq!(difference(&u, &moved)? > 1e-3, context_positions);
        assert_eq!(difference(&u, &moved)? == 0.0, !context_positions);
    }
    Ok(())
}

#[test]
fn attention_of_the_pool_token_is_a_distribution_per_head() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::cifar10())?;
    let [context, index, targets] = inputs()?;
    let (pooled, attention) = pool.forward_with_attention(&context, &index, &targets, Mode::Eval).unwrap();
    assert_eq!(attention.dims(), [2, 4, 13]);
    assert!(values(&attention)?.iter().all(|a| *a > 0.0));
    assert!(values(&attention.sum(2)?)?.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
    let plain = forward(&pool, &[context, index, targets], Mode::Eval);
    assert_eq!(values(&pooled.u)?, values(&plain.u)?);
    Ok(())
}

/// softmax(q kᵀ / √d) of u0 alone, entry by entry, from the variables that the pooling was built on.
#[test]
fn attention_of_the_pool_token_is_the_naive_softmax() -> Result<()> {
    let (pool, vars) = pool(&AttnPoolConfig { depth: 1, ..AttnPoolConfig::cifar10() })?;
    let [context, index, targets] = inputs()?;
    let (_, attention) =
        pool.forward_with_attention(&context, &index, &targets, Mode::Train { seed: 3, first_image: 0 }).unwrap();
    let vars = vars.data().lock().unwrap();
    let read = |name: &str| values(&vars[name]);
    let [u0, pos] = [read("u0")?, read("pos")?];
    let [w, bias] = ["weight", "bias"].map(|part| read(&format!("layers.0.self_attn.in_proj_{part}")).unwrap());
    let (context, index) = (context.to_vec3::<f32>()?, index.to_vec2::<u32>()?);
    // Entry `row` of the projection of a token; rows 0..D are its query, rows D..2D its key.
    let project = |token: &[f32], row: usize| (0..D).map(|i| w[row * D + i] * token[i]).sum::<f32>() + bias[row];
    for (b, heads) in attention.to_vec3::<f32>()?.iter().enumerate() {
        let mut tokens = vec![u0.clone()];
        for (patch, &cell) in context[b].iter().zip(&index[b]) {
            tokens.push((0..D).map(|i| patch[i] + pos[cell as usize * D + i]).collect());
        }
        for (h, weights) in heads.iter().enumerate() {
            let rows = h * 8..(h + 1) * 8; // 4 heads, 8 wide
            let score = |token: &Vec<f32>| {
                rows.clone().map(|i| project(&u0, i) * project(token, D + i)).sum::<f32>() / 8f32.sqrt()
            };
            let exp: Vec<f32> = tokens.iter().map(|token| score(token).exp()).collect();
            let sum: f32 = exp.iter().sum();
            assert!(weights.iter().zip(&exp).all(|(got, exp)| (got - exp / sum).abs() < 1e-5), "image {b}, head {h}");
        }
    }
    Ok(())
}

#[test]
fn errors_name_the_argument_the_value_and_the_expectation() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig::cifar10())?;
    let [context, index, targets] = inputs()?;
    let refused = |context: &Tensor, index: &Tensor, targets: &Tensor, message: &str| {
        let error = pool.forward(context, index, targets, Mode::Eval).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    let message = "context: expected shape (B, K, D = 32), none of them 0, got [2, 12, 31]";
    refused(&context.narrow(2, 0, 31)?, &index, &targets, message);
    let message = "context_index: expected shape (B = 2, K = 12), got [2, 11]";
    refused(&context, &index.narrow(1, 0, 11)?, &targets, message);
    let message = "target_index: expected shape (B = 2, M >= 1), got [1, 4]";
    refused(&context, &index, &targets.narrow(0, 0, 1)?, message);
    let message = "target_index: cell 16 is outside the grid, which has cells 0 to 15";
    refused(&context, &index, &cells(&[3, 16])?, message);
    let message = "target_index: expected elements of type U32, got I64";
    refused(&context, &index, &targets.to_dtype(DType::I64)?, message);
    let message = "context: expected elements of type F32, got F64";
    refused(&context.to_dtype(DType::F64)?, &index, &targets, message);
    Ok(())
}

#[test]
fn what_cannot_be_built_is_refused() {
    let build = |config: &AttnPoolConfig, grid| {
        let vars = VarMap::new();
        AttentionPool::new(config, D, grid, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu)).unwrap_err()
    };
    let heads = build(&AttnPoolConfig { num_heads: 5, ..AttnPoolConfig::cifar10() }, (4, 4));
    assert_eq!(heads.to_string(), "attnpool.num_heads: is 5, expected a divisor of the embedding width 32");
    let empty = build(&AttnPoolConfig::cifar10(), (0, 4));
    assert!(matches!(empty, Error::Config { field: "positions", .. }), "{empty}");
    for grid in [(usize::MAX, 2), (usize::MAX, usize::MAX), (1 << 20, 1 << 20)] {
        let huge = build(&AttnPoolConfig::cifar10(), grid);
        assert!(matches!(huge, Error::Config { field: "positions", .. }), "{huge}");
    }
    for (config, field) in [
        (AttnPoolConfig { depth: usize::MAX, ..AttnPoolConfig::cifar10() }, "depth"),
        (AttnPoolConfig { ffn_dim: usize::MAX, ..AttnPoolConfig::cifar10() }, "ffn_dim"),
        (AttnPoolConfig { num_heads: usize::MAX, ..AttnPoolConfig::cifar10() }, "num_heads"),
    ] {
        let error = build(&config, (4, 4));
        assert!(error.to_string().starts_with(&format!("attnpool.{field}: ")), "{error}");
    }
    for width in [usize::MAX, usize::MAX / 640, 1 << 40] {
        assert!(AttnPoolConfig::cifar10().validate(width).is_err() && AttnPoolConfig::cifar10().ffn(width) > 0);
    }
}

#[test]
fn every_small_input_gives_finite_numbers_or_a_named_error() -> Result<()> {
    let (pool, _vars) = pool(&AttnPoolConfig { depth: 1, ..AttnPoolConfig::cifar10() })?;
    let cells = |dims: &[usize]| Tensor::full(3u32, dims, &Device::Cpu).unwrap();
    let shapes: Vec<Vec<usize>> =
        (0..4).flat_map(|b| (0..3).map(move |n| vec![b, n])).chain([vec![], vec![2], vec![1, 1, 1]]).collect();
    let mut right = 0;
    for context in &shapes {
        let embeddings = Tensor::full(0.3f32, [&context[..], &[D]].concat(), &Device::Cpu)?;
        for index in &shapes {
            for targets in &shapes {
                let fits = context.len() == 2 && index == context && targets.len() == 2 && targets[0] == context[0];
                let fits = fits && context[0] * context[1] * targets[1] > 0;
                for mode in [Mode::Eval, Mode::Train { seed: 1, first_image: 7 }] {
                    match pool.forward(&embeddings, &cells(index), &cells(targets), mode) {
                        Ok(pooled) => {
                            assert!(fits, "{context:?}, {index:?}, {targets:?}");
                            assert_eq!(pooled.queries.dims(), [context[0], targets[1], D]);
                            assert!(values(&pooled.queries)?.iter().all(|x| x.is_finite()));
                            right += 1;
                        }
                        Err(Error::Shape { .. }) => assert!(!fits, "{context:?}, {index:?}, {targets:?}"),
                        Err(error) => panic!("{context:?}, {index:?}, {targets:?}: {error}"),
                    }
                }
            }
        }
    }
    assert_eq!(right, 2 * 3 * 2 * 2); // modes, images, K, M
    Ok(())
}

#[test]
fn u0_and_the_positions_start_with_the_deviation_that_is_asked_for() -> Result<()> {
    // The root mean square of u0's 1,024 numbers is within 2.2 % of their deviation two times out of three; of more, closer.
    let check = |name: &str, x: &Tensor, deviation: f64| -> Result<()> {
        let met = f64::from(x.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt();
        assert!((met / deviation - 1.0).abs() < 0.12, "{name}: {met}, expected {deviation}");
        Ok(())
    };
    let full: &[&str] = &["u0", "pos"];
    for (config, names) in [(AttnPoolConfig::cifar10(), full), (AttnPoolConfig::imagenet224(), &["u0", "row", "col"])] {
        for init_deviation in [0.02, 0.5] {
            let vars = VarMap::new();
            let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
            AttentionPool::new(&AttnPoolConfig { init_deviation, depth: 1, ..config.clone() }, 1024, (4, 4), vb)
                .unwrap();
            let vars = vars.data().lock().unwrap();
            for &name in names {
                check(name, &vars[name], init_deviation)?;
            }
            check("linear1.weight", &vars["layers.0.linear1.weight"], 0.02)?;
        }
    }
    Ok(())
}
