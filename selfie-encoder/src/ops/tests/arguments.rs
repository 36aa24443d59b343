//! Any argument of a public function gives the values of a plain loop, or a named error, and never a panic: swept over small geometries,
//! types and numbers of threads. What is accepted and refused is PyTorch 2's choice (`torch.nn.functional`), if not stated otherwise.

use super::*;
use crate::Error;
use candle_core::Shape;

/// A convolution with its two gradients, by the definition and in f64.
struct Plain {
    z: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    output: Vec<usize>,
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// `None` if PyTorch refuses the geometry. The gradients are of Σ z·weight(i), see [`upstream`].
fn plain(x: &Tensor, w: &Tensor, s: usize, p: usize) -> Option<Plain> {
    let ((b, h, width, c), (o, _, k, _)) = (x.dims4().unwrap(), w.dims4().unwrap());
    if s == 0 || k == 0 || h.min(width) + 2 * p < k {
        return None;
    }
    let (oh, ow) = ((h + 2 * p - k) / s + 1, (width + 2 * p - k) / s + 1);
    let (x, w) = (values(x), values(w));
    let mut all = Plain { z: vec![], dx: vec![0.0; x.len()], dw: vec![0.0; w.len()], output: vec![b, oh, ow, o] };
    for i in 0..b * oh * ow * o {
        let (n, oy, ox, out) = (i / (oh * ow * o), i / (ow * o) % oh, i / o % ow, i % o);
        let mut z = 0.0;
        for (ky, kx, ci) in (0..k * k * c).map(|j| (j / (k * c), j / c % k, j % c)) {
            let (y, xx) = ((oy * s + ky).wrapping_sub(p), (ox * s + kx).wrapping_sub(p));
            if y < h && xx < width {
                let (from, by) = (((n * h + y) * width + xx) * c + ci, ((out * c + ci) * k + ky) * k + kx);
                z += x[from] * w[by];
                all.dx[from] += upstream(i) * w[by];
                all.dw[by] += upstream(i) * x[from];
            }
        }
        all.z.push(z);
    }
    Some(all)
}

/// The gradient of entry `i` of an output.
fn upstream(i: usize) -> f64 {
    (i % 7) as f64 / 4.0 - 0.5
}

fn loss(z: &Tensor) -> Tensor {
    let weights: Vec<f64> = (0..z.elem_count()).map(upstream).collect();
    let weights = Tensor::from_vec(weights, z.shape(), &Device::Cpu).unwrap().to_dtype(z.dtype()).unwrap();
    (z * weights).unwrap().sum_all().unwrap()
}

fn near(what: &str, got: &Tensor, want: &[f64]) {
    let got = values(got);
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 2e-6 * largest, "{what}: {got}, expected {want}");
    }
}

fn on(threads: usize, test: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(test);
}

#[test]
fn every_small_convolution_equals_its_definition_or_is_a_named_error() {
    let (mut right, mut refused) = (0, 0);
    for [h, width, k, s, p] in small_geometries() {
        let (c, o) = (2, 3);
        let (x, w) = (variable(&[2, h, width, c], 3), noise(&[o, c, k.max(1), k.max(1)], 4));
        let w = Var::from_tensor(&w.narrow(2, 0, k).unwrap().narrow(3, 0, k).unwrap().contiguous().unwrap()).unwrap();
        let expected = plain(&x, &w, s, p);
        let run = |x: &Var, w: &Var| match (conv2d(x, w, s, p), &expected) {
            (Ok(z), Some(expected)) => {
                let name = format!("{h}x{width}, kernel {k}, stride {s}, padding {p}, {:?}", x.dtype());
                assert_eq!(z.dims(), &expected.output[..], "{name}");
                near(&name, &z, &expected.z);
                let gradients = loss(&z).backward().unwrap();
                near(&format!("input gradient, {name}"), gradients.get(x).unwrap(), &expected.dx);
                near(&format!("weight gradient, {name}"), gradients.get(w).unwrap(), &expected.dw);
                true
            }
            (Err(Error::Shape { .. } | Error::Config { .. }), None) => false,
            (got, _) => panic!("{h}x{width}, kernel {k}, stride {s}, padding {p}: {got:?}"),
        };
        for threads in [1, 2, 3] {
            on(threads, || _ = run(&x, &w));
        }
        let wide = |v: &Var| Var::from_tensor(&v.to_dtype(DType::F64).unwrap()).unwrap();
        if run(&wide(&x), &wide(&w)) { right += 1 } else { refused += 1 }
    }
    assert!(right > 300 && refused > 300, "{right} right, {refused} refused");
}

/// (height, width, kernel, stride, padding)
fn small_geometries() -> impl Iterator<Item = [usize; 5]> {
    let sides = [(1, 1), (1, 4), (2, 2), (3, 1), (4, 5), (6, 3)];
    let kernels = (0..4).flat_map(|k| (0..4).flat_map(move |s| (0..7).map(move |p| [k, s, p])));
    kernels.chain([[5, 2, 2], [5, 1, 9], [7, 2, 3]]).flat_map(move |[k, s, p]| sides.map(|(h, w)| [h, w, k, s, p]))
}

#[test]
fn shapes_that_do_not_fit_a_convolution_are_named() {
    let (x, w) = (noise(&[1, 4, 4, 2], 1), noise(&[3, 2, 3, 3], 2));
    let text = |x: &Tensor, w: &Tensor, s, p| conv2d(x, w, s, p).unwrap_err().to_string();
    assert_eq!(text(&x, &w, 0, 1), "encoder.stride: got 0, expected at least 1");
    assert_eq!(
        text(&x, &noise(&[3, 5, 3, 3], 2), 1, 1),
        "w: expected (O, 2, k, k), O and k at least 1, got [3, 5, 3, 3]"
    );
    assert!(text(&x, &noise(&[3, 2, 3, 1], 2), 1, 1).starts_with("w: expected (O, 2, k, k)"));
    assert!(text(&x, &noise(&[3, 2, 9], 2), 1, 1).starts_with("w: expected (O, 2, k, k)"));
    assert!(text(&noise(&[4, 4, 2], 1), &w, 1, 1).starts_with("x: expected (B, H, W, C)"));
    assert!(text(&noise(&[0, 4, 4, 2], 1), &w, 1, 1).starts_with("x: expected (B, H, W, C)"));
    assert!(text(&x, &noise(&[3, 2, 7, 7], 2), 1, 1).starts_with("x: expected at least 7 pixels a side"));
    for padding in [usize::MAX, usize::MAX / 2, 1 << 31] {
        assert!(text(&x, &w, 1, padding).starts_with("encoder.padding: got"), "{padding}");
    }
    let f64s = w.to_dtype(DType::F64).unwrap();
    assert_eq!(text(&x, &f64s, 1, 1), "w: expected elements of type f32, got f64");
    let u8s = |t: &Tensor| t.abs().unwrap().to_dtype(DType::U8).unwrap();
    assert!(text(&u8s(&x), &u8s(&w), 1, 1).starts_with("x: expected elements of type f32 or another float"));
}

#[test]
fn vectors_of_another_length_or_rank_are_named() {
    let of = |shape: &[usize]| noise(shape, 5);
    let (x, good) = (of(&[2, 3, 3, 4]), of(&[4]));
    for dtype in [DType::F32, DType::F64] {
        let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
        let norm = |x: &Tensor, vectors: [&Tensor; 4], running: bool| {
            let [gamma, beta, mean, variance] = vectors.map(cast);
            let statistics = if running { Statistics::Running(&mean, &variance) } else { Statistics::Batch };
            batch_norm(&cast(x), (&gamma, &beta), statistics, false).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(norm(&x, [&good; 4], true), Ok(()));
        for shape in [&[1][..], &[2], &[3], &[5], &[8], &[32], &[4, 1], &[1, 4], &[0], &[]] {
            for (place, what) in ["gamma", "beta", "running mean", "running variance"].into_iter().enumerate() {
                let (wrong, mut vectors) = (of(shape), [&good; 4]);
                vectors[place] = &wrong;
                let expected = Err(format!("{what}: expected (C = 4), got {shape:?}"));
                assert_eq!(norm(&x, vectors, true), expected);
                assert_eq!(norm(&x, vectors, false), if place < 2 { expected } else { Ok(()) });
            }
        }
        for shape in [&[18, 4][..], &[2, 9, 4], &[2, 1, 3, 3, 4], &[4], &[0, 3, 3, 4]] {
            let error = norm(&of(shape), [&good; 4], true).unwrap_err();
            assert_eq!(error, format!("x: expected (B, H, W, C), none of them 0, got {shape:?}"));
        }
    }
    let error = batch_norm(&x, (&good, &good.to_dtype(DType::F64).unwrap()), Statistics::Batch, false).unwrap_err();
    assert_eq!(error.to_string(), "beta: expected elements of type f32, got f64");
}

/// PyTorch: "Expected more than 1 value per channel when training, got input size [1, 4, 1, 1]".
#[test]
fn one_value_per_channel_has_no_statistics() {
    let (x, v) = (noise(&[1, 1, 1, 4], 5), noise(&[4], 6).abs().unwrap());
    for dtype in [DType::F32, DType::F64] {
        let (x, v) = (x.to_dtype(dtype).unwrap(), v.to_dtype(dtype).unwrap());
        let error = batch_norm(&x, (&v, &v), Statistics::Batch, true).unwrap_err().to_string();
        assert_eq!(error, "x: expected more than one value per channel, to take statistics from, got [1, 1, 1, 4]");
        batch_norm(&x, (&v, &v), Statistics::Running(&v, &v), true).unwrap();
    }
}

/// Rows as torch.nn.functional.max_pool2d(x, 3, 2, 1) of PyTorch 2 returns them.
#[test]
fn a_window_with_nan_gives_nan_and_no_other_does() {
    let nan = f32::NAN;
    let map = [[1.0, 2.0, 3.0, 4.0, 5.0], [nan, 0.0, 0.0, 0.0, 0.0], [0.0; 5], [0.0; 5], [9.0, 8.0, 7.0, 6.0, nan]];
    let expected = [[nan, 4.0, 5.0], [nan, 0.0, 0.0], [9.0, 8.0, nan]];
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let x = Tensor::new(&map, &Device::Cpu).unwrap().reshape((1, 5, 5, 1)).unwrap().to_dtype(dtype).unwrap();
        let y = max_pool(&x).unwrap().to_dtype(DType::F32).unwrap().reshape((3, 3)).unwrap().to_vec2::<f32>().unwrap();
        for (y, expected) in y.iter().flatten().zip(expected.iter().flatten()) {
            assert!(y == expected || y.is_nan() && expected.is_nan(), "{dtype:?}: {y}, expected {expected}");
        }
    }
}

#[test]
fn max_pool_returns_values_of_the_map_unchanged() {
    let extremes = [f32::NEG_INFINITY, -1e30, -3.3, 1e-20, 0.1, 1e30, f32::INFINITY];
    for [h, w] in [[1, 1], [1, 6], [2, 3], [5, 5], [7, 4]] {
        let values: Vec<f32> = (0..h * w * 2).map(|i| extremes[(i * 5 + i / 3) % 7]).collect();
        let x = Tensor::from_vec(values.clone(), (1, h, w, 2), &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let y = max_pool(&x.to_dtype(dtype).unwrap()).unwrap();
            assert_eq!(y.dims(), [1, h.div_ceil(2), w.div_ceil(2), 2]);
            for (i, got) in self::values(&y).into_iter().enumerate() {
                let (oy, ox, c) = (i / 2 / w.div_ceil(2), i / 2 % w.div_ceil(2), i % 2);
                let near = |o: usize, i: usize| i + 1 >= 2 * o && i <= 2 * o + 1;
                let inside = (0..h * w).filter(|p| near(oy, p / w) && near(ox, p % w));
                let most = inside.map(|p| values[p * 2 + c]).fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(got, f64::from(most), "{h}x{w}, {dtype:?}, output {i}");
            }
        }
    }
    for shape in [&[3, 3][..], &[1, 0, 3, 2], &[]] {
        assert!(matches!(max_pool(&noise(shape, 1)), Err(Error::Shape { what: "x", .. })));
    }
    let counts = Tensor::zeros(Shape::from((1, 2, 2, 1)), DType::U32, &Device::Cpu).unwrap();
    assert!(matches!(max_pool(&counts), Err(Error::DType { .. })));
}

#[test]
fn a_window_of_negative_infinity_hands_its_gradient_to_its_first_pixel() {
    let x = Var::from_tensor(&Tensor::full(f32::NEG_INFINITY, (1, 2, 2, 1), &Device::Cpu).unwrap()).unwrap();
    let gradient = max_pool(&x).unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    assert_eq!(values(&gradient), [1.0, 0.0, 0.0, 0.0]);
}
