//! Objects of Python that a pickle builds, as far as tensors need them.

use std::collections::HashMap;

use super::names::{Element, Name};
use super::tensor::Described;

/// Place of an object in [`Pickle::objects`].
pub(super) type Id = u32;

/// Most dimensions of a tensor, as in PyTorch.
const MOST_SIDES: usize = 64;

/// An object of Python, as far as tensors need it.
#[derive(Debug, Clone)]
pub(super) enum Object {
    /// A whole number of at most 64 bits.
    Int(i64),
    /// Text, as a range of the program.
    Text(std::ops::Range<usize>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary.
    Dict(Vec<(Id, Id)>),
    /// An accepted name.
    Name(Name),
    /// Reference to a storage: element type, key, number of values, and first value (in files before PyTorch 1.6).
    Storage(Element, Id, usize, usize),
    /// A tensor.
    Tensor(Box<Described>),
    /// Anything that tensors do not need.
    Other,
}

/// The objects of a program, and the bytes behind it.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) program: &'a [u8],
    pub(super) objects: Vec<Object>,
    /// The object that the program leaves.
    pub(super) root: Id,
    /// Length of the program.
    pub(super) end: usize,
}

impl<'a> Pickle<'a> {
    /// Returns the object that the program leaves.
    pub(super) fn root(&self) -> &Object {
        self.get(self.root)
    }

    /// Returns the object at `id`.
    pub(super) fn get(&self, id: Id) -> &Object {
        &self.objects[id as usize]
    }

    /// Returns the bytes behind the program.
    pub(super) fn behind(&self) -> &'a [u8] {
        &self.program[self.end..]
    }

    /// Returns the text at `id`; `None` if another object is there.
    pub(super) fn text(&self, id: Id) -> Option<String> {
        match self.get(id) {
            Object::Text(range) => Some(String::from_utf8_lossy(&self.program[range.clone()]).into_owned()),
            _ => None,
        }
    }

    /// Returns the bytes per value of every storage, by its key.
    pub(super) fn storage_widths(&self) -> HashMap<String, usize> {
        let width = |object: &Object| match object {
            Object::Storage(element, key, ..) => Some((self.text(*key)?, element.width())),
            _ => None,
        };
        self.objects.iter().filter_map(width).collect()
    }

    /// Returns the whole number at `id`, unless it is negative or another object is there.
    pub(super) fn whole(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Object::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Returns the whole numbers of the tuple at `id`, at most [`MOST_SIDES`].
    pub(super) fn wholes(&self, id: Id) -> Option<Vec<usize>> {
        match self.get(id) {
            Object::Tuple(numbers) | Object::List(numbers) if numbers.len() <= MOST_SIDES => {
                numbers.iter().map(|id| self.whole(*id)).collect()
            }
            _ => None,
        }
    }
}
