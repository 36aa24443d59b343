//! Exponential and normal distribution function in single precision, written so that loops over them vectorise.
//!
//! The library's `exp` and `erf` are calls, one entry at a time. Here: no branch, no table, no call. Sums keep sixteen
//! running parts, because a compiler may not reorder a floating-point sum by itself.

/// Runs `body`, compiled for the widest registers that the processor turns out to have.
///
/// `body` and everything it calls must be `#[inline(always)]`, closures included. (`Arch::dispatch` with a bare closure
/// goes through a shim that is not inlined, and so stays at the baseline.)
#[inline(always)]
pub(crate) fn vectorised(body: impl FnMut()) {
    struct Body<F>(F);
    impl<F: FnMut()> pulp::NullaryFnOnce for Body<F> {
        type Output = ();

        #[inline(always)]
        fn call(mut self) {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}

/// e^x for x <= 0, relative error below 2e-7; inputs below -87 count as -87, where the result is 1.6e-38.
#[inline(always)]
pub(crate) fn exp_negative(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the rounded integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x }; // NaN stays NaN
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW; // |r| <= ln 2 / 2
    // The minimax polynomial of Cephes' expf.
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let e = (p * r) * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23); // 2^n
    e * power
}

/// The standard normal distribution at x: (Φ(x), φ(x)), the distribution function and the density.
///
/// gelu(x) = x Φ(x) and its derivative is Φ(x) + x φ(x). Φ(x) = (1 + erf(x / √2)) / 2 by formula 7.1.26 of Abramowitz and
/// Stegun: erf(z) = 1 - t (a₁ + t (a₂ + …)) e^(-z²) with t = 1 / (1 + p z), absolute error below 1.5e-7. It shares the
/// exponential with the density.
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;
    let e = exp_negative(-0.5 * x * x);
    let t = 1.0 / (1.0 + P * x.abs());
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_8;
    p = p * t - 0.284_496_72;
    p = p * t + 0.254_829_6;
    let tail = 0.5 * (p * t) * e; // Φ(-|x|)
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (cdf, FRAC_1_SQRT_2PI * e)
}

const LANES: usize = 16;

/// The sum of the products of two slices of equal length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    across(lanes) + rest
}

/// The sum of a slice.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for block in blocks {
        for (lane, a) in lanes.iter_mut().zip(block) {
            *lane += a;
        }
    }
    across(lanes) + rest.iter().sum::<f32>()
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn across(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds `part` to `total`, entry by entry.
#[inline(always)]
pub(crate) fn add_to(total: &mut [f32], part: &[f32]) {
    for (total, part) in total.iter_mut().zip(part) {
        *total += part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_double_precision() {
        for i in 0..=870_000 {
            let x = -i as f32 * 1e-4;
            let (got, want) = (exp_negative(x) as f64, (x as f64).exp());
            assert!((got - want).abs() <= 2e-7 * want, "{x}: {got} {want}");
        }
        assert_eq!(exp_negative(0.0), 1.0);
        assert!(exp_negative(f32::NEG_INFINITY) < 2e-38);
        assert!(exp_negative(f32::NAN).is_nan() && normal(f32::NAN).0.is_nan());
    }

    #[test]
    fn gelu_and_its_derivative_agree_with_double_precision() {
        for i in -120_000..=120_000 {
            let x = i as f32 * 1e-4;
            let z = x as f64;
            let (cdf, pdf) = normal(x);
            let want_cdf = 0.5 * libm::erfc(-z / 2f64.sqrt());
            let want_pdf = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((cdf as f64 - want_cdf).abs() < 3e-7, "{x}: {cdf} {want_cdf}");
            assert!((pdf as f64 - want_pdf).abs() < 1e-7, "{x}: {pdf} {want_pdf}");
            let gelu = x * cdf;
            assert!((gelu as f64 - z * want_cdf).abs() < 1e-6 * z.abs().max(1.0), "{x}: {gelu}");
        }
    }

    #[test]
    fn sums_take_every_entry_once() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(sum(&a) as usize, n * (n + 1) / 2);
            assert_eq!(dot(&a, &a) as usize, n * (n + 1) * (2 * n + 1) / 6);
        }
    }
}
