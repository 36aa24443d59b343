//! What tells weights from other weights, wherever they lie.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// The CRC-32 of names and values, as eight digits.
pub(crate) fn of_tensors<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        for values in values.chunks(1 << 10) {
            hasher.update(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
        }
    }
    Ok(format!("{:08x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_value_tell_weights_apart() {
        let tensor = |value: f32| Tensor::new(&[1.0, value], &Device::Cpu).unwrap();
        let of = |name: &str, value| of_tensors([(name, &tensor(value))]).unwrap();
        assert_eq!(of("a", 2.0), of("a", 2.0));
        assert_ne!(of("a", 2.0), of("b", 2.0));
        assert_ne!(of("a", 2.0), of("a", 2.5));
    }
}
