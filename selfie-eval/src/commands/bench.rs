//! `selfie bench`: measures speed.

mod loader;

use std::path::{Path, PathBuf};

use selfie_eval::{CONTESTS, Error, KernelReport, Peers, Result, Standing, StepBench, StepReport, kernels};
use selfie_train::DeviceChoice;

use super::pools;
use super::screen::Screen;

/// Measure speed: a training step, the loader, the kernels, and both programs against PyTorch
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Step(StepOptions),
    Loader(loader::LoaderOptions),
    Kernels(KernelOptions),
    Peer(PeerOptions),
}

/// Time the encoder's kernels against Candle's own ops, forward and backward
#[derive(clap::Args)]
struct KernelOptions {
    /// Patches at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    images: usize,
    /// Threads that compute; 0 = one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

/// Run a training step here and in PyTorch, in turns, and print the ratios
///
/// Needs a Python with torch (`python3 -m venv V && V/bin/pip install torch numpy safetensors`, 5 GB) and a machine
/// with nothing else to do.
#[derive(clap::Args)]
struct PeerOptions {
    /// A Python that has torch
    #[arg(long, value_name = "FILE")]
    python: PathBuf,
    /// The program in PyTorch
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/peer/selfie_torch.py"))]
    script: PathBuf,
    /// Rounds of each step
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Threads of both
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
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
    /// Leave out what the step's matrix products alone would take, which is measured for as long again
    #[arg(long)]
    no_limit: bool,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Step(options) => step(options),
        What::Loader(options) => loader::run(options),
        What::Kernels(options) => time_kernels(options),
        What::Peer(options) => meet_peer(options),
    }
}

fn time_kernels(options: &KernelOptions) -> Result<()> {
    pools::ensure(options.threads)?;
    let screen = Screen::new(options.json, options.json);
    let line = |k: &KernelReport| {
        let candle = k.candle_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let rate = k.gflops.map_or_else(String::new, |rate| format!("{rate:.0} GFLOP/s"));
        format!("{:34} {:9.2} ms   Candle {candle:>9} ms   {rate}", k.op, k.ours_ms)
    };
    let all = kernels(options.images.max(1), &candle_core::Device::Cpu, |report| {
        let _ = screen.result(line(report)); // the JSON below tells again
    })?;
    screen.json(&serde_json::json!({ "images": options.images, "kernels": all }))
}

fn meet_peer(options: &PeerOptions) -> Result<()> {
    for file in [&options.python, &options.script] {
        if !file.is_file() {
            return Err(Error::config("bench peer", format!("met {}, expected a file", file.display())));
        }
    }
    let ours = std::env::current_exe().map_err(Error::io("the program itself"))?;
    let PeerOptions { python, script, rounds, threads, json } = options;
    let (python, script): (&Path, &Path) = (python, script);
    let peers = Peers { ours: &ours, python, script, threads: *threads, rounds: (*rounds).max(1) };
    // With --json too each line is told as it is known, on stderr: what ended is not lost with an interrupted rest.
    let screen = Screen::new(*json, false);
    let progress = screen.progress((CONTESTS.len() + 1) * peers.rounds, "rounds");
    screen.result("step                            ours img/s   PyTorch   ratio (goal)   MB ours / PyTorch")?;
    let mut standings = Vec::new();
    for contest in &CONTESTS {
        let standing = peers.meet(contest, &|| progress.add())?;
        progress.suspend(|| screen.result(standing_line(&standing)))?;
        standings.push(standing);
    }
    let scaling = peers.two_threads_against_one(&|| progress.add())?;
    progress.finish();
    screen.result(format!("two threads against one {scaling:.2} (1.7)"))?;
    screen.json(&serde_json::json!({ "standings": standings, "two_threads_against_one": scaling }))
}

fn standing_line(standing: &Standing) -> String {
    let Standing { title, ours, theirs, ratio, goal, our_mb, their_mb } = standing;
    let memory = format!("{our_mb:.0} / {their_mb:.0} ({:.2})", our_mb / their_mb);
    format!("{title:30} {ours:11.2} {theirs:9.2}   {ratio:5.2} ({goal:.1})    {memory}")
}

fn step(options: &StepOptions) -> Result<()> {
    let bench = StepBench {
        task: options.task.parse()?,
        image_size: options.image_size,
        patch_size: options.patch_size,
        width: options.width,
        batch_size: options.batch_size,
        steps: options.steps,
        warmup: options.warmup,
        seed: options.seed,
        limit: !options.no_limit,
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
    let limit = report.gemm_limit_images_per_second.map_or_else(String::new, |limit| {
        format!("\nlimit      {limit:.2} images/s if a step were its matrix products through gemm and nothing else")
    });
    format!(
        "step       width {width}, {batch_size} images of {image_size}x{image_size}, {threads} threads, {parameters} \
         values\n\
         speed      {:.2} images/s (median step), {:.2} at best\n\
         parts      forward {:.1} ms, backward {:.1} ms, optimiser {:.1} ms (medians)\n\
         steps      {step_ms:?} ms\n\
         memory     {memory} at most{limit}",
        report.images_per_second,
        report.best_images_per_second,
        report.forward_ms,
        report.backward_ms,
        report.optimiser_ms,
    )
}
