//! The two bottlenecks of ResNet-50: 1x1, 3x3, 1x1, around a shortcut.
//!
//! v1.5 (torchvision's `Bottleneck`): conv, norm, ReLU three times, the shortcut added before the last ReLU; the stride
//! is on the 3x3. v2 (timm's `PreActBottleneck`): norm, ReLU, conv three times, the shortcut added to the last
//! convolution's output; where a projection is needed it takes the activated input.

use crate::config::{Block, EncoderConfig};
use crate::layers::{BatchNorm, Conv, Mode};
use crate::ops;
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

/// One bottleneck with `mid` channels inside and 4·mid outside.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    pub convs: [Conv; 3],
    /// v1.5: behind each convolution; v2: before it.
    pub norms: [BatchNorm; 3],
    /// Projection of the shortcut; its norm in v1.5 only.
    pub downsample: Option<(Conv, Option<BatchNorm>)>,
    block: Block,
}

impl Bottleneck {
    pub(crate) fn new(config: &EncoderConfig, c_in: usize, mid: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let out = 4 * mid;
        let last = if config.zero_init_last { 0.0 } else { 1.0 };
        let project = stride != 1 || c_in != out;
        let convs = [
            Conv::new((c_in, mid), 1, 1, vb.pp("conv1"))?,
            Conv::new((mid, mid), 3, stride, vb.pp("conv2"))?,
            Conv::new((mid, out), 1, 1, vb.pp("conv3"))?,
        ];
        let (norms, downsample) = match config.block {
            Block::V1_5 => {
                let norm = |i: usize, channels, gamma| BatchNorm::new(channels, gamma, vb.pp(format!("bn{i}")));
                let norms = [norm(1, mid, 1.0)?, norm(2, mid, 1.0)?, norm(3, out, last)?];
                let vb = vb.pp("downsample");
                let projection = || Conv::new((c_in, out), 1, stride, vb.pp("0"));
                let norm = || BatchNorm::new(out, 1.0, vb.pp("1"));
                (norms, if project { Some((projection()?, Some(norm()?))) } else { None })
            }
            Block::V2 => {
                let norm = |i: usize, channels, gamma| BatchNorm::new(channels, gamma, vb.pp(format!("norm{i}")));
                let norms = [norm(1, c_in, 1.0)?, norm(2, mid, 1.0)?, norm(3, mid, last)?];
                let projection = || Conv::new((c_in, out), 1, stride, vb.pp("downsample").pp("conv"));
                (norms, if project { Some((projection()?, None)) } else { None })
            }
        };
        Ok(Self { convs, norms, downsample, block: config.block })
    }

    /// (B, H, W, C) -> (B, H', W', 4·mid).
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let [conv1, conv2, conv3] = &self.convs;
        let [norm1, norm2, norm3] = &self.norms;
        match self.block {
            Block::V1_5 => {
                let y = norm1.forward(&conv1.forward(x)?, mode, true)?; // (B, H, W, mid)
                let y = norm2.forward(&conv2.forward(&y)?, mode, true)?; // (B, H', W', mid)
                let y = norm3.forward(&conv3.forward(&y)?, mode, false)?; // (B, H', W', 4·mid)
                let shortcut = match &self.downsample {
                    Some((conv, Some(norm))) => norm.forward(&conv.forward(x)?, mode, false)?,
                    Some((conv, None)) => conv.forward(x)?,
                    None => x.clone(),
                };
                ops::add_relu(&y, &shortcut)
            }
            Block::V2 => {
                let active = norm1.forward(x, mode, true)?; // (B, H, W, C)
                let y = norm2.forward(&conv1.forward(&active)?, mode, true)?; // (B, H, W, mid)
                let y = norm3.forward(&conv2.forward(&y)?, mode, true)?; // (B, H', W', mid)
                let shortcut = match &self.downsample {
                    Some((conv, _)) => conv.forward(&active)?,
                    None => x.clone(),
                };
                conv3.forward(&y)? + shortcut // (B, H', W', 4·mid)
            }
        }
    }
}
