//! The matrix products inside a trunk, as sizes: what a step's arithmetic cannot go below.

use crate::Trunk;
use crate::layers::Conv;
use crate::ops::taps::Geometry;
use candle_core::Result;

/// Longest side of an image whose products are counted, in pixels.
const MAX_SIDE: usize = 65_535;

/// Most images whose products are counted.
const MAX_IMAGES: usize = 1 << 32;

/// A product (rows, inner) x (inner, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductSize {
    /// Pixels of the result, over all images.
    pub rows: usize,
    /// Inputs that meet a pixel, on average: kernel taps that fall outside the map do not count.
    pub inner: usize,
    /// Channels of the result.
    pub columns: usize,
}

impl ProductSize {
    fn of(conv: &Conv, images: usize, side: &mut (usize, usize)) -> Result<Self> {
        let (o, c, kernel, _) = conv.weight.dims4()?;
        let g = Geometry { channels: (c, o), kernel, stride: conv.stride, padding: conv.padding, input: *side };
        *side = g.output();
        let (taps, pixels) = (g.taps_inside(), side.0 * side.1);
        Ok(Self { rows: images * pixels, inner: (taps * c).div_ceil(pixels), columns: o })
    }
}

impl Trunk {
    /// The products of a forward pass over `images` images of (height, width), one a convolution. A backward pass has
    /// each twice more: once for the input's gradient (not for the image's own), once for the weights'.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use selfie_encoder::{EncoderConfig, ProductSize, Trunk};
    ///
    /// let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let products = Trunk::new(&EncoderConfig::cifar10(), vb)?.products(16, (8, 8))?;
    /// assert_eq!(products.len(), 1 + 13 * 3 + 3);
    /// assert_eq!(products[1], ProductSize { rows: 1024, inner: 64, columns: 64 }); // layer1.0.conv1
    /// # Ok::<(), selfie_encoder::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `images` or a side is 0, a side is longer than 65,535, or there are more than 2^32 images.
    pub fn products(&self, images: usize, size: (usize, usize)) -> crate::Result<Vec<ProductSize>> {
        let sides = 1..=MAX_SIDE;
        if !(sides.contains(&size.0) && sides.contains(&size.1) && (1..=MAX_IMAGES).contains(&images)) {
            let expected = format!("(B, H, W), B from 1 to {MAX_IMAGES}, H and W from 1 to {MAX_SIDE}");
            return Err(crate::Error::Shape { what: "image", expected, got: vec![images, size.0, size.1] });
        }
        let mut side = size;
        let mut all = vec![ProductSize::of(self.stem(), images, &mut side)?];
        if self.pools() {
            side = (side.0.div_ceil(2), side.1.div_ceil(2));
        }
        for block in self.blocks() {
            let mut before = side;
            for conv in &block.convs {
                all.push(ProductSize::of(conv, images, &mut side)?);
            }
            if let Some((conv, _)) = &block.downsample {
                all.push(ProductSize::of(conv, images, &mut before)?);
            }
        }
        Ok(all)
    }
}
