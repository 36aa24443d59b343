//! Layout of `torch.save` before PyTorch 1.6, which `_use_new_zipfile_serialization=False` still writes.
//!
//! Five pickles follow each other: a magic number, a version, a description of the machine, the object, and the keys of its
//! storages. Behind them, in the order of the keys, each storage has its number of values (8 bytes) and the values.

use std::collections::HashMap;
use std::ops::Range;

use super::object::{Object, Pickle};
use super::pickle;

/// Content of the first pickle, ten bytes of a number.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads the pickle of the object and the places of the storages.
pub(super) fn parts(bytes: &[u8]) -> Result<(Pickle<'_>, HashMap<String, Range<usize>>), String> {
    if !bytes.get(..16).is_some_and(|start| start.windows(MAGIC.len()).any(|window| window == MAGIC)) {
        return Err("is a bare pickle, expected a file of torch.save, or safetensors".to_owned());
    }
    let mut rest = bytes;
    for _ in 0..3 {
        rest = pickle::read(rest)?.behind();
    }
    let object = pickle::read(rest)?;
    let keys = pickle::read(object.behind())?;
    let mut at = bytes.len() - keys.behind().len();
    let widths = object.storage_widths();
    let mut storages = HashMap::new();
    let Object::List(items) = keys.root() else {
        return Err("its list of storages is missing".to_owned());
    };
    for item in items {
        let key = keys.text(*item).ok_or("its list of storages contains something else than keys")?;
        let numbers = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u64::from_le_bytes(*chunk));
        // A storage that no tensor uses has no width; nothing can be read behind it.
        let size = numbers.zip(widths.get(&key)).and_then(|(numbers, width)| (numbers as usize).checked_mul(*width));
        let end = size.and_then(|size| (at + 8).checked_add(size)).filter(|end| *end <= bytes.len());
        let Some(end) = end else {
            return Err(format!("not a complete file of torch.save: storage {key} ends behind the file"));
        };
        storages.insert(key, at + 8..end);
        at = end;
    }
    Ok((object, storages))
}
