//! Whether two golden files say the same.
//!
//! PyTorch's sums come in another order on another processor, so floats may differ by [`TOLERANCE`] of the tensor's
//! largest entry (of 1, where that is smaller). Integers, shapes, names and files of other kinds must be equal.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// The largest difference of two equal entries, as a share of the tensor's largest one.
const TOLERANCE: f64 = 1e-6;

/// How the file `fresh` differs from `committed`, or nothing.
pub fn files(committed: &Path, fresh: &Path) -> Result<Option<String>> {
    let new = std::fs::read(fresh).with_context(|| fresh.display().to_string())?;
    let old = match std::fs::read(committed) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("is not there yet".to_owned()));
        }
        Err(error) => return Err(error).with_context(|| committed.display().to_string()),
    };
    if old == new {
        return Ok(None);
    }
    if fresh.extension().is_some_and(|extension| extension == "safetensors") {
        let new = SafeTensors::deserialize(&new).with_context(|| fresh.display().to_string())?;
        return Ok(match SafeTensors::deserialize(&old) {
            Ok(old) => tensors(&old, &new),
            Err(error) => Some(format!("cannot be read: {error}")),
        });
    }
    Ok(Some("differs".to_owned()))
}

/// The first tensor, by name, that differs.
fn tensors(old: &SafeTensors, new: &SafeTensors) -> Option<String> {
    let names = |file: &SafeTensors| {
        let mut names: Vec<String> = file.names().iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let (old_names, new_names) = (names(old), names(new));
    if old_names != new_names {
        let alone = |a: &[String], b: &[String]| a.iter().find(|name| !b.contains(name)).cloned();
        let name = alone(&old_names, &new_names).or_else(|| alone(&new_names, &old_names)).unwrap_or_default();
        return Some(format!("only one side has the tensor '{name}'"));
    }
    new_names.iter().find_map(|name| {
        let difference = views(&old.tensor(name).ok()?, &new.tensor(name).ok()?)?;
        Some(format!("tensor '{name}' {difference}"))
    })
}

fn views(old: &TensorView, new: &TensorView) -> Option<String> {
    if (old.dtype(), old.shape()) != (new.dtype(), new.shape()) {
        let kind = |view: &TensorView| format!("{:?} {:?}", view.dtype(), view.shape());
        return Some(format!("was {}, is {}", kind(old), kind(new)));
    }
    let (Some(old_values), Some(new_values)) = (floats(old), floats(new)) else {
        return (old.data() != new.data()).then(|| "has other values".to_owned());
    };
    let largest = new_values.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    let allowed = TOLERANCE * largest;
    let is_far = |(old, new): &(&f64, &f64)| {
        let gap = (*old - *new).abs();
        *old != *new && (gap.is_nan() || gap > allowed)
    };
    let (old, new) = old_values.iter().zip(&new_values).find(is_far)?;
    Some(format!("was {old:e}, is {new:e}, allowed are {allowed:.1e}"))
}

/// The entries of a tensor of f32 or f64.
fn floats(view: &TensorView) -> Option<Vec<f64>> {
    let (quads, _) = view.data().as_chunks::<4>();
    let (octets, _) = view.data().as_chunks::<8>();
    match view.dtype() {
        Dtype::F32 => Some(quads.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()),
        Dtype::F64 => Some(octets.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(old: &[f32], new: &[f32]) -> Option<String> {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let (old_bytes, new_bytes) = (bytes(old), bytes(new));
        let view = |data, len| TensorView::new(Dtype::F32, vec![len], data).unwrap();
        views(&view(&old_bytes, old.len()), &view(&new_bytes, new.len()))
    }

    #[test]
    fn the_tolerance_grows_with_the_largest_entry_only() {
        assert_eq!(difference(&[0.0, 100.0], &[5e-5, 100.0]), None);
        assert!(difference(&[0.0, 1.0], &[5e-5, 1.0]).is_some());
        assert_eq!(difference(&[1e-9], &[2e-9]), None);
    }

    #[test]
    fn a_nan_is_a_difference_wherever_it_stands() {
        assert!(difference(&[f32::NAN, 1.0], &[1.0, 1.0]).is_some());
        assert!(difference(&[1.0, 1.0], &[1.0, f32::NAN]).is_some());
    }

    #[test]
    fn another_shape_is_told() {
        assert_eq!(difference(&[1.0], &[1.0, 1.0]).unwrap(), "was F32 [1], is F32 [2]");
    }

    #[test]
    fn a_tensor_of_one_side_only_is_named() {
        let empty = safetensors::serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        let one = TensorView::new(Dtype::U8, vec![1], &[7]).unwrap();
        let full = safetensors::serialize([("x", one)], None).unwrap();
        let (empty, full) = (SafeTensors::deserialize(&empty).unwrap(), SafeTensors::deserialize(&full).unwrap());
        assert!(tensors(&empty, &full).unwrap().contains("'x'"));
        assert_eq!(tensors(&full, &full), None);
    }
}
