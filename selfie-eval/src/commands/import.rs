//! `selfie import`: weights of torchvision or timm as a file of ours.

use std::path::PathBuf;

use selfie_eval::{Error, Export, ExportFormat, Exported, Result};
use selfie_train::{Pretrained, Wanted};

use super::screen::Screen;
use super::{advice, export, weights};

/// Import a ResNet-50 from a checkpoint of another project: safetensors or a file of torch.save
///
/// The network is found by its tensors, behind any prefix and below any key; the prefix and the tensors that are not used
/// are printed. --from and --init-from read such a file directly, too; the imported file also records shape, classes, mean
/// and standard deviation. Of a pickle, what torch.load(weights_only=True) accepts is accepted, and nothing in it is run.
#[derive(clap::Args)]
pub struct Options {
    /// The checkpoint: torchvision's or timm's resnet50, or timm's resnetv2_50, of any width and depth
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File to write; must not exist and must end in .safetensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Prefix of the network, if the file contains several, such as module.encoder_q
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Mean per channel of the images that the network was trained with [default: ImageNet's 0.485,0.456,0.406 for
    /// resnet50, 0.5,0.5,0.5 for resnetv2_50, as torchvision and timm say]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "std")]
    mean: Option<Vec<f32>>,
    /// Standard deviation per channel [default: 0.229,0.224,0.225 for resnet50, 0.5,0.5,0.5 for resnetv2_50]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// No remarks
    #[arg(long)]
    quiet: bool,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let screen = Screen::new(options.json, options.quiet);
    let from = options.file.display().to_string();
    if options.file.is_dir() {
        return Err(Error::config("FILE", format!("{from} is a folder, expected a weights file (export takes a run)")));
    }
    let mut weights = export::open(&from, &Wanted { prefix: options.prefix.as_deref(), ..Wanted::default() })?;
    if let (Some(mean), Some(std)) = (&options.mean, &options.std) {
        (weights.normalise, weights.assumed) = (Some((mean.clone(), std.clone())), None);
    }
    check(&weights)?;
    let imported = Export::prepare(&from, &weights, ExportFormat::Safetensors)?.write_alone(&options.out)?;
    screen.result(words(&imported, &weights))?;
    screen.json(&imported)
}

/// A mean and a deviation for each channel.
fn check(weights: &Pretrained) -> Result<()> {
    let (Some((mean, std)), Some(config)) = (&weights.normalise, &weights.encoder_config) else { return Ok(()) };
    for (option, numbers) in [("--mean", mean), ("--std", std)] {
        if numbers.len() != config.in_channels {
            let reason = format!("met {numbers:?}, expected {} numbers, one a channel", config.in_channels);
            return Err(Error::config(option, reason));
        }
    }
    match std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
        Some(bad) => Err(Error::config("--std", format!("met {bad}, expected numbers above 0"))),
        None => Ok(()),
    }
}

fn words(imported: &Exported, weights: &Pretrained) -> String {
    let said = &imported.metadata;
    let classes = match said["num_classes"].as_u64() {
        Some(classes) => format!("{classes} classes"),
        None => "no classifier".to_owned(),
    };
    let file = imported.file.display();
    let mut lines = vec![format!(
        "read       {}: {} blocks, width {}, depths {}, {classes}; stem {}",
        weights.file.display(),
        said["block"].as_str().unwrap_or_default(),
        said["width"],
        said["depths"],
        said["stem"].as_str().unwrap_or_default(),
    )];
    lines.extend(weights.found.as_ref().map(weights::network));
    let reason = weights.assumed.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let (mean, std) = (&said["data"]["mean"], &said["data"]["std"]);
    lines.push(format!("input      mean {mean}, standard deviation {std}{reason}"));
    lines.push(format!("wrote      {file} ({} tensors)", imported.tensors));
    lines.push(advice::after_import(&imported.file));
    lines.join("\n")
}
