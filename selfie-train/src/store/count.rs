//! The size of a model, known before there is memory for it.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::is_buffer;

/// Counts the values of the layers that are built from it. Its tensors share one value each, so that a model of any size takes
/// no memory; it cannot compute anything.
///
/// ```
/// use selfie_train::ModelCount;
/// let count = ModelCount::default();
/// candle_nn::linear(3000, 200_000, count.builder().pp("head"))?; // 2.4 GB in a store
/// assert_eq!(count.parameters(), 3000 * 200_000 + 200_000);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ModelCount {
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    parameters: usize,
    buffers: usize,
    shapes: Vec<(String, Vec<usize>)>,
}

impl ModelCount {
    /// The builder that layers take their variables from.
    #[must_use]
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// Number of trained values so far.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).parameters
    }

    /// Number of values in running statistics so far.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).buffers
    }

    /// Returns the name and the shape of every tensor so far, in the order of the requests.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).shapes.clone()
    }
}

impl SimpleBackend for ModelCount {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.shapes.push((name.to_owned(), shape.dims().to_vec()));
        let count = if is_buffer(name) { &mut counted.buffers } else { &mut counted.parameters };
        *count = count.saturating_add(shape.elem_count());
        Tensor::ones(1, dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::Msg(format!("{name}: got no shape, expected one to count by")))
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
