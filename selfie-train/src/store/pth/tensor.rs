//! A tensor as a pickle describes it: a view of a storage.

use candle_core::{DType, Device, Tensor};

use super::names::{Element, Name};
use super::object::{Id, Object, Pickle};

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Described {
    storage: String,
    element: Element,
    /// Number of values in the storage.
    numbers: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Described {
    /// Reads (storage, offset, shape, strides, requires_grad, hooks[, dtype]); `None` for other arguments.
    pub(super) fn of(pickle: &Pickle, arguments: &[Id], is_typed: bool) -> Option<Self> {
        let [storage, offset, shape, strides, rest @ ..] = arguments else { return None };
        let Object::Storage(element, key, numbers, first) = pickle.get(*storage) else { return None };
        let (mut element, mut numbers) = (*element, *numbers);
        if is_typed {
            let Object::Name(Name::Element(stated)) = pickle.get(*rest.get(2)?) else { return None };
            numbers = numbers.checked_mul(element.width())? / stated.width();
            element = *stated;
        } else if let Some(Object::Dict(bits)) = rest.get(2).map(|id| pickle.get(*id))
            && !bits.is_empty()
        {
            element = Element::Unreadable("lazily conjugated or negated", element.width());
        }
        Some(Self {
            storage: pickle.text(*key)?,
            element,
            numbers,
            offset: first.checked_add(pickle.whole(*offset)?)?,
            shape: pickle.wholes(*shape)?,
            strides: pickle.wholes(*strides)?,
        })
    }

    /// Returns the shape.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the key of the storage.
    pub(super) fn storage(&self) -> &str {
        &self.storage
    }

    /// Reads the tensor out of its storage, as `f32`; its size in bytes is taken from `budget`.
    ///
    /// # Errors
    /// Returns the reason in words if the values do not lie in the storage, have a type that is not read, or exceed the budget.
    pub(super) fn read(&self, storage: &[u8], budget: &mut usize) -> Result<Tensor, String> {
        let dtype = match self.element {
            Element::Readable(dtype) => dtype,
            Element::Unreadable(name, _) => return Err(format!("has element type {name}, expected floats")),
            Element::Untyped => DType::U8,
        };
        let Self { shape, strides, offset, numbers, .. } = self;
        let width = dtype.size_in_bytes();
        if Some(storage.len()) != numbers.checked_mul(width) {
            let (key, bytes) = (&self.storage, storage.len());
            return Err(format!("storage {key} has {bytes} bytes, expected {numbers} values of {width} bytes"));
        }
        if self.end().is_none_or(|end| end > *numbers) {
            return Err(format!(
                "has shape {shape:?} with strides {strides:?} from {offset}, but its storage has {numbers} values"
            ));
        }
        // A view may repeat values (stride 0), so the storage alone does not bound its size.
        let count = shape.iter().try_fold(width, |product, &side| product.checked_mul(side));
        let Some(left) = count.and_then(|bytes| budget.checked_sub(bytes)) else {
            return Err(format!("has shape {shape:?}, which is more than the file contains"));
        };
        *budget = left;
        Tensor::from_raw_buffer(&self.gather(storage, width), dtype, shape, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| error.to_string())
    }

    /// Returns one past the last value that is used; `None` if that is not a place.
    fn end(&self) -> Option<usize> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self.shape.iter().zip(&self.strides).map(|(&side, &stride)| (side - 1).checked_mul(stride));
        steps.into_iter().try_fold(self.offset, |at, step| at.checked_add(step?))?.checked_add(1)
    }

    /// Returns the values in the order of the indices.
    fn gather(&self, storage: &[u8], width: usize) -> Vec<u8> {
        if self.shape.contains(&0) {
            return Vec::new();
        }
        let mut places = vec![self.offset];
        let (mut sides, mut run) = (self.shape.as_slice(), 1); // `run` values lie side by side
        while let Some((&side, rest)) = sides.split_last().filter(|_| self.strides[sides.len() - 1] == run) {
            (sides, run) = (rest, run * side);
        }
        for (&side, &stride) in sides.iter().zip(&self.strides) {
            places = places.iter().flat_map(|&at| (0..side).map(move |i| at + i * stride)).collect();
        }
        let mut values = Vec::with_capacity(places.len() * run * width);
        places.iter().for_each(|&at| values.extend_from_slice(&storage[at * width..(at + run) * width]));
        values
    }
}
