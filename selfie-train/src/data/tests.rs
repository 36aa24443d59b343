//! Pillow's pixels, for the tests: `xtask/golden/images.py` makes the file.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, safetensors::load};

use super::image8::Image8;

/// The tensors of the golden file, by name.
pub(super) struct Golden(BTreeMap<String, Tensor>);

impl Golden {
    pub(super) fn read() -> Self {
        Self::of("images")
    }

    /// The TIFF files of `xtask/golden/tiff.py`.
    pub(super) fn tiff() -> Self {
        Self::of("tiff")
    }

    fn of(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Self(load(path, &Device::Cpu).unwrap().into_iter().collect())
    }

    /// The names that begin with `kind` and a dot, without these.
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let names = self.0.keys().filter_map(|name| name.strip_prefix(kind)?.strip_prefix('.'));
        names.map(ToString::to_string).collect()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        self.0[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    pub(super) fn image(&self, name: &str) -> Image8 {
        let (height, width, _) = self.0[name].dims3().unwrap();
        Image8::new(width, height, self.bytes(name)).unwrap()
    }
}

/// Mean absolute difference of two images of one size, in steps of 8 bits.
pub(super) fn mean_difference(a: &Image8, b: &Image8) -> f64 {
    assert_eq!((a.width(), a.height(), a.channels()), (b.width(), b.height(), b.channels()));
    let sum: u64 = a.pixels().iter().zip(b.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.pixels().len() as f64
}
