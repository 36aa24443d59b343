//! Single-precision numbers in JSON without digits that they do not have.

use serde_json::{Number, Value};

/// Writes every number of `value` that is a single-precision one in its shortest form that reads back to the same `f32`:
/// 0.485, where JSON would otherwise show 0.48500001430511475. Other numbers stay as they are.
///
/// ```
/// let mut value = serde_json::json!([0.485f32, 0.5, 0.1, 7]);
/// selfie_train::shorten_floats(&mut value);
/// assert_eq!(value.to_string(), "[0.485,0.5,0.1,7]");
/// ```
pub fn shorten_floats(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(shorten_floats),
        Value::Object(fields) => fields.values_mut().for_each(shorten_floats),
        Value::Number(number) if number.is_f64() => {
            if let Some(short) = number.as_f64().and_then(shortest).and_then(Number::from_f64) {
                *number = short;
            }
        }
        _ => {}
    }
}

/// The `f64` with the fewest digits that rounds to the `f32` that `wide` holds; `None` if `wide` is not a single-precision number.
fn shortest(wide: f64) -> Option<f64> {
    let single = wide as f32;
    let short: f64 = single.to_string().parse().ok()?;
    (f64::from(single) == wide && short as f32 == single).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_reads_back_to_the_same_number() {
        let mut bits = 0x9e37_79b9_u32;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            let single = f32::from_bits(bits);
            if single.is_finite() {
                let short = shortest(f64::from(single)).unwrap();
                assert_eq!(short as f32, single);
                assert!(short.to_string().len() <= f64::from(single).to_string().len(), "{single}");
            }
        }
        assert_eq!(shortest(0.1), None); // double precision, and meant so
        assert_eq!(shortest(f64::from(0.485f32)), Some(0.485));
    }
}
