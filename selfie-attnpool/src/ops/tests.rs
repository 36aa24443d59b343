//! Each step, fused beside composed, and both beside finite differences.

use super::*;
use crate::dropout::{Mode, Site};
use candle_core::{Device, Var};

/// Numbers in [-1, 1) that look random, in f64.
fn numbers(seed: u64, shape: &[usize]) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    };
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn largest(x: &Tensor) -> Result<f64> {
    x.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar()
}

fn total(x: &Tensor) -> Result<f64> {
    x.sum_all()?.to_dtype(DType::F64)?.to_scalar()
}

/// One of the four steps.
type Step = Box<dyn Fn(Path, &[Tensor]) -> Result<Tensor>>;

/// A step with the shapes of its arguments.
struct Case {
    shapes: Vec<Vec<usize>>,
    step: Step,
}

impl Case {
    fn new(shapes: &[&[usize]], step: impl Fn(Path, &[Tensor]) -> Result<Tensor> + 'static) -> Self {
        Self { shapes: shapes.iter().map(|shape| shape.to_vec()).collect(), step: Box::new(step) }
    }

    fn arguments(&self, dtype: DType) -> Result<Vec<Var>> {
        let seeded = (1u64..).zip(&self.shapes);
        seeded.map(|(seed, shape)| Var::from_tensor(&numbers(seed, shape)?.to_dtype(dtype)?)).collect()
    }

    fn run(&self, path: Path, arguments: &[Var]) -> Result<Tensor> {
        let arguments: Vec<Tensor> = arguments.iter().map(|var| var.as_tensor().clone()).collect();
        (self.step)(path, &arguments)
    }

    /// The sum of the result, each entry with a weight of its own.
    fn loss(&self, path: Path, arguments: &[Var]) -> Result<Tensor> {
        let out = self.run(path, arguments)?;
        (&out * numbers(99, out.dims())?.to_dtype(out.dtype())?)?.sum_all()
    }

    /// The gradients of the loss in every argument, in f64.
    fn gradients(&self, path: Path, arguments: &[Var]) -> Result<Vec<Tensor>> {
        let grads = self.loss(path, arguments)?.backward()?;
        arguments.iter().map(|var| grads.get(var).unwrap().to_dtype(DType::F64)).collect()
    }
}

/// All steps at some sizes (batch, tokens, width, heads, hidden width), odd ones among them.
fn cases(rate: f64) -> Vec<Case> {
    let drop = move |site| Dropout::new(rate, Mode::Train { seed: 3, first_image: 0 }, 1, site, 1);
    let mut cases = vec![];
    let sizes = [(2, 13, 32, 4, 20), (1, 38, 64, 2, 40), (3, 5, 18, 2, 7), (2, 3, 1, 1, 1), (70, 2, 24, 3, 300)];
    for (b, t, d, h, f) in sizes {
        for queries in [t, 1] {
            cases.push(Case::new(&[&[b, t, d], &[3 * d, d], &[3 * d]], move |path, x| {
                path.attention(&x[0], (&x[1], &x[2]), h, queries, drop(Site::Attention))
            }));
        }
        cases.push(Case::new(&[&[b, t, f], &[d, f]], |path, x| path.project(&x[0], &x[1])));
        cases.push(Case::new(&[&[b, t, d], &[f, d], &[f]], move |path, x| {
            path.linear_gelu(&x[0], (&x[1], &x[2]), drop(Site::Hidden))
        }));
        // A norm of one entry is constant, and its gradient rounding noise.
        let d = d.max(2);
        cases.push(Case::new(&[&[b, t, d], &[b, t, d], &[3, d]], move |path, x| {
            path.residual_norm(&x[0], &x[1], &x[2], drop(Site::AttentionOutput))
        }));
    }
    cases
}

#[test]
fn fused_and_composed_agree_with_and_without_dropout() -> Result<()> {
    for case in [0.0, 0.3].into_iter().flat_map(cases) {
        let arguments = case.arguments(DType::F32)?;
        let (fused, composed) = (case.run(Path::Fused, &arguments)?, case.run(Path::Composed, &arguments)?);
        let difference = largest(&(fused - &composed)?)?;
        assert!(difference < 1e-5 * largest(&composed)?, "{:?}: outputs differ by {difference}", case.shapes);
        let fused = case.gradients(Path::Fused, &arguments)?;
        let composed = case.gradients(Path::Composed, &arguments)?;
        for (i, (fused, composed)) in fused.iter().zip(&composed).enumerate() {
            let difference = largest(&(fused - composed)?)?;
            // A gradient may be zero by theory (of attention in q, if all keys are equal): an absolute bound then.
            let bound = 1e-4 * largest(composed)?.max(0.1);
            assert!(difference < bound, "{:?}: gradient {i} differs by {difference}", case.shapes);
        }
    }
    Ok(())
}

/// The slope of the loss along some direction minus the gradients', as a share of the gradients' length.
fn slope_error(case: &Case, path: Path, dtype: DType, step: f64) -> Result<f64> {
    let arguments = case.arguments(dtype)?;
    let directions = (50u64..).zip(&case.shapes).map(|(seed, shape)| numbers(seed, shape));
    let directions = directions.collect::<Result<Vec<_>>>()?;
    let (mut slope, mut length) = (0.0, 0.0);
    for (gradient, direction) in case.gradients(path, &arguments)?.iter().zip(&directions) {
        slope += total(&(gradient * direction)?)?;
        length += total(&gradient.sqr()?)?;
    }
    let loss_at = |by: f64| {
        let moved = arguments.iter().zip(&directions).map(|(argument, direction)| {
            Var::from_tensor(&(argument.to_dtype(DType::F64)? + (direction * by)?)?.to_dtype(dtype)?)
        });
        total(&case.loss(path, &moved.collect::<Result<Vec<_>>>()?)?)
    };
    let difference = (loss_at(step)? - loss_at(-step)?) / (2.0 * step);
    Ok((difference - slope).abs() / length.sqrt())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    for case in [0.0, 0.3].into_iter().flat_map(cases) {
        let composed = slope_error(&case, Path::Composed, DType::F64, 1e-5)?;
        assert!(composed < 1e-5, "{:?}, composed in f64: {composed}", case.shapes);
        let fused = slope_error(&case, Path::Fused, DType::F32, 2e-3)?;
        assert!(fused < 1e-2, "{:?}, fused in f32: {fused}", case.shapes);
    }
    Ok(())
}

#[test]
fn dropout_keeps_the_expectation_of_what_it_drops() -> Result<()> {
    let argument = |shape: &[usize]| numbers(1, shape)?.to_dtype(DType::F32);
    let (x, w, b) = (argument(&[1, 4, 6])?, argument(&[8, 6])?, argument(&[8])?);
    let run = |mode| Path::Fused.linear_gelu(&x, (&w, &b), Dropout::new(0.25, mode, 0, Site::Hidden, 1));
    let (passes, want) = (4000, run(Mode::Eval)?);
    let mut sum = want.zeros_like()?;
    for seed in 0..passes {
        sum = (sum + run(Mode::Train { seed, first_image: 0 })?)?;
    }
    // The deviation of a mean of 4000 is about 0.58 / 63 of the entry; here five of them.
    assert!(largest(&((sum / passes as f64)? - &want)?)? < 0.046 * largest(&want)?);
    Ok(())
}

#[test]
fn strided_and_offset_arguments_are_taken_as_they_are() -> Result<()> {
    let argument = |shape: &[usize]| numbers(2, shape)?.to_dtype(DType::F32);
    let x = argument(&[2, 9, 16])?.narrow(1, 2, 5)?; // (B, T, D), neither contiguous nor at the start
    let (w, b) = (argument(&[48, 16])?, argument(&[48])?);
    let drop = Dropout::new(0.0, Mode::Eval, 0, Site::Hidden, 1);
    let run = |path: Path| {
        let attended = path.attention(&x, (&w, &b), 2, 5, drop)?;
        let hidden = path.linear_gelu(&x, (&w, &b), drop)?;
        let turned = hidden.transpose(1, 2)?.contiguous()?.transpose(1, 2)?;
        let projected = path.project(&turned, &w.t()?)?;
        path.residual_norm(&x, &(attended + projected)?, &w.narrow(0, 2, 3)?, drop)
    };
    assert!(largest(&(run(Path::Fused)? - run(Path::Composed)?)?)? < 1e-5);
    Ok(())
}

/// Prints how long each step takes on both paths, forward and backward: `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_of_each_step() -> Result<()> {
    let (b, t, d, f) = (32, 13, 1024, 640);
    let drop = Dropout::new(0.1, Mode::Train { seed: 3, first_image: 0 }, 1, Site::Hidden, 1);
    let attention = |queries| {
        let shapes: [&[usize]; 3] = [&[b, t, d], &[3 * d, d], &[3 * d]];
        Case::new(&shapes, move |path, x| path.attention(&x[0], (&x[1], &x[2]), 32, queries, drop))
    };
    let project = Case::new(&[&[b, t, d], &[d, d]], |path, x| path.project(&x[0], &x[1]));
    let norm =
        Case::new(&[&[b, t, d], &[b, t, d], &[3, d]], move |path, x| path.residual_norm(&x[0], &x[1], &x[2], drop));
    let gelu = Case::new(&[&[b, t, d], &[f, d], &[f]], move |path, x| path.linear_gelu(&x[0], (&x[1], &x[2]), drop));
    let steps = [attention(t), attention(1), project, norm, gelu];
    let names = ["attention", "attention of one query", "project", "residual_norm", "linear_gelu"];
    for (name, case) in names.iter().zip(steps) {
        let arguments = case.arguments(DType::F32)?;
        let mut best = [f64::INFINITY; 2];
        for _ in 0..20 {
            for (best, path) in best.iter_mut().zip([Path::Fused, Path::Composed]) {
                let start = std::time::Instant::now();
                case.loss(path, &arguments)?.backward()?;
                *best = best.min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        println!("{name}: fused {:.1} ms, composed {:.1} ms", best[0], best[1]);
    }
    Ok(())
}
