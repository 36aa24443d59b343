//! `selfie plan`: what a pretraining of full size costs, before anybody pays for it.

use std::path::PathBuf;

use selfie_eval::{Bandwidth, Figure, Images, JobCosts, JobPlan, ModelSize, Result, Speed};
use selfie_train::{DeviceChoice, Override, RunConfig};
use serde_json::json;

use super::options::{Lengths, flags};
use super::pools;
use super::screen::Screen;

/// Work out what a full-size run costs: hours, memory, disk, data rate and communication, on so many ranks
///
/// A rank is a process with a whole copy of the model, on a GPU or a node; the ranks share each batch. Nothing is trained; each
/// figure stands beside what it assumes. kB, MB and GB are powers of 1000.
#[derive(clap::Args)]
pub struct Options {
    /// The settings: sample, quick, cifar10, cifar10-paper, imagenet32 or imagenet224
    #[arg(long, value_name = "NAME", default_value = "imagenet224")]
    preset: String,
    /// Ranks; the batch is shared by them
    #[arg(long, value_name = "N", default_value_t = 1)]
    ranks: usize,
    /// Images that one rank trains on in a second [default: measured here, by three steps on random images]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    images_per_second: Option<f64>,
    /// What a rank sends and receives at once, in GB/s each way; 100-Gbit Ethernet has 12.5 [default: measured in this machine's memory]
    #[arg(long, value_name = "GB/S", allow_negative_numbers = true)]
    bandwidth: Option<f64>,
    /// Training images [default: those of the preset's data set, or of --data]
    #[arg(long, value_name = "N")]
    images: Option<u64>,
    /// Mean bytes of an image's file [default: those of the preset's data set; without a number no data rate is told]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    image_bytes: Option<f64>,
    /// Images to count, as pretrain takes them [default: those of the preset, which need not be here]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    #[command(flatten)]
    lengths: Lengths,
    /// Settings to lay over the preset, in the form of a run's config.toml
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// One setting, over those of the file; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Where to measure: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Threads that the measured rank computes with [default: one a core]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<String>,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let mut overrides = options.set.iter().map(|set| Override::set(set)).collect::<std::result::Result<Vec<_>, _>>()?;
    overrides.extend(options.lengths.of_pretraining());
    let short = [("--data", "data.source", &options.data), ("--threads", "run.threads", &options.threads)];
    overrides.extend(flags(&short));
    let config = RunConfig::resolve(&options.preset, options.config.as_deref(), &overrides)?;
    let device = options.device.parse::<DeviceChoice>()?;

    let screen = Screen::new(options.json, options.json).describing_data();
    // What can be refused is refused before anything is measured.
    let images = Images::of(&options.preset, &config, options.images, options.image_bytes)?;
    let (speed, bandwidth) = (options.images_per_second.map(Speed::given), options.bandwidth.map(Bandwidth::given));
    let (speed, bandwidth) = (speed.transpose()?, bandwidth.transpose()?);
    let placeholder = Bandwidth { bytes_per_second: 1.0, assumption: String::new() };
    let mut plan = JobPlan {
        model: ModelSize::of(&config)?,
        config,
        ranks: options.ranks,
        images,
        speed: speed.clone().unwrap_or(Speed { images_per_second: 1.0, assumption: String::new() }),
        bandwidth: bandwidth.clone().unwrap_or(placeholder),
    };
    plan.costs()?;

    if speed.is_none() {
        pools::ensure(plan.config.run.threads)?;
        plan.speed = Speed::measured(&plan.config, &device.select()?)?;
    }
    if bandwidth.is_none() && plan.ranks > 1 {
        plan.bandwidth = Bandwidth::measured();
    }
    let costs = plan.costs()?;
    screen.result(words(&options.preset, &plan, &costs))?;
    screen.json(&json!({ "preset": options.preset, "parameters": plan.model.parameters, "costs": costs }))
}

fn words(preset: &str, plan: &JobPlan, costs: &JobCosts) -> String {
    let JobCosts { steps, batch_size, ranks, figures } = costs;
    let parameters = plan.model.parameters;
    let mut lines = vec![format!(
        "{preset}: {parameters} values, {steps} steps of {batch_size} images, {ranks} rank{}",
        if *ranks == 1 { "" } else { "s" }
    )];
    lines.extend(figures.iter().map(line));
    lines.join("\n")
}

/// A figure with three digits or more, and what it assumes.
fn line(figure: &Figure) -> String {
    let Figure { label, value, unit, assumption, .. } = figure;
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{label:<16} {value:>9.digits$} {unit:<9} {assumption}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_keeps_three_digits_and_its_assumption() {
        let figure = |value| Figure { name: "x", label: "reading", value, unit: "MB/s", assumption: "why".to_owned() };
        assert_eq!(line(&figure(104.25)), "reading                104 MB/s      why");
        assert_eq!(line(&figure(12.34)), "reading               12.3 MB/s      why");
        assert_eq!(line(&figure(0.5)), "reading              0.500 MB/s      why");
    }
}
