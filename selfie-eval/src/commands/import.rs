//! `selfie import`: weights of torchvision or timm as a file of ours.

use std::path::PathBuf;

use selfie_encoder::Block;
use selfie_eval::{Error, Export, ExportFormat, Exported, Result};
use selfie_train::{Pretrained, WhichWeights};

use super::screen::Screen;
use super::{advice, export};

/// Bring a ResNet-50 of torchvision or timm here: safetensors or torch.save's .pth to a file that --from and --init-from take
///
/// Both options take such a file as it is, too; the imported one also says what is known of it: shape, classes, mean and
/// deviation. Of a .pth only tensors are read: a file that asks for anything else is refused, and nothing in it is run.
#[derive(clap::Args)]
pub struct Options {
    /// The weights: a state_dict of torchvision's resnet50, or of timm's resnet50 or resnetv2_50; other widths and depths too
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write, a new one that ends in .safetensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Mean per channel of the images that the network was trained with [default: ImageNet's 0.485,0.456,0.406 for
    /// resnet50, 0.5,0.5,0.5 for resnetv2_50, as torchvision and timm say]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "std")]
    mean: Option<Vec<f32>>,
    /// Deviation per channel [default: 0.229,0.224,0.225 for resnet50, 0.5,0.5,0.5 for resnetv2_50]
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
    let mut weights = export::open(&from, None, WhichWeights::Used)?;
    weights.normalise = match (&options.mean, &options.std) {
        (Some(mean), Some(std)) => Some((mean.clone(), std.clone())),
        _ => weights.normalise.take().or_else(|| usual(&weights)),
    };
    check(&weights)?;
    let imported = Export::prepare(&from, &weights, ExportFormat::Safetensors)?.write_alone(&options.out)?;
    screen.result(words(&imported, &weights))?;
    screen.json(&imported)
}

/// What torchvision and timm say of their networks of this kind.
fn usual(weights: &Pretrained) -> Option<(Vec<f32>, Vec<f32>)> {
    let config = weights.encoder_config.as_ref().filter(|config| config.in_channels == 3)?;
    Some(match config.block {
        Block::V1_5 => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        Block::V2 => (vec![0.5; 3], vec![0.5; 3]),
    })
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
    format!(
        "read       {}: {} blocks, width {}, depths {}, {classes}; stem {}\n\
         input      mean {}, deviation {}\n\
         wrote      {file} ({} tensors)\n{}",
        weights.file.display(),
        said["block"].as_str().unwrap_or_default(),
        said["width"],
        said["depths"],
        said["stem"].as_str().unwrap_or_default(),
        said["data"]["mean"],
        said["data"]["std"],
        imported.tensors,
        advice::after_import(&imported.file),
    )
}
