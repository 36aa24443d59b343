//! `selfie embed`: features of any images, to a file.

use selfie_eval::{Embed, EmbedFormat, EmbedReport, EmbedSplit, Result};

use selfie_train::escape_field;

use super::frozen::Network;
use super::options::{Shared, flags};
use super::{Interrupt, pools, settings, weights};

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

    weights::describe(&origin, embed.config(), embed.measured(), &screen)?;

    let progress = screen.progress(embed.num_images(), "images");
    let mut begun = false;
    let mut show = |done| match std::mem::replace(&mut begun, true) {
        false => progress.continue_after(done),
        true => progress.set(done),
    };
    let report = interrupt.while_training(|| embed.run(out, format, &interrupt.flag(), &mut show))?;
    progress.finish();
    for (name, reason) in embed.bad_images().iter().take(SHOWN) {
        screen.result(format!("bad        {name}: {reason}"))?;
    }
    screen.result(words(&report))?;
    screen.json(&report)
}

fn words(report: &EmbedReport) -> String {
    let EmbedReport { files, images, left_out, non_finite, resumed_at, stages, seconds, images_per_second, .. } =
        report;
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
    if *non_finite > 0 {
        let first = report.first_non_finite.as_deref().map(escape_field).unwrap_or_default();
        lines.push(format!("non-finite {non_finite} rows contain NaN or infinite values; the first is of {first}"));
    }
    let mut names = files.iter().map(|file| file.display().to_string());
    lines.push(format!("wrote      {}", names.next().unwrap_or_default()));
    lines.extend(names.map(|name| format!("           {name}")));
    lines.join("\n")
}
