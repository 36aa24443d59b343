//! `selfie bench`: measures speed.

use selfie_eval::{Result, StepBench, StepReport};
use selfie_train::DeviceChoice;

use super::pools;
use super::screen::Screen;

/// Measure speed; `bench step` times a full training step
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Step(StepOptions),
}

/// Time a full training step: forward, backward and AdamW on fresh random images and masks
///
/// Patches of more than 16 pixels take the pooled stem, grids wider than 4 row + column positions. The speed is that
/// of the median step.
#[derive(clap::Args)]
struct StepOptions {
    /// Which step: pretrain (masked patches) or finetune (the full ResNet, 10 classes)
    #[arg(long, value_name = "TASK", default_value = "pretrain")]
    task: String,
    /// Side of the images in pixels
    #[arg(long, value_name = "N", default_value_t = 32)]
    image_size: usize,
    /// Side of the patches in pixels
    #[arg(long, value_name = "N", default_value_t = 8)]
    patch_size: usize,
    /// Channels of the stem (64 in a ResNet-50)
    #[arg(long, value_name = "N", default_value_t = 64)]
    width: usize,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,
    /// Steps that count
    #[arg(long, value_name = "N", default_value_t = 6)]
    steps: usize,
    /// Steps before them
    #[arg(long, value_name = "N", default_value_t = 2)]
    warmup: usize,
    /// Threads that compute; 0 = one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Seed of images, masks and weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let What::Step(options) = &options.what;
    let bench = StepBench {
        task: options.task.parse()?,
        image_size: options.image_size,
        patch_size: options.patch_size,
        width: options.width,
        batch_size: options.batch_size,
        steps: options.steps,
        warmup: options.warmup,
        seed: options.seed,
    };
    bench.config()?;
    pools::ensure(options.threads)?;
    let device = options.device.parse::<DeviceChoice>()?.select()?;
    let report = bench.run(&device)?;
    let screen = Screen::new(options.json, options.json);
    screen.result(words(&report))?;
    screen.json(&report)
}

fn words(report: &StepReport) -> String {
    let StepReport { width, batch_size, image_size, threads, parameters, step_ms, .. } = report;
    let memory = report.peak_rss_mb.map_or_else(|| "unknown".to_owned(), |memory| format!("{memory} MB"));
    format!(
        "step       width {width}, {batch_size} images of {image_size}x{image_size}, {threads} threads, {parameters} \
         values\n\
         speed      {:.2} images/s (median step), {:.2} at best\n\
         parts      forward {:.1} ms, backward {:.1} ms, optimiser {:.1} ms (medians)\n\
         steps      {step_ms:?} ms\n\
         memory     {memory} at most\n\
         limit      {:.2} images/s if a step were its matrix products through gemm and nothing else",
        report.images_per_second,
        report.best_images_per_second,
        report.forward_ms,
        report.backward_ms,
        report.optimiser_ms,
        report.gemm_limit_images_per_second
    )
}
