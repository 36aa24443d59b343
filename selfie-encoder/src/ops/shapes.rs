//! Checks of the public functions' arguments, so that the kernels can rely on them.

use super::Statistics;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// Most floats of one image on either side of a convolution: the kernels' index lists hold offsets as `u32`.
const MAX_IMAGE_FLOATS: usize = u32::MAX as usize;

fn shape(what: &'static str, expected: impl Into<String>, got: &Tensor) -> Error {
    Error::Shape { what, expected: expected.into(), got: got.dims().to_vec() }
}

/// Checks that a tensor's elements are of type `expected`.
pub(crate) fn check_dtype(what: &'static str, tensor: &Tensor, expected: DType) -> Result<()> {
    match tensor.dtype() {
        got if got == expected => Ok(()),
        got => Err(Error::DType { what, expected: expected.as_str().to_owned(), got: got.as_str() }),
    }
}

/// Checks that a map is (B, H, W, C) of floats and not empty; returns its dimensions.
pub(super) fn check_map(what: &'static str, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
    if !x.dtype().is_float() {
        return Err(Error::DType { what, expected: "f32 or another float".into(), got: x.dtype().as_str() });
    }
    match *x.dims() {
        [b, h, w, c] if x.elem_count() > 0 => Ok((b, h, w, c)),
        _ => Err(shape(what, "(B, H, W, C), none of them 0", x)),
    }
}

/// Checks the arguments of [`super::conv2d`].
pub(super) fn check_conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<()> {
    let (b, height, width, c) = check_map("x", x)?;
    check_dtype("w", w, x.dtype())?;
    let (o, k) = match *w.dims() {
        [o, i, k, k2] if i == c && k == k2 && o * k > 0 => (o, k),
        _ => return Err(shape("w", format!("(O, {c}, k, k), O and k at least 1"), w)),
    };
    if stride == 0 {
        return Err(Error::Config { field: "stride", reason: "got 0, expected at least 1".into() });
    }
    let padded = |side: usize| padding.checked_mul(2)?.checked_add(side);
    let floats = |rows: usize, columns: usize, channels: usize| {
        rows.checked_mul(columns)?.checked_mul(channels).filter(|&floats| floats <= MAX_IMAGE_FLOATS)
    };
    let too_much = || Error::Config { field: "padding", reason: format!("got {padding}, more than memory can hold") };
    let (rows, columns) = padded(height).zip(padded(width)).ok_or_else(too_much)?;
    if rows.min(columns) < k {
        let expected = format!("at least {k} pixels a side, the kernel's, with padding {padding}");
        return Err(shape("x", expected, x));
    }
    let output = |side: usize| (side - k) / stride + 1;
    let sides = floats(rows, columns, c).zip(floats(output(rows), output(columns), o));
    let (input, output) = sides.ok_or_else(too_much)?;
    let bytes = input.max(output).checked_mul(b * x.dtype().size_in_bytes());
    bytes.filter(|&bytes| isize::try_from(bytes).is_ok()).map(|_| ()).ok_or_else(too_much)
}

/// Checks the arguments of [`super::batch_norm`].
pub(super) fn check_batch_norm(x: &Tensor, (gamma, beta): (&Tensor, &Tensor), statistics: Statistics) -> Result<()> {
    let (b, h, w, c) = check_map("x", x)?;
    let mut vectors = vec![("gamma", gamma), ("beta", beta)];
    match statistics {
        Statistics::Batch if b * h * w == 1 => {
            return Err(shape("x", "more than one value per channel, to take statistics from", x));
        }
        Statistics::Batch | Statistics::Shared(_) => {}
        Statistics::Running(mean, variance) => vectors.extend([("running mean", mean), ("running variance", variance)]),
    }
    for (what, vector) in vectors {
        check_dtype(what, vector, x.dtype())?;
        if vector.dims() != [c] {
            return Err(shape(what, format!("(C = {c})"), vector));
        }
    }
    Ok(())
}

/// Checks the rows that several processes share, when their number is known.
pub(crate) fn check_rows(count: usize) -> candle_core::Result<()> {
    if count < 2 {
        candle_core::bail!("batch norm: got {count} value per channel over all processes, expected more than one");
    }
    Ok(())
}
