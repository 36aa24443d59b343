//! The trunk: stem, stages, mean pool. With three stages it is the paper's patch network P, with four the body of the
//! fine-tuned ResNet.
//!
//! Deep Residual Learning (He et al. 2015) in torchvision's form; names of the variables are torchvision's (`conv1`,
//! `bn1`, `layer1.0.conv1`, `layer1.0.downsample.0`, ...) for v1.5 blocks and timm's `resnetv2` names (`stem.conv`,
//! `stages.0.blocks.0.norm1`, ..., `norm`) for v2. Inside, maps are channels-last.

use crate::bottleneck::Bottleneck;
use crate::config::{Block, EncoderConfig, Stem};
use crate::fused;
use crate::layers::{BatchNorm, Conv, Mode};
use crate::reduction::Reduction;
use crate::{Error, Result, ops};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use std::sync::Arc;

/// Images or patches (B, C, H, W) to embeddings (B, D).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use selfie_encoder::{EncoderConfig, Mode, Trunk};
///
/// let variables = VarMap::new();
/// let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let config = EncoderConfig { width: 8, ..EncoderConfig::cifar10() };
/// let trunk = Trunk::new(&config, vb)?;
/// let patches = Tensor::zeros((6, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(trunk.forward(&patches, Mode::Eval)?.dims(), [6, 128]);
/// # Ok::<(), selfie_encoder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trunk {
    config: EncoderConfig,
    stem: Conv,
    /// Behind the stem; v1.5 only.
    stem_norm: Option<BatchNorm>,
    stages: Vec<Vec<Bottleneck>>,
    /// Behind the last stage; v2 only.
    final_norm: Option<BatchNorm>,
    /// Stages, counted from the first, that are not trained.
    frozen_stages: usize,
}

impl Trunk {
    /// Takes its variables from `vb`, in the order of the forward pass.
    ///
    /// # Errors
    /// [`Error::Config`] for an unusable configuration; Candle's errors where `vb` lacks a variable or has another
    /// shape.
    pub fn new(config: &EncoderConfig, vb: VarBuilder) -> Result<Self> {
        config.validate()?;
        let v2 = config.block == Block::V2;
        let kernel = match config.stem {
            Stem::Small => (3, 1),
            Stem::ImageNet => (7, 2),
        };
        let stem = Conv::new(
            (config.in_channels, config.width),
            kernel.0,
            kernel.1,
            if v2 { vb.pp("stem").pp("conv") } else { vb.pp("conv1") },
        )?;
        let stem_norm = if v2 { None } else { Some(BatchNorm::new(config.width, 1.0, vb.pp("bn1"))?) };
        let mut c_in = config.width;
        let mut stages = Vec::with_capacity(config.depths.len());
        for (s, &depth) in config.depths.iter().enumerate() {
            let vb = if v2 { vb.pp("stages").pp(s).pp("blocks") } else { vb.pp(format!("layer{}", s + 1)) };
            let mut blocks = Vec::with_capacity(depth);
            for b in 0..depth {
                let stride = if s > 0 && b == 0 { 2 } else { 1 };
                blocks.push(Bottleneck::new(config, c_in, config.width << s, stride, vb.pp(b))?);
                c_in = config.stage_channels(s);
            }
            stages.push(blocks);
        }
        let final_norm = if v2 { Some(BatchNorm::new(c_in, 1.0, vb.pp("norm"))?) } else { None };
        Ok(Self { config: config.clone(), stem, stem_norm, stages, final_norm, frozen_stages: 0 })
    }

    /// The same trunk whose stem and first `stages` stages are not trained: their parameters get no gradient, and their
    /// norms use the running statistics, and leave them alone, in either mode. 0 trains everything.
    ///
    /// # Errors
    /// [`Error::Config`] for more stages than there are.
    pub fn with_frozen_stages(mut self, stages: usize) -> Result<Self> {
        let most = self.stages.len();
        if stages > most {
            let reason = format!("{stages} given, expected 0 to {most}");
            return Err(Error::Config { field: "frozen stages", reason });
        }
        self.frozen_stages = stages;
        Ok(self)
    }

    /// The same trunk with the products of its convolutions in bf16: factors rounded, everything between them in f32, parameters and
    /// norms too. It runs by single ops; on the CPU the products are emulated, which is slower than f32.
    pub fn with_bf16_products(mut self) -> Self {
        let blocks = self.stages.iter_mut().flatten();
        let inner =
            blocks.flat_map(|block| block.convs.iter_mut().chain(block.downsample.as_mut().map(|(conv, _)| conv)));
        for conv in std::iter::once(&mut self.stem).chain(inner) {
            conv.bf16 = true;
        }
        self
    }

    /// The same trunk whose norms go by the statistics of the batch that several processes share, in training.
    pub fn with_shared_norms(mut self, reduction: Arc<dyn Reduction>) -> Self {
        let blocks = self.stages.iter_mut().flatten();
        let inner = blocks.flat_map(|block| {
            let of_shortcut = block.downsample.as_mut().and_then(|(_, norm)| norm.as_mut());
            block.norms.iter_mut().chain(of_shortcut)
        });
        for norm in self.stem_norm.iter_mut().chain(inner).chain(&mut self.final_norm) {
            norm.shared = Some(Arc::clone(&reduction));
        }
        self
    }

    /// The configuration that it was made from.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Width of the embedding, D.
    pub fn embed_dim(&self) -> usize {
        self.config.embed_dim()
    }

    pub(crate) fn stem(&self) -> &Conv {
        &self.stem
    }

    /// Whether the stem ends in a max-pool.
    pub(crate) fn pools(&self) -> bool {
        self.config.stem == Stem::ImageNet
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Bottleneck> {
        self.stages.iter().flatten()
    }

    /// (B, C, H, W) -> (B, D): the last stage's map, averaged over its pixels.
    ///
    /// On the CPU in f32 a v1.5 trunk runs as one op on this crate's kernels. The gradient then reaches every
    /// parameter but not the image; a tracked image takes the slower way through single ops.
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or number of channels, and in training if the last stage's map has one value per channel over
    /// the whole batch, which batch norm cannot normalize; [`Error::DType`] for another element type than the parameters'.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check(x, mode)?;
        if let Some(norm) = self.stem_norm.as_ref().filter(|_| ops::on_cpu(x) && !x.track_op() && !self.stem.bf16) {
            let stem = (&self.stem, norm, self.config.stem);
            return Ok(fused::forward(stem, &self.stages, self.frozen_stages, x, mode)?);
        }
        self.forward_by_ops(x, mode)
    }

    /// Checks that `x` is a batch of images for this network.
    fn check(&self, x: &Tensor, mode: Mode) -> Result<()> {
        let channels = self.config.in_channels;
        let (b, size) = match *x.dims() {
            [b, c, h, w] if c == channels && b * h * w > 0 => (b, (h, w)),
            ref other => {
                let expected = format!("(B, {channels}, H, W), none of them empty");
                return Err(Error::Shape { what: "image", expected, got: other.to_vec() });
            }
        };
        ops::shapes::check_dtype("image", x, self.stem.weight.dtype())?;
        let batch_statistics = mode == Mode::Train && self.frozen_stages < self.stages.len();
        if batch_statistics && self.norms_share().is_none() && b == 1 && self.last_map(size) == (1, 1) {
            let expected =
                "several images, or larger ones: one value per channel cannot be normalized in training".to_owned();
            return Err(Error::Shape { what: "image", expected, got: x.dims().to_vec() });
        }
        Ok(())
    }

    /// What sums the norms' statistics over processes, if they are shared.
    fn norms_share(&self) -> Option<&Arc<dyn Reduction>> {
        let norm = self.stages.last().and_then(|stage| stage.last()).map(|block| &block.norms[2]);
        norm.and_then(|norm| norm.shared.as_ref())
    }

    /// Height and width of the last stage's map of an image of (height, width).
    fn last_map(&self, size: (usize, usize)) -> (usize, usize) {
        let halvings = self.stages.len() - 1 + if self.pools() { 2 } else { 0 };
        let halve = |side: usize| (0..halvings).fold(side, |side, _| side.div_ceil(2));
        (halve(size.0), halve(size.1))
    }

    /// The same by single ops: any device and type, both kinds of block.
    pub(crate) fn forward_by_ops(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.watched(x, mode, |_, x| Ok(x))
    }

    /// The largest absolute value in the output of the stem and of every block, with the layer's name, in the order of the
    /// forward pass; NaN where there is one. To find out where a loss that is not finite comes from.
    ///
    /// # Errors
    /// As [`Trunk::forward`].
    pub fn activations(&self, x: &Tensor, mode: Mode) -> Result<Vec<(String, f32)>> {
        self.check(x, mode)?;
        let mut found = Vec::new();
        self.watched(x, mode, |layer, x| {
            let values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let larger = |most: f32, v: &f32| if v.is_nan() || v.abs() > most { v.abs() } else { most };
            found.push((layer, values.iter().fold(0.0, larger)));
            Ok(x.detach()) // nothing is kept for a backward pass
        })?;
        Ok(found)
    }

    /// The forward pass by single ops; `watch` is handed the output of each layer with its name, and gives it back.
    fn watched(
        &self,
        x: &Tensor,
        mode: Mode,
        mut watch: impl FnMut(String, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let of_stage = |s: usize| if s < self.frozen_stages { Mode::Eval } else { mode };
        let mut x = self.stem.forward(&x.permute((0, 2, 3, 1))?.contiguous()?)?; // (B, H, W, width)
        if let Some(norm) = &self.stem_norm {
            x = norm.forward(&x, of_stage(0), true)?;
        }
        if self.pools() {
            x = ops::pool_max(&x)?; // (B, H/4, W/4, width)
        }
        x = watch("stem".to_owned(), x)?;
        for (s, stage) in self.stages.iter().enumerate() {
            for (b, block) in stage.iter().enumerate() {
                x = watch(format!("layer{}.{b}", s + 1), block.forward(&x, of_stage(s))?)?;
            }
            if s + 1 == self.frozen_stages {
                x = x.detach();
            }
        }
        if let Some(norm) = &self.final_norm {
            // It belongs to the last stage.
            x = norm.forward(&x, of_stage(self.stages.len() - 1), true)?;
        }
        let embeddings = ops::mean_pool(&x)?; // (B, D)
        Ok(if self.frozen_stages == self.stages.len() { embeddings.detach() } else { embeddings })
    }
}
