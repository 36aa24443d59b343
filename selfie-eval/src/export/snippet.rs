//! The lines of Python that load an exported file, as they are printed.
//!
//! They end with `model` in evaluation mode (logits if there is a classifier, otherwise the features behind the last stage) and
//! with `view`, which makes its input of an image file as this program does.

use selfie_encoder::{Block, Stem};
use selfie_train::Transform;

use super::ExportFormat;
use super::network::Network;

/// Where the files are.
pub(crate) enum Place<'a> {
    /// The weights file here, the module beside it.
    File(&'a str),
    /// A model repository of the hub, `OWNER/NAME`.
    Hub(&'a str),
}

/// What the lines name.
pub(crate) struct Names<'a> {
    /// Where the weights are.
    pub(crate) place: Place<'a>,
    /// The module beside it, where there is one.
    pub(crate) module: Option<&'a str>,
    /// Mean and deviation per channel, where known.
    pub(crate) normalise: Option<&'a (Vec<f32>, Vec<f32>)>,
    /// Side of the images, where known.
    pub(crate) image_size: Option<usize>,
}

/// The lines for `network`, written as `format`.
pub(crate) fn python(network: &Network, format: ExportFormat, names: &Names) -> String {
    let (mut lines, file) = reached(names);
    match names.module {
        Some(module) => lines.extend([
            format!("from {module} import load  # {module}.py beside the weights"),
            String::new(),
            format!("model = load({file})"),
        ]),
        None => {
            lines.extend(opening(network, format));
            lines.extend(filled(network, &file));
        }
    }
    let statistics = names.normalise.filter(|(mean, _)| !mean.is_empty());
    if let Some((mean, std)) = statistics {
        lines.push(format!("mean, std = {mean:?}, {std:?}"));
    }
    if let (Some(size), Some(_)) = (names.image_size, statistics) {
        let imported = lines.iter().any(|line| line == "import torch");
        lines.push(String::new());
        lines.extend((!imported).then(|| "import torch".to_owned()));
        lines.extend(view(network.config.in_channels, size));
    }
    lines.join("\n")
}

/// The lines that make the input of an image file: what `Transform::eval` does, and the decoder before it.
fn view(channels: usize, size: usize) -> Vec<String> {
    let mode = match channels {
        1 => "L",
        3 => "RGB",
        _ => {
            return vec![format!(
                "# images: (B, {channels}, {size}, {size}), values from 0 to 1, then (x - mean) / std"
            )];
        }
    };
    let resize = Transform::eval_resize(size);
    let text = format!(
        "from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

def view(file):  # what the program does to an image: (1, {channels}, {size}, {size})
    image = ImageOps.exif_transpose(Image.open(file))
    if image.mode.startswith(\"I\"):  # 16-bit gray, which Pillow would clip
        image = image.convert(\"I\").point(lambda value: value * (1 / 257) + 0.5).convert(\"L\")
    image = image.convert(\"RGBA\")
    image = Image.alpha_composite(Image.new(\"RGBA\", image.size, \"white\"), image).convert(\"{mode}\")
    if image.size != ({size}, {size}):
        image = F.center_crop(F.resize(image, {resize}), {size})
    return F.normalize(F.to_dtype(F.pil_to_tensor(image), torch.float32, scale=True), mean, std)[None]"
    );
    text.lines().map(str::to_owned).collect()
}

/// The lines that bring the files here, and the weights' name in what follows.
fn reached(names: &Names) -> (Vec<String>, String) {
    let repository = match names.place {
        Place::File(file) => return (Vec::new(), quoted(file)),
        Place::Hub(repository) => quoted(repository),
    };
    let mut lines = vec!["from huggingface_hub import hf_hub_download".to_owned()];
    if let Some(module) = names.module {
        lines.insert(0, "import pathlib, sys".to_owned());
        lines.push(format!(
            "sys.path.insert(0, str(pathlib.Path(hf_hub_download({repository}, \"{module}.py\")).parent))"
        ));
    }
    lines.push(format!("weights = hf_hub_download({repository}, \"model.safetensors\")"));
    (lines, "weights".to_owned())
}

/// Imports and the model, with the stem that the weights have.
fn opening(network: &Network, format: ExportFormat) -> Vec<String> {
    let config = &network.config;
    let library = if format == ExportFormat::Torchvision { "torchvision" } else { "timm" };
    let classes = network.classes.map(|classes| format!("num_classes={classes}")).unwrap_or_default();
    let model = match (library, config.block) {
        ("torchvision", _) => format!("torchvision.models.resnet50({classes})"),
        (_, block) => {
            let name = if block == Block::V2 { "resnetv2_50" } else { "resnet50" };
            let classes = if classes.is_empty() { classes } else { format!(", {classes}") };
            format!("timm.create_model(\"{name}\"{classes})")
        }
    };
    let mut lines = vec![
        "import torch".to_owned(),
        format!("import {library}"),
        "from safetensors.torch import load_file".to_owned(),
        String::new(),
        format!("model = {model}"),
    ];
    let (conv, pool) = match config.block {
        Block::V1_5 => ("model.conv1", "model.maxpool"),
        Block::V2 => ("model.stem.conv", "model.stem.pool"),
    };
    let channels = config.in_channels;
    match config.stem {
        Stem::Small => {
            lines.push(format!(
                "{conv} = torch.nn.Conv2d({channels}, 64, 3, padding=1, bias=False)  # the small stem: 3x3, stride 1,"
            ));
            lines.push(format!("{pool} = torch.nn.Identity()  # and no pooling"));
        }
        Stem::ImageNet if channels != 3 => {
            lines.push(format!("{conv} = torch.nn.Conv2d({channels}, 64, 7, 2, 3, bias=False)"));
        }
        Stem::ImageNet => {}
    }
    lines
}

/// Loading; strictly where the file is complete.
fn filled(network: &Network, file: &str) -> Vec<String> {
    let last = match (network.is_cut(), network.classes) {
        (false, Some(_)) => {
            return vec![
                format!("model.load_state_dict(load_file({file}), strict=True)"),
                "model = model.eval()".to_owned(),
            ];
        }
        (cut, _) => cut,
    };
    let (missing, fresh) = match (network.config.block, last) {
        (Block::V1_5, true) => ("(\"layer4.\", \"fc.\")", "model.layer4 = model.fc"),
        (Block::V1_5, false) => ("(\"fc.\",)", "model.fc"),
        (Block::V2, true) => ("(\"stages.3.\", \"norm.\", \"head.\")", "model.stages[3] = model.norm = model.head.fc"),
        (Block::V2, false) => ("(\"head.\",)", "model.head.fc"),
    };
    vec![
        format!("loaded = model.load_state_dict(load_file({file}), strict=False)"),
        format!("assert not loaded.unexpected_keys and all(k.startswith({missing}) for k in loaded.missing_keys)"),
        format!(
            "{fresh} = torch.nn.Identity()  # features, (B, {}); to train these layers, leave this line out",
            network.config.embed_dim()
        ),
        "model = model.eval()".to_owned(),
    ]
}

/// A string of Python.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
