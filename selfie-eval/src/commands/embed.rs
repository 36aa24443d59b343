//! `selfie embed`: features of any images, to a file.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use selfie_eval::{Embed, EmbedFormat, EmbedReport, EmbedSplit, Result};

use super::frozen::Network;
use super::options::{Shared, flags};
use super::screen::{Screen, complain};
use super::{Interrupt, pools, settings};

/// Time between two lines of progress where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);
/// Bad images that are listed.
const SHOWN: usize = 20;

/// Features of images by the frozen network, in the order of the files, with names and labels where they are known
///
/// --out FILE.safetensors holds a tensor a kind of features, labels, splits and names; FILE.npy one array, with a table
/// FILE.tsv of name, split, label and class beside it, and so one kind of features; FILE.parquet a row an image. Images go through as a stream. After
/// Ctrl-C, or any other end, the same command goes on where it stopped, and ends in the same bytes. The features of a
/// fine-tuned network come after its fourth stage.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    network: Network,
    /// Which images: train, test or all
    #[arg(long, value_name = "SPLIT", default_value = "all")]
    split: String,
    /// Images at once [default: that of the settings]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch_size: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let shared = &options.shared;
    let screen = shared.screen();
    let Some(out) = &shared.out else {
        return Err(selfie_eval::Error::config(
            "--out",
            "missing, expected FILE.safetensors, FILE.npy or FILE.parquet",
        ));
    };
    let format = EmbedFormat::of(out)?;
    let kinds = options.network.kinds()?;
    let split: EmbedSplit = options.split.parse()?;
    format.check(out, &kinds)?;
    let batch = flags(&[("--batch-size", "run.micro_batch_size", &options.batch_size)]);
    let (origin, config) = options.network.resolve(shared, batch)?;
    pools::ensure(config.run.threads)?;
    let device = shared.device()?.select()?;
    let shown = settings::of(&config, &["data", "patch", "encoder"])?;
    let embed = Embed::prepare(config, &origin, &kinds, split, &device)?;
    screen.note(format!("{shown}\ndevice     {}", selfie_train::describe_device(&device)))?;

    let mut progress = Progress::new(&screen, shared.quiet, embed.num_images());
    let report =
        interrupt.while_training(|| embed.run(out, format, &interrupt.flag(), &mut |done| progress.tell(done)))?;
    progress.bar.finish_and_clear();
    for (name, reason) in embed.bad_images().iter().take(SHOWN) {
        screen.result(format!("bad        {name}: {reason}"))?;
    }
    screen.result(words(&report))?;
    screen.json(&report)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: bool,
    images: usize,
    /// Where this call began, and when.
    start: Option<(usize, Instant)>,
    told: Instant,
}

impl Progress {
    fn new(screen: &Screen, quiet: bool, images: usize) -> Self {
        let lines = !quiet && !std::io::stderr().is_terminal();
        Self { bar: screen.bar(images, "images"), lines, images, start: None, told: Instant::now() }
    }

    fn tell(&mut self, done: usize) {
        let &mut (first, begun) = self.start.get_or_insert_with(|| {
            if done > 0 && self.lines {
                complain(format!("goes on after {done} of {} images", self.images));
            }
            self.bar.set_position(done as u64);
            self.bar.reset_eta();
            (done, Instant::now())
        });
        self.bar.set_position(done as u64);
        if self.lines && self.told.elapsed() >= PAUSE && done > first {
            let speed = (done - first) as f64 / begun.elapsed().as_secs_f64();
            let left = (self.images - done) as f64 / speed;
            complain(format!("{done}/{} images  {speed:.1} images/s  ETA {left:.0} s", self.images));
            self.told = Instant::now();
        }
    }
}

fn words(report: &EmbedReport) -> String {
    let EmbedReport { files, images, left_out, resumed_at, stages, seconds, images_per_second, .. } = report;
    let kinds = report.features.iter().map(|(kind, width)| format!("{kind} (D = {width})")).collect::<Vec<_>>();
    let mut lines = vec![format!(
        "features   {} after stage {stages}, of {images} images; {seconds:.1} s at {images_per_second:.1} images/s",
        kinds.join(" and ")
    )];
    if *resumed_at > 0 {
        lines.push(format!("           {resumed_at} images were done by an earlier call"));
    }
    if *left_out > 0 {
        lines.push(format!("left out   {left_out} images that cannot be read, or could not before; they have no row"));
    }
    let mut names = files.iter().map(|file| file.display().to_string());
    lines.push(format!("wrote      {}", names.next().unwrap_or_default()));
    lines.extend(names.map(|name| format!("           {name}")));
    lines.join("\n")
}
