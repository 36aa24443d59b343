//! Every op against a naive reference or Candle's own ops, and against finite differences, over awkward sizes.

use super::*;
use crate::tests::{assert_close, backward, difference, noise, variable};
use candle_core::{Device, Var};

mod arguments;

/// Convolution by its definition.
fn naive(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Tensor {
    let ((b, h, width, c), (o, _, k, _)) = (x.dims4().unwrap(), w.dims4().unwrap());
    let (oh, ow) = ((h + 2 * padding - k) / stride + 1, (width + 2 * padding - k) / stride + 1);
    let (x, w) =
        (x.flatten_all().unwrap().to_vec1::<f32>().unwrap(), w.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    let mut z = vec![0f64; b * oh * ow * o];
    for (i, z) in z.iter_mut().enumerate() {
        let (n, oy, ox, out) = (i / (oh * ow * o), i / (ow * o) % oh, i / o % ow, i % o);
        for (ky, kx, ci) in (0..k * k * c).map(|j| (j / (k * c), j / c % k, j % c)) {
            let (y, xx) = ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
            if y < h && xx < width {
                *z += x[((n * h + y) * width + xx) * c + ci] as f64 * w[((out * c + ci) * k + ky) * k + kx] as f64;
            }
        }
    }
    Tensor::from_vec(z.iter().map(|&v| v as f32).collect(), (b, oh, ow, o), &Device::Cpu).unwrap()
}

/// (images, height, width, in, out, kernel, stride)
const SIZES: [[usize; 7]; 14] = [
    [1, 1, 1, 1, 1, 1, 1],
    [2, 5, 3, 7, 9, 3, 1],
    [3, 8, 8, 16, 16, 3, 1],
    [7, 2, 2, 33, 48, 3, 1],
    [5, 4, 4, 20, 80, 3, 1],
    [2, 7, 7, 8, 24, 3, 2],
    [2, 8, 6, 5, 65, 3, 2],
    [3, 9, 8, 6, 10, 1, 2],
    [4, 8, 8, 64, 70, 1, 1],
    [1, 19, 17, 3, 12, 7, 2],
    [2, 11, 11, 4, 6, 5, 3],
    [1, 2, 9, 3, 3, 7, 2],
    [1, 60, 57, 32, 17, 3, 1],
    [2, 61, 40, 40, 20, 3, 2],
];

#[test]
fn convolution_equals_its_definition() {
    for [b, h, w, c, o, k, s] in SIZES {
        let (x, weight) = (noise(&[b, h, w, c], 1), noise(&[o, c, k, k], 2));
        assert_close("conv2d", &conv2d(&x, &weight, s, k / 2).unwrap(), &naive(&x, &weight, s, k / 2), 2e-6);
        assert_close(
            "composed",
            &composed::conv2d(&x, &weight, s, k / 2, false).unwrap(),
            &naive(&x, &weight, s, k / 2),
            2e-6,
        );
    }
}

#[test]
fn convolution_has_the_gradients_of_candles_own_ops() {
    for [b, h, w, c, o, k, s] in SIZES {
        let (x, weight) = (variable(&[b, h, w, c], 3), variable(&[o, c, k, k], 4));
        let ours = backward(&conv2d(&x, &weight, s, k / 2).unwrap());
        let theirs = backward(&composed::conv2d(&x, &weight, s, k / 2, false).unwrap());
        for (what, v) in [("input gradient", &x), ("weight gradient", &weight)] {
            assert_close(what, ours.get(v).unwrap(), theirs.get(v).unwrap(), 5e-6);
        }
    }
}

#[test]
fn batch_norm_equals_candles_own_ops() {
    for ([b, h, w, c], relu) in
        [([1, 1, 2, 1], false), ([3, 5, 7, 13], true), ([40, 8, 8, 16], true), ([9, 2, 2, 130], false)]
    {
        let (x, gamma, beta) = (variable(&[b, h, w, c], 5), variable(&[c], 6), variable(&[c], 7));
        let (mean, variance) = (noise(&[c], 8), (noise(&[c], 9).abs().unwrap() + 0.1).unwrap());
        for batch in [true, false] {
            let statistics = || {
                if batch { Statistics::Batch } else { Statistics::Running(&mean, &variance) }
            };
            let (ours, left) = batch_norm(&x, (&gamma, &beta), statistics(), relu).unwrap();
            let (theirs, expected) = composed::batch_norm(&x, (&gamma, &beta), statistics(), relu).unwrap();
            assert_close("output", &ours, &theirs, 1e-5);
            for ((a, b), (c, d)) in left.iter().zip(&expected) {
                assert_close("mean", a, c, 1e-5);
                assert_close("variance", b, d, 1e-5);
            }
            let (ours, theirs) = (backward(&ours), backward(&theirs));
            for v in [&x, &gamma, &beta] {
                assert_close("gradient", ours.get(v).unwrap(), theirs.get(v).unwrap(), 2e-4);
            }
        }
    }
}

#[test]
fn max_pool_equals_candles_own_ops() {
    for shape in [[1, 1, 1, 1], [2, 5, 4, 3], [3, 16, 16, 8], [1, 7, 9, 17], [1, 57, 56, 64]] {
        let x = variable(&shape, 10);
        let (ours, theirs) = (max_pool(&x).unwrap(), composed::max_pool(&x).unwrap());
        assert_close("output", &ours, &theirs, 1e-6);
        assert_close("gradient", backward(&ours).get(&x).unwrap(), backward(&theirs).get(&x).unwrap(), 1e-6);
    }
}

#[test]
fn max_pool_gives_a_tie_to_the_first() {
    let x = Var::zeros((1, 2, 2, 1), DType::F32, &Device::Cpu).unwrap();
    let grads = max_pool(&x).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn gradients_agree_with_finite_differences() {
    let run = |x: &Tensor, w: &Tensor, gamma: &Tensor, beta: &Tensor| {
        let z = conv2d(x, w, 2, 1).unwrap();
        let (y, _) = batch_norm(&z, (gamma, beta), Statistics::Batch, true).unwrap();
        (max_pool(&y).unwrap() * noise(&[2, 2, 2, 3], 99)).unwrap().sum_all().unwrap()
    };
    let vars = [variable(&[2, 7, 5, 2], 11), variable(&[3, 2, 3, 3], 12), variable(&[3], 13), variable(&[3], 14)];
    let call = |v: &[Tensor]| run(&v[0], &v[1], &v[2], &v[3]).to_scalar::<f32>().unwrap() as f64;
    let grads = run(&vars[0], &vars[1], &vars[2], &vars[3]).backward().unwrap();
    for (i, var) in vars.iter().enumerate() {
        let direction = noise(var.dims(), 40 + i as u64);
        let slope =
            (grads.get(var).unwrap() * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() as f64;
        let moved = |step: f64| {
            let mut all: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
            all[i] = (&all[i] + (&direction * step).unwrap()).unwrap();
            call(&all)
        };
        let difference = (moved(1e-3) - moved(-1e-3)) / 2e-3;
        assert!((slope - difference).abs() < 2e-2 * slope.abs().max(1.0), "variable {i}: {slope} against {difference}");
    }
}

#[test]
fn bf16_products_are_those_of_rounded_factors() {
    let (x, w) = (noise(&[2, 5, 4, 6], 1), variable(&[8, 6, 3, 3], 2));
    let rounded = |t: &Tensor| t.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
    let y = super::conv2d_bf16(&x, &w, 2, 1).unwrap();
    assert_eq!(y.dtype(), DType::F32);
    assert_close("emulated", &y, &conv2d(&rounded(&x), &rounded(&w), 2, 1).unwrap(), 1e-6);
    let apart = difference(&y, &conv2d(&x, &w, 2, 1).unwrap());
    assert!(apart > 1e-4 && apart < 2e-2, "{apart}");
    let (ours, theirs) = (backward(&y), backward(&conv2d(&x, &w, 2, 1).unwrap()));
    let gradient = ours.get(&w).unwrap();
    assert_eq!(gradient.dtype(), DType::F32); // of the master weights
    assert!(difference(gradient, theirs.get(&w).unwrap()) < 2e-2);
}
