//! All tensors of a model, in the order in which its layers asked for them, each started from its own random stream.
//!
//! A Candle `SimpleBackend`, so that every crate takes its variables from a `VarBuilder` and knows nothing of this one.
//! It differs from `candle_nn::VarMap` in three ways: the order is that of the first request (the same in every run), parameters
//! are told from buffers (batch norm's running statistics are state, but not trained), and the first values are a function
//! of (seed, name), so that they do not change when a layer is added elsewhere.

mod count;
mod file;
mod host;
mod init;
mod load;
mod pth;
mod weights;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

pub use count::ModelCount;
pub(crate) use file::TensorFile;
pub(crate) use host::{HostTensor, write_host};
pub use host::{checksum, write_tensors};
pub use load::LoadReport;
pub use weights::Weights;

use crate::seed::{Purpose, hash_name, stream};

/// The tensors of a model. A clone is the same store.
///
/// ```
/// use candle_core::Device;
/// use selfie_train::ParamStore;
/// let store = ParamStore::new(0, &Device::Cpu);
/// let linear = candle_nn::linear(3, 2, store.builder().pp("head"))?;
/// let names: Vec<_> = store.parameters().into_iter().map(|parameter| parameter.name).collect();
/// assert_eq!(names, ["head.weight", "head.bias"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ParamStore {
    inner: Arc<Mutex<Inner>>,
    seed: u64,
    device: Device,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// Trained.
    Parameter(Var),
    /// State that layers write themselves: running statistics.
    Buffer(Tensor),
}

/// A trained tensor and its name.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The path under which the layer asked for it.
    pub name: String,
    /// The variable; the layer sees every change of its content.
    pub var: Var,
}

impl Entry {
    fn tensor(&self) -> &Tensor {
        match &self.content {
            Content::Parameter(var) => var.as_tensor(),
            Content::Buffer(tensor) => tensor,
        }
    }
}

impl ParamStore {
    /// An empty store whose tensors will lie on `device` and start from `seed`.
    #[must_use]
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { inner: Arc::default(), seed, device: device.clone() }
    }

    /// The builder that layers take their variables from, in `f32`.
    #[must_use]
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, self.device.clone())
    }

    /// The device of all tensors.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The trained tensors, in the order of their first request.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameter = |entry: &Entry| match &entry.content {
            Content::Parameter(var) => Some(Parameter { name: entry.name.clone(), var: var.clone() }),
            Content::Buffer(_) => None,
        };
        self.lock().entries.iter().filter_map(parameter).collect()
    }

    /// All tensors, trained or not, in the order of their first request.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.lock().entries.iter().map(|entry| (entry.name.clone(), entry.tensor().clone())).collect()
    }

    /// The tensors that layers write themselves, in the order of their first request.
    #[must_use]
    pub fn buffers(&self) -> Vec<(String, Tensor)> {
        let buffer = |entry: &Entry| match &entry.content {
            Content::Buffer(tensor) => Some((entry.name.clone(), tensor.clone())),
            Content::Parameter(_) => None,
        };
        self.lock().entries.iter().filter_map(buffer).collect()
    }

    /// Copies `values`, one a tensor and in the order of [`ParamStore::tensors`], into the tensors that the layers hold.
    ///
    /// # Errors
    /// Where a shape differs.
    pub(crate) fn set_all(&self, values: &[Tensor]) -> candle_core::Result<()> {
        for (entry, value) in self.lock().entries.iter().zip(values) {
            match &entry.content {
                Content::Parameter(var) => var.set(value)?,
                Content::Buffer(tensor) => tensor.slice_set(value, 0, 0)?,
            }
        }
        Ok(())
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Tensor> {
        let inner = self.lock();
        inner.by_name.get(name).map(|&at| inner.entries[at].tensor().clone())
    }

    /// Number of trained values.
    #[must_use]
    pub fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.var.elem_count()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Entries are only ever pushed whole, so a panic elsewhere leaves nothing half-done here.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for ParamStore {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let mut inner = self.lock();
        if let Some(&at) = inner.by_name.get(name) {
            let tensor = inner.entries[at].tensor();
            if tensor.shape() != &shape || tensor.dtype() != dtype {
                candle_core::bail!(
                    "{name}: asked for as {shape:?} {dtype:?}, but made as {:?} {:?}",
                    tensor.shape(),
                    tensor.dtype()
                )
            }
            return Ok(tensor.clone());
        }
        let values = init::values(init, &shape, &mut stream(self.seed, Purpose::Parameter, hash_name(name), 0));
        let tensor = Tensor::from_vec(values, &shape, device)?.to_dtype(dtype)?;
        let content =
            if is_buffer(name) { Content::Buffer(tensor) } else { Content::Parameter(Var::from_tensor(&tensor)?) };
        let entry = Entry { name: name.to_owned(), content };
        let tensor = entry.tensor().clone();
        let at = inner.entries.len();
        inner.entries.push(entry);
        inner.by_name.insert(name.to_owned(), at);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> candle_core::Result<Tensor> {
        ParamStore::get(self, name).ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().by_name.contains_key(name)
    }
}

/// Running statistics are the only state in the models of this workspace that is not trained.
fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}
