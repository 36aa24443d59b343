//! L-BFGS: minimises a smooth function from its values and gradients (Nocedal and Wright, Numerical Optimization,
//! algorithms 7.4 and 7.5).
//!
//! The step length comes from bisection to the weak Wolfe conditions (Lewis and Overton 2013, algorithm 2.6): a few
//! lines, and every accepted step has s·y > 0, so that the approximation stays positive definite. Near the minimum
//! rounding errors hide the decrease long before the gradient is small; there the slope decides (Hager and Zhang
//! 2005, "approximate Wolfe"). Vectors are `f64`, whatever the function computes in.

use std::collections::VecDeque;

use crate::error::Result;

/// Steps that the approximation of the curvature remembers.
const MEMORY: usize = 10;
/// Share of the promised decrease that a step must bring.
const DECREASE: f64 = 1e-4;
/// Change of the value, relative to it, that may be a rounding error.
const ROUNDING: f64 = 1e-6;
/// Share of the slope that may be left after a step.
const CURVATURE: f64 = 0.9;
/// Evaluations that one step may take.
const MOST_TRIALS: usize = 30;

/// Where the search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The point.
    pub point: Vec<f64>,
    /// The function's value there.
    pub value: f64,
    /// The largest entry of the gradient there, in absolute value.
    pub gradient: f64,
    /// Steps taken.
    pub iterations: usize,
    /// Whether `gradient` came down to the tolerance.
    pub converged: bool,
}

/// Minimises `function` from `start` until no entry of the gradient exceeds `tolerance`, or for `max_iterations`
/// steps, or until rounding errors leave no direction that leads down.
///
/// `function` returns its value at a point and writes its gradient. `precondition` multiplies a vector by a guess of the
/// inverse of the Hessian: the better it is, the fewer steps it takes; who knows none leaves the vector alone.
///
/// ```
/// // (x - 3)² + 10 (y + 1)²
/// let found = selfie_eval::minimise(vec![0.0, 0.0], 1e-9, 100, |_| {}, |at, gradient| {
///     gradient.copy_from_slice(&[2.0 * (at[0] - 3.0), 20.0 * (at[1] + 1.0)]);
///     Ok((at[0] - 3.0).powi(2) + 10.0 * (at[1] + 1.0).powi(2))
/// })?;
/// assert!(found.converged && (found.point[0] - 3.0).abs() < 1e-8 && (found.point[1] + 1.0).abs() < 1e-8);
/// # Ok::<(), selfie_eval::Error>(())
/// ```
///
/// # Errors
/// Those of `function`.
pub fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    max_iterations: usize,
    precondition: impl Fn(&mut [f64]),
    mut function: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
) -> Result<Minimum> {
    let mut at = Place::evaluate(start, &mut function)?;
    let mut memory = Memory::default();
    let mut iterations = 0;
    while iterations < max_iterations && largest(&at.gradient) > tolerance {
        let direction = memory.direction(&at.gradient, &precondition);
        // The first step has no curvature to go by: it is at most one unit long.
        let length = if memory.is_empty() { (1.0 / norm(&direction)).min(1.0) } else { 1.0 };
        match step(&at, &direction, length, &mut function)? {
            Some(next) => {
                memory.remember(&at, &next);
                at = next;
                iterations += 1;
            }
            // Rounding errors may have spoilt the curvature: once more without it, then that was all.
            None if memory.is_empty() => break,
            None => memory = Memory::default(),
        }
    }
    let gradient = largest(&at.gradient);
    let converged = gradient <= tolerance;
    Ok(Minimum { point: at.point, value: at.value, gradient, iterations, converged })
}

/// A point with the function's value and gradient.
struct Place {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Place {
    fn evaluate(point: Vec<f64>, function: &mut impl FnMut(&[f64], &mut [f64]) -> Result<f64>) -> Result<Self> {
        let mut gradient = vec![0.0; point.len()];
        let value = function(&point, &mut gradient)?;
        Ok(Self { point, value, gradient })
    }
}

/// The place that a step along `direction` leads to; none where nothing on the way is low enough.
fn step(
    from: &Place,
    direction: &[f64],
    first: f64,
    function: &mut impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
) -> Result<Option<Place>> {
    let slope = dot(&from.gradient, direction);
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    for _ in 0..MOST_TRIALS {
        let point = from.point.iter().zip(direction).map(|(x, d)| x + length * d).collect();
        let trial = Place::evaluate(point, function)?;
        let trial_slope = dot(&trial.gradient, direction);
        // Written so that a value that is no number counts as too high.
        let low_enough = trial.value <= from.value + DECREASE * length * slope
            || (trial.value <= from.value + ROUNDING * from.value.abs()
                && trial_slope <= (2.0 * DECREASE - 1.0) * slope);
        if !low_enough {
            high = length;
        } else if trial_slope < CURVATURE * slope {
            low = length;
        } else {
            return Ok(Some(trial));
        }
        length = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * low };
    }
    Ok(None)
}

/// The last steps s, the changes of the gradient y that they brought, and 1 / s·y; the newest last.
#[derive(Default)]
struct Memory {
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Memory {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn remember(&mut self, old: &Place, new: &Place) {
        let difference = |new: &[f64], old: &[f64]| new.iter().zip(old).map(|(new, old)| new - old).collect::<Vec<_>>();
        let s = difference(&new.point, &old.point);
        let y = difference(&new.gradient, &old.gradient);
        let curvature = dot(&s, &y);
        if curvature > 0.0 {
            self.pairs.push_back((s, y, 1.0 / curvature));
        }
        if self.pairs.len() > MEMORY {
            self.pairs.pop_front();
        }
    }

    /// Minus the gradient times the approximate inverse of the Hessian: the two loops of algorithm 7.4.
    fn direction(&self, gradient: &[f64], precondition: &impl Fn(&mut [f64])) -> Vec<f64> {
        let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut alphas = Vec::with_capacity(self.pairs.len());
        for (s, y, rho) in self.pairs.iter().rev() {
            let alpha = rho * dot(s, &q);
            add(&mut q, -alpha, y);
            alphas.push(alpha);
        }
        precondition(&mut q);
        if let Some((_, y, rho)) = self.pairs.back() {
            let mut scaled = y.clone();
            precondition(&mut scaled);
            let scale = 1.0 / (rho * dot(y, &scaled)); // s·y / y·H y, where H is the guess
            q.iter_mut().for_each(|q| *q *= scale);
        }
        for ((s, y, rho), alpha) in self.pairs.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(y, &q);
            add(&mut q, alpha - beta, s);
        }
        q
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |largest, a| a.abs().max(largest))
}

/// `to += factor * what`
fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += factor * what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banana_valley_is_followed_to_its_end() {
        // Rosenbrock: minimum 0 at (1, 1), from the usual start.
        let rosenbrock = |at: &[f64], gradient: &mut [f64]| {
            let (x, y) = (at[0], at[1]);
            gradient[0] = -2.0 * (1.0 - x) - 400.0 * x * (y - x * x);
            gradient[1] = 200.0 * (y - x * x);
            Ok((1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2))
        };
        let found = minimise(vec![-1.2, 1.0], 1e-8, 200, |_| {}, rosenbrock).unwrap();
        assert!(found.converged && found.iterations < 60, "{found:?}");
        assert!(found.point.iter().all(|x| (x - 1.0).abs() < 1e-7), "{found:?}");
    }

    #[test]
    fn a_start_at_the_minimum_stays() {
        let square = |at: &[f64], gradient: &mut [f64]| {
            gradient[0] = 2.0 * at[0];
            Ok(at[0] * at[0])
        };
        let found = minimise(vec![0.0], 1e-9, 10, |_| {}, square).unwrap();
        assert_eq!((found.point[0], found.iterations, found.converged), (0.0, 0, true));
    }

    #[test]
    fn the_inverse_of_the_hessian_leads_there_in_one_step() {
        // (x² + 1e6 y²) / 2: hopeless for steepest descent.
        let narrow = |at: &[f64], gradient: &mut [f64]| {
            gradient.copy_from_slice(&[at[0], 1e6 * at[1]]);
            Ok((at[0] * at[0] + 1e6 * at[1] * at[1]) / 2.0)
        };
        let found = minimise(vec![0.3, 0.4], 1e-9, 10, |v| v[1] /= 1e6, narrow).unwrap();
        assert!(found.converged && found.iterations == 1, "{found:?}");
    }

    #[test]
    fn a_function_without_minimum_ends_and_says_so() {
        let linear = |at: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0;
            Ok(at[0])
        };
        let found = minimise(vec![0.0], 1e-9, 20, |_| {}, linear).unwrap();
        assert!(!found.converged);
    }
}
