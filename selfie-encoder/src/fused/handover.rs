//! Gradients of a fused trunk's parameters on their way to the optimiser, past Candle's store.
//!
//! Candle starts each argument's gradient from zeros and adds what an op returns to it, into a new tensor: for the 94 MB
//! of a ResNet-50 four passes over memory a step. While [`backward`] runs, a parameter's tap keeps its gradient here and
//! returns none to Candle; afterwards it goes into the store as it is.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use std::cell::RefCell;

thread_local! {
    /// (parameter, gradient), while a [`backward`] runs on this thread; Candle's backward pass stays on its thread.
    static KEPT: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// `loss.backward()`, with the same gradients and less work where a trunk ran as one op.
///
/// # Errors
/// As `loss.backward()`.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let outer = KEPT.replace(Some(Vec::new()));
    let store = loss.backward();
    let kept = KEPT.replace(outer).unwrap_or_default();
    let mut store = store?;
    for (parameter, gradient) in kept {
        // A trunk that ran twice, or a parameter that other ops use too, has several gradients.
        let gradient = match store.remove(&parameter) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        store.insert(&parameter, gradient);
    }
    Ok(store)
}

/// Keeps a gradient for the [`backward`] that is running; gives it back where none is.
pub(super) fn keep(parameter: &Tensor, gradient: Tensor) -> Option<Tensor> {
    KEPT.with_borrow_mut(|kept| match kept {
        Some(kept) if parameter.is_variable() => {
            kept.push((parameter.clone(), gradient));
            None
        }
        // What comes out of another op must get its gradient from Candle, to hand it on.
        _ => Some(gradient),
    })
}
