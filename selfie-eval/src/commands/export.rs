//! `selfie export`: weights in a file that torchvision or timm loads.

use std::path::PathBuf;

use selfie_eval::{Error, Export, ExportFormat, Exported, HubTarget, Result, weights_path};
use selfie_train::{Pretrained, Wanted, WhichWeights};

use super::screen::Screen;

/// Write the weights of a run for torchvision, timm or PyTorch alone, and show the lines of Python that load them
///
/// A pretraining run gives stages 1-3 of the ResNet, a fine-tuning run the whole network with its classifier. torchvision
/// and timm build width 64 alone: another shape keeps the same names, and a short PyTorch module that loads them is
/// written beside the file. v2 blocks are timm's resnetv2; a pretrained trunk of them leaves out its final norm, because
/// timm's has the width of stage 4 (--format safetensors keeps it).
#[derive(clap::Args)]
pub struct Options {
    /// Where the weights come from: a run, a checkpoint, a weights file, or hf:OWNER/NAME
    #[arg(long, value_name = "RUN|FILE|hf:NAME")]
    from: String,
    /// Whose network the file is for: torchvision, timm, or safetensors (every tensor, with a PyTorch module beside it)
    #[arg(long, value_name = "FORMAT", default_value = "torchvision")]
    format: String,
    /// The file to write, a new one that ends in .safetensors
    #[arg(long, value_name = "FILE", required_unless_present = "to", conflicts_with = "to")]
    out: Option<PathBuf>,
    /// Upload instead, to a model repository of the Hugging Face hub, which is made where it is not there: the weights,
    /// their settings and a model card with the run's figures. Needs a token that may write, in HF_TOKEN or from `hf auth
    /// login`
    #[arg(long, value_name = "hf:OWNER/NAME")]
    to: Option<String>,
    /// The licence of the weights for the model card, as the hub calls it: mit, cc-by-4.0, ... [default: other]
    #[arg(long, value_name = "ID", requires = "to")]
    license: Option<String>,
    /// Which weights of a run with run.ema_decay: ema (their moving average) or raw [default: ema where there is one]
    #[arg(long, value_name = "ema|raw")]
    weights: Option<String>,
    /// The run's checkpoint of that step [default: the latest]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Prefix of the network in a weights file of another project that contains several
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// No remarks
    #[arg(long)]
    quiet: bool,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let screen = Screen::new(options.json, options.quiet);
    let format: ExportFormat = options.format.parse()?;
    let which = match options.weights.as_deref() {
        None => WhichWeights::Used,
        Some("ema") => WhichWeights::Ema,
        Some("raw") => WhichWeights::Raw,
        Some(word) => return Err(Error::config("--weights", format!("met `{word}`, expected ema or raw"))),
    };
    let target = options.to.as_deref().map(HubTarget::open).transpose()?;
    let wanted = Wanted { step: options.checkpoint, which, prefix: options.prefix.as_deref() };
    let weights = open(&options.from, &wanted)?;
    let export = Export::prepare(&options.from, &weights, format)?;
    match (&target, &options.out) {
        (Some(target), _) => {
            // New, of a name that nobody can guess, and for this user alone: no link can lie in wait there.
            let folder = tempfile::Builder::new().prefix("selfie-upload-").tempdir();
            let folder = folder.map_err(Error::io(std::env::temp_dir()))?;
            let uploaded = target.send(&export, &options.from, options.license.as_deref(), folder.path())?;
            let path = folder.path().to_path_buf();
            folder.close().map_err(Error::io(path))?;
            screen.result(format!("uploaded   {} to {}", uploaded.files.join(", "), uploaded.address))?;
            screen.result(format!("python\n{}", uploaded.exported.snippet))?;
            screen.json(&uploaded)
        }
        (None, Some(out)) => {
            let exported = export.write(out)?;
            screen.result(words(&exported, &weights))?;
            screen.json(&exported)
        }
        (None, None) => Err(Error::config("--out", "missing, expected FILE.safetensors, or --to hf:OWNER/NAME")),
    }
}

/// What `--from` names; there is nothing to export from scratch.
pub fn open(from: &str, wanted: &Wanted) -> Result<Pretrained> {
    Ok(Pretrained::open_wanted(&weights_path("--from", from, wanted.step)?, wanted)?)
}

fn words(exported: &Exported, weights: &Pretrained) -> String {
    let Exported { file, module, tensors, complete, left_out, snippet, .. } = exported;
    let what = if *complete { "the whole network, with its classifier" } else { "features, without a classifier" };
    let mut lines =
        vec![format!("wrote      {} ({tensors} tensors of {}; {what})", file.display(), weights.file.display())];
    if let Some(found) = &weights.found {
        lines.insert(0, super::weights::network(found));
    }
    if let Some(module) = module {
        lines.push(format!("           {} (the PyTorch module that loads it)", module.display()));
    }
    if module.is_some() && exported.format != ExportFormat::Safetensors {
        let shape = (&exported.metadata["width"], &exported.metadata["depths"]);
        lines.push(format!(
            "           {} builds width 64 with depths [3, 4, 6, 3] alone: these are its names in width {} with depths {}",
            exported.format, shape.0, shape.1
        ));
    }
    if !left_out.is_empty() {
        lines.push(format!("left out   {}: timm's has the width of stage 4", left_out.join(", ")));
    }
    lines.push(format!("python\n{snippet}"));
    lines.join("\n")
}
