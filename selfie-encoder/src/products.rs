//! The matrix products inside a trunk, as sizes: what a step's arithmetic cannot go below.

use crate::Trunk;
use crate::layers::Conv;
use crate::ops::taps::Geometry;
use candle_core::Result;

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
        let taps: usize = g.pairs(0..side.0, 0).iter().map(Vec::len).sum();
        let pixels = side.0 * side.1;
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
    /// None for a trunk that [`Trunk::new`] has made.
    pub fn products(&self, images: usize, size: (usize, usize)) -> crate::Result<Vec<ProductSize>> {
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
