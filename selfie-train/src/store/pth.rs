//! Tensors out of a file of `torch.save` (`.pth`, `.pt`): a zip archive of one pickle and a member a storage.
//!
//! The pickle is looked over first ([`guard`]), then read by Candle's interpreter, which builds plain objects and calls
//! nothing; the tensors are taken out of these here, each against the size of its storage, so that a file can ask for no more
//! memory than it holds.

mod guard;

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use candle_core::pickle::{Object, Stack};
use candle_core::{DType, Device, Tensor};
use zip::{CompressionMethod, ZipArchive};

/// How a zip archive begins.
const ZIP: &[u8] = b"PK\x03\x04";
/// The longest pickle that is read; that of a ResNet-50 has 40 kB.
const LONGEST: u64 = 16 << 20;
/// Where training programs keep the tensors beside other things.
const KEYS: [&str; 3] = ["state_dict", "model", "model_state_dict"];
/// What DataParallel, and compiled models, put before each name.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// A tensor as the pickle describes it.
struct Described {
    storage: String,
    dtype: DType,
    /// Numbers in the storage.
    length: usize,
    offset: usize,
    size: Vec<usize>,
    stride: Vec<usize>,
}

/// Whether these bytes are a file of `torch.save`, of today or of old.
pub(super) fn is_pth(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP) || is_pickle(bytes)
}

/// A bare pickle of protocol 2 or later.
fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// All tensors of the file, under the names of its state_dict.
///
/// # Errors
/// In words, where it is no such file, holds more than tensors, or is damaged.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    if is_pickle(bytes) {
        return Err("a bare pickle, which torch.save wrote before version 1.6 and others write too; it is not read, \
                    expected the zip archive of today's torch.save, or safetensors"
            .to_owned());
    }
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("no complete zip archive: {error}"))?;
    let (folder, program) = pickle(&mut archive)?;
    guard::check(&program)?;
    let mut stack = Stack::empty();
    stack.read_loop(&mut program.as_slice()).map_err(|error| format!("its pickle cannot be read: {error}"))?;
    let root = stack.finalize().map_err(|error| format!("its pickle cannot be read: {error}"))?;
    let described = state_dict(&root)?;
    let mut storages = Storages { archive, folder, read: HashMap::new(), left: bytes.len() };
    let mut tensors = BTreeMap::new();
    let mut budget = 2 * bytes.len(); // bytes of tensors: two views of one storage are two tensors
    for (name, tensor) in described {
        let wrong = |reason: String| format!("tensor {name}: {reason}");
        let read = tensor.read(&mut storages, &mut budget).map_err(wrong)?;
        tensors.insert(bare(&name).to_owned(), read);
    }
    Ok(tensors)
}

/// The one pickle of the archive, and the folder that it lies in.
fn pickle(archive: &mut Archive) -> Result<(String, Vec<u8>), String> {
    let names: Vec<_> = archive.file_names().flatten().map(|name| name.into_owned()).collect();
    let expected = "expected one member data.pkl, as torch.save writes it";
    let mut found = names.iter().filter(|name| name.ends_with("/data.pkl"));
    let (Some(name), None) = (found.next(), found.next()) else {
        return Err(format!(
            "a zip archive of {}; {expected}",
            names.iter().take(4).cloned().collect::<Vec<_>>().join(", ")
        ));
    };
    let folder = name.trim_end_matches("data.pkl").to_owned();
    let program = member(archive, name, LONGEST)?;
    let order = format!("{folder}byteorder");
    if names.contains(&order) && member(archive, &order, 16)? != b"little" {
        return Err("its numbers are big-endian, expected little-endian".to_owned());
    }
    if names.iter().any(|name| *name == format!("{folder}code") || name.starts_with(&format!("{folder}code/"))) {
        return Err("a TorchScript program, expected a state_dict".to_owned());
    }
    Ok((folder, program))
}

/// A member's bytes; members are stored as they are, so that none grows when it is read.
fn member(archive: &mut Archive, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let mut member = archive.by_name(name).map_err(|error| format!("member {name}: {error}"))?;
    if member.compression() != CompressionMethod::Stored || member.size() > most {
        let size = member.size();
        return Err(format!("member {name}: {size} bytes, maybe packed, expected at most {most} and unpacked"));
    }
    let mut bytes = Vec::new();
    member.by_ref().take(most).read_to_end(&mut bytes).map_err(|error| format!("member {name}: {error}"))?;
    Ok(bytes)
}

/// The storages of an archive, each read once: many tensors may name the same one.
struct Storages<'a> {
    archive: Archive<'a>,
    folder: String,
    read: HashMap<String, Vec<u8>>,
    /// Bytes that are not read yet, of those that the file has.
    left: usize,
}

impl Storages<'_> {
    /// The bytes of the storage `key`.
    fn get(&mut self, key: &str) -> Result<&[u8], String> {
        if !self.read.contains_key(key) {
            let name = format!("{}data/{key}", self.folder);
            let bytes = member(&mut self.archive, &name, self.left as u64)?;
            self.left -= bytes.len();
            self.read.insert(key.to_owned(), bytes);
        }
        Ok(&self.read[key])
    }
}

/// The tensors of the dictionary, or of the one below a usual key.
fn state_dict(root: &Object) -> Result<Vec<(String, Described)>, String> {
    let Object::Dict(entries) = root else {
        return Err(
            "its pickle is no dictionary, expected a state_dict (torch.save(model.state_dict(), FILE))".to_owned()
        );
    };
    let below = |key: &str| {
        let find = |(name, value): &(Object, Object)| match (name, value) {
            (Object::Unicode(name), Object::Dict(entries)) if name == key => Some(entries.clone()),
            _ => None,
        };
        entries.iter().find_map(find)
    };
    for entries in [Some(entries.clone())].into_iter().chain(KEYS.map(below)).flatten() {
        let mut tensors = Vec::new();
        for (name, value) in &entries {
            if let (Object::Unicode(name), Some(arguments)) = (name, tensor_arguments(value)) {
                let tensor =
                    Described::of(arguments).ok_or_else(|| format!("tensor {name}: not as torch.save writes it"))?;
                tensors.push((name.clone(), tensor));
            }
        }
        if !tensors.is_empty() {
            return Ok(tensors);
        }
    }
    Err(format!("holds no tensor, expected a state_dict, or one under {}", KEYS.join(", ")))
}

/// The name without what wrappers of models put before it.
fn bare(name: &str) -> &str {
    let mut bare = name;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| bare.strip_prefix(prefix)) {
        bare = rest;
    }
    bare
}

/// The arguments of `_rebuild_tensor_v2`, where that is what the object is.
fn tensor_arguments(object: &Object) -> Option<&[Object]> {
    let Object::Reduce { callable, args } = object else { return None };
    let (Object::Class { class_name, .. }, Object::Tuple(args)) = (&**callable, &**args) else { return None };
    match class_name.as_str() {
        "_rebuild_tensor_v2" => Some(args),
        "_rebuild_parameter" => tensor_arguments(args.first()?),
        _ => None,
    }
}

impl Described {
    /// Of (storage, offset, size, stride, ...), where storage is ("storage", class, key, device, numbers).
    fn of(arguments: &[Object]) -> Option<Self> {
        let [Object::PersistentLoad(storage), offset, size, stride, ..] = arguments else { return None };
        let Object::Tuple(storage) = &**storage else { return None };
        let [_, Object::Class { class_name, .. }, Object::Unicode(key), _, length] = storage.as_slice() else {
            return None;
        };
        let dtype = match class_name.as_str() {
            "FloatStorage" => DType::F32,
            "DoubleStorage" => DType::F64,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "LongStorage" => DType::I64,
            "IntStorage" => DType::I32,
            "ShortStorage" => DType::I16,
            "ByteStorage" | "BoolStorage" => DType::U8,
            _ => return None,
        };
        let (length, offset) = (whole(length)?, whole(offset)?);
        Some(Self { storage: key.clone(), dtype, length, offset, size: wholes(size)?, stride: wholes(stride)? })
    }

    /// The tensor, from its storage; its bytes are taken from `budget`.
    fn read(&self, storages: &mut Storages, budget: &mut usize) -> Result<Tensor, String> {
        let width = self.dtype.size_in_bytes();
        let count = self.size.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        let bytes = count.and_then(|count| count.checked_mul(width));
        let Some(bytes) = bytes.filter(|bytes| bytes <= budget) else {
            return Err(format!("shape {:?}, which is more than the file holds", self.size));
        };
        *budget -= bytes;
        if self.end().is_none_or(|end| end > self.length) {
            let Self { size, stride, offset, length, .. } = self;
            return Err(format!(
                "shape {size:?} with strides {stride:?} from {offset} on, but its storage has {length} numbers"
            ));
        }
        let storage = storages.get(&self.storage)?;
        if Some(storage.len()) != self.length.checked_mul(width) {
            let (key, bytes, length) = (&self.storage, storage.len(), self.length);
            return Err(format!("storage {key}: {bytes} bytes, expected {length} numbers of {width}"));
        }
        let values = self.gather(storage, width);
        Tensor::from_raw_buffer(&values, self.dtype, &self.size, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| error.to_string())
    }

    /// One past the last number that is used; none where that is beyond all numbers.
    fn end(&self) -> Option<usize> {
        if self.size.len() != self.stride.len() {
            return None;
        }
        if self.size.contains(&0) {
            return Some(0);
        }
        let steps = self.size.iter().zip(&self.stride);
        let last = steps.map(|(&side, &stride)| (side - 1).checked_mul(stride));
        last.into_iter().try_fold(self.offset, |at, step| at.checked_add(step?))?.checked_add(1)
    }

    /// The numbers in the order of the indices.
    fn gather(&self, storage: &[u8], width: usize) -> Vec<u8> {
        if self.size.contains(&0) {
            return Vec::new();
        }
        let mut places = vec![self.offset];
        let (mut sides, mut run) = (self.size.as_slice(), 1); // numbers side by side
        while let Some((&side, rest)) = sides.split_last().filter(|_| self.stride[sides.len() - 1] == run) {
            (sides, run) = (rest, run * side);
        }
        for (&side, &stride) in sides.iter().zip(&self.stride) {
            places = places.iter().flat_map(|&at| (0..side).map(move |i| at + i * stride)).collect();
        }
        let mut values = Vec::with_capacity(places.len() * run * width);
        places.iter().for_each(|&at| values.extend_from_slice(&storage[at * width..(at + run) * width]));
        values
    }
}

fn whole(object: &Object) -> Option<usize> {
    match object {
        Object::Int(number) => usize::try_from(*number).ok(),
        Object::Long(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

fn wholes(object: &Object) -> Option<Vec<usize>> {
    match object {
        Object::Tuple(numbers) => numbers.iter().map(whole).collect(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "pth/tests.rs"]
mod tests;
