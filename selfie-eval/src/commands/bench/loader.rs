//! `selfie bench loader`: how fast images become batches.

use selfie_eval::{Error, LoaderBench, LoaderReport, Result};
use selfie_train::Augment;

use super::super::pools;
use super::super::screen::Screen;

/// Time the loader alone: files to normalised batches of floats
///
/// A random part of every image, resized, flipped every second time and normalised, as in pretraining. The speed is that of
/// the median epoch, after one that warms the caches.
#[derive(clap::Args)]
pub(super) struct LoaderOptions {
    /// The images: a folder, or any other --data
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Side of the images that come out, in pixels
    #[arg(long, value_name = "N", default_value_t = 224)]
    image_size: usize,
    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Threads that load
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Epochs that count
    #[arg(long, value_name = "N", default_value_t = 3)]
    epochs: usize,
    /// Random changes: random-resized-crop, padded-crop, flip or none
    #[arg(long, value_name = "NAME", default_value = "random-resized-crop")]
    augment: String,
    /// Seed of order and augmentation
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &LoaderOptions) -> Result<()> {
    let bench = LoaderBench {
        data: options.data.clone(),
        augment: augment(&options.augment)?,
        image_size: options.image_size,
        batch_size: options.batch_size,
        workers: options.workers,
        epochs: options.epochs,
        seed: options.seed,
    };
    pools::ensure(0)?;
    let report = bench.run()?;
    let screen = Screen::new(options.json, options.json).describing_data();
    screen.result(words(&report))?;
    screen.json(&report)
}

fn augment(name: &str) -> Result<Augment> {
    let all = [Augment::RandomResizedCrop, Augment::PaddedCrop, Augment::Flip, Augment::None];
    let found = all.into_iter().find(|augment| augment.name() == name);
    found.ok_or_else(|| {
        let names = all.map(Augment::name).join(", ");
        Error::config("--augment", format!("met `{name}`, expected one of {names}"))
    })
}

fn words(report: &LoaderReport) -> String {
    let LoaderReport { images, data, image_size, batch_size, workers, bytes, .. } = report;
    let memory = report.peak_rss_mb.map_or_else(|| "unknown".to_owned(), |memory| format!("{memory} MB"));
    format!(
        "data       {data}, {images} images, {:.1} MB of floats an epoch\n\
         batches    {batch_size} images of {image_size}x{image_size}, {workers} threads\n\
         speed      {:.1} images/s (median epoch), epochs {:?}\n\
         memory     {memory} at most",
        *bytes as f64 / 1e6,
        report.images_per_second,
        report.epochs
    )
}
