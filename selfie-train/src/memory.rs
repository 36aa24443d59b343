//! How much memory a pretraining step takes on the CPU, said before the first step, and what fits where that is too much.
//!
//! Counted: the maps that the patch network keeps for its backward pass (a convolution's output each, a block's input each), those of
//! the pooling, parameters with gradients, moments and averages, the copy that a checkpoint is written from, and images on their way. The
//! factors were fitted to measured peaks; `tests/memory.rs` holds the estimate against the peak of a run.

use selfie_encoder::{Block, EncoderConfig, Stem};

use crate::config::{OptimName, RunConfig};
use crate::error::{Error, Result};
use crate::model::SelfieModel;
use crate::ranks::{Ranks, local_size};
use crate::store::ModelCount;

/// The program before it has a model.
const PROGRAM: f64 = 40e6;
/// Buffers, copies and gaps beyond what is counted.
const OVERHEAD: f64 = 1.12;
/// What single ops keep and copy beyond the fused trunk, which v2 blocks do not have.
const SINGLE_OPS: f64 = 3.0;
/// Share of the free memory that a run may plan with.
const USABLE: f64 = 0.95;
const FLOAT: f64 = 4.0;

/// Peak memory of a training step, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryEstimate {
    /// Whatever the micro-batch.
    pub fixed: f64,
    /// For each image of a micro-batch.
    pub per_image: f64,
}

impl MemoryEstimate {
    /// The estimate for pretraining by `config` with so many `parameters`.
    #[must_use]
    pub fn of(config: &RunConfig, parameters: usize) -> Self {
        let moments = match config.optim.name {
            OptimName::Sgd => 1.0,
            OptimName::Adam | OptimName::AdamW => 2.0,
        };
        let average = if config.run.ema_decay > 0.0 { 1.0 } else { 0.0 };
        let state = 1.0 + moments + average;

        let values = 2.0 * state + 2.0; // the state, its copy for a checkpoint, gradients
        let pixels = (config.encoder.in_channels * config.patch.image_size * config.patch.image_size) as f64;
        // The batch as floats; two more on their way, as bytes and floats.
        let images = config.run.batch_size as f64 * pixels * (FLOAT + 2.0 * (FLOAT + 1.0));
        let fixed = PROGRAM + FLOAT * values * parameters as f64 + images;
        Self { fixed, per_image: OVERHEAD * FLOAT * (trunk_floats(config) + pool_floats(config)) }
    }

    /// The peak with `images` at once, in bytes.
    #[must_use]
    pub fn peak(&self, images: usize) -> f64 {
        self.fixed + self.per_image * images as f64
    }

    /// Refuses a micro-batch that does not fit into `available` bytes.
    ///
    /// # Errors
    /// [`Error::Config`] with the micro-batch that would.
    pub fn check(&self, config: &RunConfig, available: Option<f64>) -> Result<()> {
        let micro = config.run.micro_batch();
        let Some(available) = available.filter(|available| self.peak(micro) > USABLE * available) else {
            return Ok(());
        };
        let fits = ((USABLE * available - self.fixed) / self.per_image).floor();
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        let (needed, free) = (gigabytes(self.peak(micro)), gigabytes(available));
        let met = format!("{micro} images at once need about {needed}, and {free} are free");
        if fits < 1.0 {
            let reason = format!("{met}; not even one image fits, expected a smaller encoder.width or run.batch_size");
            return Err(Error::config("run.batch_size", reason));
        }
        Err(Error::config(
            "run.micro_batch_size",
            format!("{met}; expected at most {fits} (--set run.micro_batch_size={fits})"),
        ))
    }
}

/// Refuses a model or a batch that does not fit into memory, before any of it is taken.
pub(crate) fn check_memory(config: &RunConfig, ranks: &Ranks) -> Result<()> {
    let count = ModelCount::default();
    SelfieModel::new(config, count.builder())?;
    // Ranks on one machine share its memory, and each has its part of the batch.
    let mut of_rank = config.clone();
    of_rank.run.batch_size = config.run.batch_size.div_ceil(ranks.size());
    let available = available_memory().map(|free| free / local_size() as f64);
    MemoryEstimate::of(&of_rank, count.parameters()).check(&of_rank, available)
}

/// Floats that the patch network holds for an image: what it keeps of each patch, and the largest block's while it works.
fn trunk_floats(config: &RunConfig) -> f64 {
    let EncoderConfig { width, depths, block, stem, .. } = &config.encoder;
    let (half, mut side) = (|side: usize| side.div_ceil(2), config.patch.patch_size);
    let mut kept = 0;
    if *stem == Stem::ImageNet {
        side = half(side);
        kept += side * side * width;
        side = half(side);
    } else {
        kept += side * side * width;
    }
    let (mut channels, mut largest) = (*width, 0);
    for (stage, &depth) in depths.iter().enumerate() {
        let inner = width << stage;
        for block in 0..depth {
            let out = if stage > 0 && block == 0 { half(side) } else { side };
            let projected = if block == 0 { out * out * 4 * inner } else { 0 };
            // The block's input and the outputs of its three convolutions, and of the shortcut's.
            let of_block = side * side * (channels + inner) + out * out * 5 * inner + projected;
            (kept, largest) = (kept + of_block, largest.max(of_block));
            (side, channels) = (out, 4 * inner);
        }
    }
    let patches = (config.patch.image_size / config.patch.patch_size).pow(2);
    let factor = if *block == Block::V2 { SINGLE_OPS } else { 1.0 };
    factor * (patches * (kept + largest + side * side * channels)) as f64
}

/// Floats that the pooling holds for an image.
fn pool_floats(config: &RunConfig) -> f64 {
    let d = config.encoder.embed_dim();
    let patches = (config.patch.image_size / config.patch.patch_size).pow(2);
    let tokens = patches - config.patch.num_targets + 1;
    let heads = if config.attnpool.num_heads == 0 { (d / 8).min(32) } else { config.attnpool.num_heads };
    let ffn = if config.attnpool.ffn_dim == 0 { 640 * d / 1024 } else { config.attnpool.ffn_dim };
    let layer = tokens * (10 * d + 3 * ffn) + 3 * heads * tokens * tokens;
    (config.attnpool.depth * layer + d * (4 * config.patch.num_targets + 3 * patches)) as f64
}

/// Memory that this process may still take, in bytes: the system's, or what its control group leaves; `None` where neither tells.
#[must_use]
pub fn available_memory() -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let system = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(1024.0 * line.split_whitespace().next()?.parse::<f64>().ok()?)
    });
    let number = |path: String| read(&path)?.trim().parse::<f64>().ok(); // "max" is no number
    let group = read("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let left = |file: &str| format!("/sys/fs/cgroup{}/{file}", path.trim_end_matches('/'));
    // What the group's files hold in the cache is given back when it is asked for.
    let cache = read(&left("memory.stat"))
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse::<f64>().ok());
    let used = number(left("memory.current")).map(|used| used - cache.unwrap_or(0.0));
    let group = number(left("memory.max")).zip(used).map(|(most, used)| most - used);
    let texts = read("/proc/self/limits").zip(read("/proc/self/status"));
    let limit = texts.and_then(|(limits, status)| address_space_left(&limits, &status));
    [system, group, limit].into_iter().flatten().reduce(f64::min)
}

/// Bytes of address space that `ulimit -v` leaves to this process, by the system's texts; `None` without a limit.
fn address_space_left(limits: &str, status: &str) -> Option<f64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: f64 = limit.split_whitespace().next()?.parse().ok()?; // "unlimited" is not a number
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let used: f64 = used.split_whitespace().next()?.parse().ok()?;
    Some((limit - 1024.0 * used).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let mut config = RunConfig::preset("cifar10").unwrap();
        (config.run.batch_size, config.run.micro_batch_size) = (512, 0);
        let estimate = MemoryEstimate { fixed: 1e9, per_image: 30e6 };
        let message = estimate.check(&config, Some(8e9)).unwrap_err().to_string();
        // 0.95 * 8 GB - 1 GB = 6.6 GB, 220 images of 30 MB.
        assert!(message.starts_with("run.micro_batch_size: 512 images at once need about 16.4 GB"), "{message}");
        assert!(message.contains("8.0 GB are free") && message.ends_with("run.micro_batch_size=220)"), "{message}");
        config.run.micro_batch_size = 220;
        estimate.check(&config, Some(8e9)).unwrap(); // 512 in three parts of 171
        estimate.check(&config, None).unwrap();
        let message = estimate.check(&config, Some(1e9)).unwrap_err().to_string();
        assert!(message.contains("not even one image"), "{message}");
    }

    #[test]
    fn a_limit_on_the_address_space_counts() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max cpu time              unlimited            unlimited            seconds   \n\
                      Max address space         2048000000           2048000000           bytes     \n";
        let status = "VmPeak:\t  900000 kB\nVmSize:\t  500000 kB\n";
        assert_eq!(address_space_left(limits, status), Some(2_048_000_000.0 - 512_000_000.0));
        assert_eq!(address_space_left(&limits.replace("2048000000", "unlimited "), status), None);
    }

    #[test]
    fn the_estimate_grows_with_width_and_resolution() {
        let of = |preset: &str| MemoryEstimate::of(&RunConfig::preset(preset).unwrap(), 1).per_image;
        assert!(of("quick") * 3.0 < of("cifar10") && of("cifar10") * 2.0 < of("imagenet224"));
    }
}
