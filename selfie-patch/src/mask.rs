//! Random masks: which cells of an image are to be predicted (targets) and which are seen
//! (context).
//!
//! Source: Selfie (arXiv 1906.02940), "Pretraining Details": some patches of the image go to the
//! encoder, all others to the decoder. Here every set of M targets is equally likely: the cells are
//! shuffled, the first M are the targets and all others the context, so K = N - M.
//!
//! Every mask comes from a stream of its own, derived from the seed and the image's number. Hence a
//! batch that is cut in pieces, or made by any number of threads, gets the same masks.

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::gather::check_cells;
use crate::{Error, MaskScope, Result};

/// The purposes of the random streams, so that none repeats another's numbers.
const PER_IMAGE: u64 = u64::from_le_bytes(*b"mask/img");
const PER_BATCH: u64 = u64::from_le_bytes(*b"mask/bat");

/// Most patches of an image: 4,096 a side. Every image of a batch takes memory for all of them.
const MAX_PATCHES: usize = 1 << 24;

/// The cells of B images, told apart. Both tensors hold cell numbers, in the order in which they
/// were drawn.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_patch::Mask;
///
/// let mask = Mask {
///     targets: Tensor::new(&[[2u32, 0]], &Device::Cpu)?,
///     context: Tensor::new(&[[3u32, 1]], &Device::Cpu)?,
/// };
/// assert_eq!(mask.as_grid(4)?.to_vec2::<u8>()?, [[1, 0, 1, 0]]);
/// # Ok::<(), selfie_patch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mask {
    /// The masked cells, to be predicted: (B, M) of `u32`.
    pub targets: Tensor,
    /// The visible cells: (B, K) of `u32`.
    pub context: Tensor,
}

impl Mask {
    /// The mask cell by cell, row by row from the top left: 1 means masked, 0 means visible.
    ///
    /// # Shapes
    /// (B, N) of `u8`, on the device of `targets`
    ///
    /// # Errors
    /// [`Error::Cell`] if a target is not below `num_patches`; [`Error::Shape`] if `targets` is not
    /// (B, M) of `u32`; [`Error::Config`] if there are more patches than an image can have.
    pub fn as_grid(&self, num_patches: usize) -> Result<Tensor> {
        let b = match *self.targets.dims() {
            [b, m] if b * m > 0 && self.targets.dtype() == DType::U32 => b,
            _ => {
                let expected = "[B, M] of u32, none of them 0";
                return Err(Error::shape("targets", expected, &self.targets));
            }
        };
        if num_patches > MAX_PATCHES {
            let reason = format!("{num_patches} patches, expected at most {MAX_PATCHES}");
            return Err(Error::config("num_patches", reason));
        }
        check_cells("targets", &self.targets, num_patches)?;
        let mut grid = vec![0u8; b * num_patches];
        let targets = self.targets.to_vec2::<u32>()?;
        for (row, cells) in grid.chunks_exact_mut(num_patches).zip(targets) {
            for cell in cells {
                row[cell as usize] = 1;
            }
        }
        let grid = Tensor::from_vec(grid, (b, num_patches), self.targets.device())?; // (B, N)
        Ok(grid)
    }
}

/// Draws masks: M of N cells, uniformly and without replacement.
///
/// ```
/// use candle_core::Device;
/// use selfie_patch::{MaskScope, MaskSampler};
///
/// let sampler = MaskSampler::new(49, 12, MaskScope::PerImage)?;
/// let mask = sampler.sample(0..8, 7, &Device::Cpu)?;
/// assert_eq!(mask.targets.dims(), [8, 12]);
/// assert_eq!(mask.context.dims(), [8, 37]);
/// # Ok::<(), selfie_patch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaskSampler {
    cells: Vec<u32>, // 0, 1, .., N - 1
    num_targets: usize,
    scope: MaskScope,
}

impl MaskSampler {
    /// A sampler of masks of `num_targets` (M) out of `num_patches` (N) cells.
    ///
    /// # Errors
    /// [`Error::Config`] unless M is at least 1 and below N, and N is at most 2^24.
    pub fn new(num_patches: usize, num_targets: usize, scope: MaskScope) -> Result<Self> {
        check_num_targets(num_targets, num_patches)?;
        if num_patches > MAX_PATCHES {
            let reason = format!("{num_patches} patches, expected at most {MAX_PATCHES}");
            return Err(Error::config("num_patches", reason));
        }
        Ok(MaskSampler { cells: (0..num_patches as u32).collect(), num_targets, scope })
    }

    /// The masks of the images with these numbers, in their order. What the numbers count (the
    /// images of a data set, the places in a batch) is the caller's choice: the mask of image `i`
    /// is a function of `(seed, i)` alone, and with [`MaskScope::PerBatch`] of `seed` alone.
    ///
    /// # Shapes
    /// targets (B, M) and context (B, K) of `u32`, where B is the number of `images` and K = N - M
    ///
    /// # Errors
    /// [`Error::Shape`] if `images` is empty.
    pub fn sample(&self, images: impl IntoIterator<Item = u64>, seed: u64, device: &Device) -> Result<Mask> {
        let (n, m) = (self.cells.len(), self.num_targets);
        let (mut targets, mut context) = (Vec::new(), Vec::new());
        for image in images {
            let shuffled = self.shuffled(image, seed);
            targets.extend_from_slice(&shuffled[..m]);
            context.extend_from_slice(&shuffled[m..]);
        }
        if targets.is_empty() {
            let (expected, got) = ("the number of at least 1 image".to_string(), "none".to_string());
            return Err(Error::Shape { what: "images", expected, got });
        }
        let b = targets.len() / m;
        Ok(Mask {
            targets: Tensor::from_vec(targets, (b, m), device)?,     // (B, M)
            context: Tensor::from_vec(context, (b, n - m), device)?, // (B, K)
        })
    }

    /// All N cells in the order drawn for one image.
    fn shuffled(&self, image: u64, seed: u64) -> Vec<u32> {
        let mut rng = match self.scope {
            MaskScope::PerImage => stream(seed, PER_IMAGE, image),
            MaskScope::PerBatch => stream(seed, PER_BATCH, 0),
        };
        let mut cells = self.cells.clone();
        cells.shuffle(&mut rng);
        cells
    }
}

/// Fails unless some patches are masked and some are visible.
pub(crate) fn check_num_targets(num_targets: usize, num_patches: usize) -> Result<()> {
    let most = num_patches.saturating_sub(1);
    if (1..=most).contains(&num_targets) {
        return Ok(());
    }
    let lack = match num_targets {
        0 => "target",
        _ => "context",
    };
    let way_out = match most {
        0 => "; cut the image into more patches".to_string(),
        most => format!(", expected 1 to {most}"),
    };
    let reason = format!("{num_targets} of {num_patches} patches leaves no {lack}{way_out}");
    Err(Error::config("num_targets", reason))
}

/// The random stream of one image, for one purpose.
fn stream(seed: u64, purpose: u64, image: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose, 0, image]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
