//! The optimum against Newton's method, the gradient against finite differences, and what must be refused.

use super::*;

const ROWS: [[f32; 2]; 8] = [[1., 0.], [2., 1.], [0., 2.], [-1., 1.], [-2., -1.], [0., -1.], [1., 2.], [-1., 0.]];
const LABELS: [u32; 8] = [0, 0, 1, 1, 2, 2, 1, 2];

fn rows() -> Tensor {
    Tensor::new(&ROWS, &Device::Cpu).unwrap()
}

fn close(got: &[f64], expected: &[f64]) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-4)
}

// import numpy as np
// x = np.array([[1, 0], [2, 1], [0, 2], [-1, 1], [-2, -1], [0, -1], [1, 2], [-1, 0]], float)
// y = np.array([0, 0, 1, 1, 2, 2, 1, 2]); l2 = 0.1; n, c = len(x), 3
// a = np.hstack([x, np.ones((n, 1))]); w = np.zeros((c, 3))
// for _ in range(50):  # Newton's method; the least-norm step, for biases have a direction without curvature
//     z = a @ w.T; p = np.exp(z - z.max(1, keepdims=True)); p /= p.sum(1, keepdims=True)
//     r = p - np.eye(c)[y]; reg = np.array([1, 1, 0]) * l2
//     g = r.T @ a / n + reg * w
//     h = np.kron(np.eye(c), np.diag(reg))
//     for i in range(n):
//         h += np.kron(np.diag(p[i]) - np.outer(p[i], p[i]), np.outer(a[i], a[i])) / n
//     w -= (np.linalg.pinv(h) @ g.ravel()).reshape(c, 3)
// z = a @ w.T
// print((np.log(np.exp(z).sum(1)) - z[np.arange(n), y]).mean() + l2 / 2 * (w[:, :2] ** 2).sum(), w)
#[test]
fn the_optimum_is_that_of_newton_s_method() {
    let config = LogisticConfig { l2: 0.1, ..LogisticConfig::default() };
    let model = Logistic::fit(&rows(), &LABELS, 3, &config, None).unwrap();
    assert!(model.converged && model.gradient <= 1e-5, "{model:?}");
    assert!((model.loss - 0.453_135_586).abs() < 1e-6, "{model:?}");
    let weights = [0.965_445_8, -0.231_530_4, -0.358_085_3, 1.116_406_4, -0.607_360_5, -0.884_876_0];
    assert!(close(model.weights(), &weights), "{model:?}");
    assert!(close(model.bias(), &[-0.190_366_8, -0.300_721_4, 0.491_088_2]), "{model:?}");
}

#[test]
fn another_start_ends_at_the_same_optimum() {
    let fit = |l2, start: Option<&Logistic>| {
        Logistic::fit(&rows(), &LABELS, 3, &LogisticConfig { l2, ..LogisticConfig::default() }, start).unwrap()
    };
    let (cold, warm) = (fit(0.1, None), fit(0.1, Some(&fit(1.0, None))));
    assert!(close(warm.weights(), cold.weights()) && close(warm.bias(), cold.bias()));
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let objective = Objective { features: rows(), labels: &LABELS, num_classes: 3, dim: 2, l2: 0.1 };
    let at: Vec<f64> = (0..9).map(|i| 0.3 * f64::from(i - 4)).collect();
    let mut gradient = vec![0.0; 9];
    objective.at(&at, &mut gradient).unwrap();
    for i in 0..9 {
        let beside = |step: f64| {
            let mut at = at.clone();
            at[i] += step;
            objective.at(&at, &mut [0.0; 9]).unwrap()
        };
        let slope = (beside(1e-2) - beside(-1e-2)) / 2e-2;
        assert!((slope - gradient[i]).abs() < 1e-4, "{i}: {slope} {}", gradient[i]);
    }
}

#[test]
fn regularisation_shrinks_the_weights_and_not_the_bias() {
    let strong = LogisticConfig { l2: 1e4, ..LogisticConfig::default() };
    let model = Logistic::fit(&rows(), &LABELS, 3, &strong, None).unwrap();
    assert!(model.weights().iter().all(|w| w.abs() < 1e-3), "{model:?}");
    // Without weights the bias tells how frequent a class is: 2, 3, 3 of 8.
    assert!((model.bias()[1] - model.bias()[0] - (3f64 / 2.0).ln()).abs() < 1e-3, "{model:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let fit = |labels: &[u32]| Logistic::fit(&rows(), labels, 3, &LogisticConfig::default(), None);
    assert!(fit(&LABELS[..7]).is_err());
    assert!(fit(&[0, 0, 1, 1, 2, 2, 1, 3]).unwrap_err().to_string().contains("below 3"));
    let model = fit(&LABELS).unwrap();
    let wide = Tensor::zeros((1, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(model.predict(&wide).unwrap_err().to_string().contains("expected (n, 2)"));
}

/// 400 images of 5 classes with 64 features, of which none tells them apart quite.
fn overlapping() -> (Tensor, Vec<u32>) {
    let labels: Vec<u32> = (0..400).map(|i| i % 5).collect();
    let mut rng = crate::stream::stream(1, crate::stream::BENCH, 0, 0);
    let mut noise = || crate::stream::below(2001, &mut rng) as f32 / 1000.0 - 1.0;
    let values: Vec<f32> = (0..400 * 64).map(|i| noise() + if i % 64 == (i / 64 % 5) { 0.4 } else { 0.0 }).collect();
    (Tensor::from_vec(values, (400, 64), &Device::Cpu).unwrap(), labels)
}

#[test]
fn every_strength_of_the_usual_grid_converges() {
    let (x, y) = overlapping();
    for l2 in [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5] {
        let model = Logistic::fit(&x, &y, 5, &LogisticConfig { l2, ..LogisticConfig::default() }, None).unwrap();
        assert!(model.converged && model.iterations < 200, "l2 {l2}: {} {}", model.gradient, model.iterations);
    }
}
