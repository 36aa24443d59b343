//! `selfie data`: checks images, measures them, brings them here.

use std::io::IsTerminal;

use selfie_eval::{Error, Result, Stats, Verified, split_name, stats, verify};
use selfie_train::{BadImages, DataConfig, Dataset, OnBadImage, Recognized, Split, fetch_data};
use serde::Serialize;

use super::screen::Screen;

/// Share of the images that may be unreadable by default.
const MAX_BAD: f64 = 0.05;
/// Bad images that are shown; --json tells all.
const SHOWN: usize = 20;

/// Look at images before a run does: data verify, data stats, data fetch
#[derive(clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Decode every image and list those that cannot be read, with the reason; exit status 1 if there are too many
    Verify(Verify),
    /// Mean and deviation per channel, and how the images are labelled
    Stats(StatsOptions),
    /// Bring the data here (hf:OWNER/NAME is downloaded, or brought up to date) and index them
    Fetch(Source),
}

#[derive(clap::Args)]
struct Source {
    /// Images: sample, a path (what it holds is recognised), or folder:DIR, list:FILE, cifar10:DIR, imagenet32:DIR,
    /// mnist:DIR, fashion-mnist:DIR, parquet:GLOB, tar:GLOB, hf:OWNER/NAME
    #[arg(long, value_name = "DATA")]
    data: String,
    /// No progress
    #[arg(long)]
    quiet: bool,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    source: Source,
    /// Only this split: train or test [default: both]
    #[arg(long, value_name = "SPLIT", value_parser = ["train", "test"])]
    split: Option<String>,
    /// Threads that decode [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Largest share of all images that may be unreadable, as data.max_bad_images of a run
    #[arg(long, value_name = "SHARE", default_value_t = MAX_BAD)]
    max_bad_images: f64,
}

#[derive(clap::Args)]
struct StatsOptions {
    #[command(flatten)]
    source: Source,
    /// Only this split: train or test [default: both]
    #[arg(long, value_name = "SPLIT", value_parser = ["train", "test"])]
    split: Option<String>,
    /// Images to measure, evenly spaced [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// What to do about an image that cannot be read: skip or fail; more than 5 % of them are too many
    #[arg(long, value_name = "skip|fail", default_value = "skip", value_parser = ["skip", "fail"])]
    on_bad_image: String,
}

/// The JSON line of `verify` and `stats`.
#[derive(Serialize)]
struct Report<'a, T> {
    data: &'a str,
    recognized: Option<Recognized>,
    splits: Vec<T>,
}

/// The JSON line of `fetch`.
#[derive(Serialize)]
struct Fetched<'a> {
    data: &'a str,
    downloaded_to: Option<String>,
    bytes: Option<u64>,
    train_images: usize,
    test_images: usize,
    classes: usize,
}

pub fn run(options: &Options) -> Result<()> {
    match &options.command {
        Command::Verify(options) => run_verify(options),
        Command::Stats(options) => run_stats(options),
        Command::Fetch(options) => run_fetch(options),
    }
}

impl Source {
    fn screen(&self) -> Screen {
        Screen::new(self.json, self.quiet).describing_data()
    }

    /// The splits that are there, of those wanted.
    fn open(&self, only: Option<&str>) -> Result<Vec<(Split, Dataset)>> {
        let config = DataConfig { source: self.data.clone(), ..Default::default() };
        Ok(match only {
            Some("train") => vec![(Split::Train, config.open(Split::Train)?)],
            Some(_) => vec![(Split::Test, config.open(Split::Test)?)],
            None => config.open_all()?,
        })
    }
}

fn run_verify(options: &Verify) -> Result<()> {
    if !(0.0..=1.0).contains(&options.max_bad_images) {
        let reason = format!("got {}, expected a share from 0 to 1", options.max_bad_images);
        return Err(Error::config("--max-bad-images", reason));
    }
    let screen = options.source.screen();
    let opened = options.source.open(options.split.as_deref())?;
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = options.threads.map_or_else(cores, usize::from);
    let mut splits = Vec::new();
    for (split, data) in &opened {
        let progress = screen.progress(data.len(), split_name(*split));
        let found = verify(data, *split, threads, &|| progress.add())?;
        progress.finish();
        screen.result(verified(&found, &options.source.data))?;
        splits.push(found);
    }
    let recognized = opened.first().map(|(_, data)| data.recognized().clone());
    let (bad, images) = splits.iter().fold((0, 0), |sum, split| (sum.0 + split.bad.len(), sum.1 + split.images));
    screen.json(&Report { data: &options.source.data, recognized, splits })?;
    if bad as f64 <= options.max_bad_images * images as f64 {
        return Ok(());
    }
    Err(Error::BadImages { data: options.source.data.clone(), bad, images })
}

fn run_stats(options: &StatsOptions) -> Result<()> {
    let screen = options.source.screen();
    let policy = if options.on_bad_image == "fail" { OnBadImage::Fail } else { OnBadImage::Skip };
    let most = options.images.map_or(usize::MAX, |images| images as usize);
    let mut splits = Vec::new();
    // The share of bad images is judged over all splits.
    let bad = BadImages::new(policy, MAX_BAD);
    let opened = options.source.open(options.split.as_deref())?;
    let recognized = opened.first().map(|(_, data)| data.recognized().clone());
    let opened: Vec<_> = opened.into_iter().map(|(split, data)| (split, data.with_bad_images(&bad))).collect();
    for (split, data) in opened {
        let progress = screen.progress(most.min(data.len()), split_name(split));
        let found = stats(&data, split, most, &|| progress.add())?;
        progress.finish();
        screen.result(measured(&found, &options.source.data))?;
        splits.push(found);
    }
    screen.json(&Report { data: &options.source.data, recognized, splits })
}

fn run_fetch(options: &Source) -> Result<()> {
    let screen = options.screen();
    if !options.quiet && !std::io::stderr().is_terminal() {
        super::screen::complain(format!("fetching {}", options.data));
    }
    let fetched = fetch_data(&options.data)?;
    let opened = options.open(None)?;
    let images = |wanted: Split| opened.iter().find(|(split, _)| *split == wanted).map_or(0, |(_, data)| data.len());
    let report = Fetched {
        data: &options.data,
        downloaded_to: fetched.as_ref().map(|(folder, _)| folder.display().to_string()),
        bytes: fetched.as_ref().map(|(_, bytes)| *bytes),
        train_images: images(Split::Train),
        test_images: images(Split::Test),
        classes: opened.first().map_or(0, |(_, data)| data.classes().len()),
    };
    match (&report.downloaded_to, report.bytes) {
        (Some(folder), Some(bytes)) => {
            screen.result(format!("fetched    {} ({:.1} MB) in {folder}", options.data, bytes as f64 / 1e6))?;
        }
        _ => screen.result(format!("fetched    nothing: {} is on this machine", options.data))?,
    }
    screen.result(format!(
        "images     {} to train on, {} to test on, {} classes",
        report.train_images, report.test_images, report.classes
    ))?;
    screen.json(&report)
}

fn verified(found: &Verified, data: &str) -> String {
    let Verified { split, images, readable, bad, sizes, labels } = found;
    let mut lines = vec![format!("{split:<10} {readable} of {images} images of {data} can be read")];
    if *readable > 0 {
        lines.push(format!(
            "           {} to {} pixels wide, {} to {} high",
            sizes.min_width, sizes.max_width, sizes.min_height, sizes.max_height
        ));
    }
    lines.push(labelled(labels, *images));
    lines.extend(bad.iter().take(SHOWN).map(|bad| format!("bad        {}: {}", bad.name, bad.reason)));
    if bad.len() > SHOWN {
        lines.push(format!("           ... and {} more (--json tells all)", bad.len() - SHOWN));
    }
    lines.join("\n")
}

fn measured(found: &Stats, data: &str) -> String {
    let list = |numbers: &[f32]| numbers.iter().map(|n| format!("{n:.4}")).collect::<Vec<_>>().join(", ");
    format!(
        "{:<10} {} images of {data}, {} of them measured\n           mean [{}], deviation [{}]\n{}",
        found.split,
        found.images,
        found.measured,
        list(&found.mean),
        list(&found.std),
        labelled(&found.labels, found.images)
    )
}

fn labelled(labels: &selfie_eval::Labels, images: usize) -> String {
    match labels.classes {
        0 => "           no labels".to_owned(),
        classes => format!(
            "           {classes} classes of {} to {} images, {} of {images} labelled",
            labels.smallest_class, labels.largest_class, labels.labelled
        ),
    }
}
