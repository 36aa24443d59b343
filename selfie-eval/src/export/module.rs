//! The PyTorch module that is written beside weights of a shape that torchvision and timm do not build.
//!
//! One short file for each kind of block, complete as it stands; only its line `SHAPE = ...` is replaced.

use std::path::{Path, PathBuf};

use selfie_encoder::{Block, Stem};

use super::network::Network;

/// The text of the module for `network`.
pub(crate) fn text(network: &Network) -> String {
    let config = &network.config;
    let template = match config.block {
        Block::V1_5 => include_str!("resnet_v1_5.py"),
        Block::V2 => include_str!("resnet_v2.py"),
    };
    let small = if config.stem == Stem::Small { "True" } else { "False" };
    let shape = format!(
        "SHAPE = dict(channels={}, width={}, depths={:?}, small_stem={small}, classes={})",
        config.in_channels,
        config.width,
        config.depths,
        network.classes.unwrap_or(0)
    );
    let line = |line: &str| if line.starts_with("SHAPE = ") { shape.clone() } else { line.to_owned() };
    template.lines().map(|text| line(text) + "\n").collect()
}

/// The module's name and place: beside `weights`, with a name that Python can import.
pub(crate) fn place(weights: &Path) -> (String, PathBuf) {
    let stem = weights.file_stem().unwrap_or_default().to_string_lossy();
    let mut name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    let path = weights.with_file_name(format!("{name}.py"));
    (name, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfie_encoder::EncoderConfig;

    #[test]
    fn only_the_shape_of_the_template_changes() {
        for block in [Block::V1_5, Block::V2] {
            let config = EncoderConfig { width: 16, block, ..EncoderConfig::cifar10() };
            let text = text(&Network { config, classes: None, tensors: Vec::new() });
            let shape = "SHAPE = dict(channels=3, width=16, depths=[3, 4, 6], small_stem=True, classes=0)";
            assert_eq!(text.matches("SHAPE = ").count(), 1);
            assert!(text.contains(&format!("\n{shape}\n")) && text.contains("def load(file):"), "{text}");
        }
    }

    #[test]
    fn the_name_can_be_imported() {
        let place = |path: &str| place(Path::new(path));
        assert_eq!(place("a/w-16.safetensors"), ("w_16".to_owned(), "a/w_16.py".into()));
        assert_eq!(place("16.v2.safetensors"), ("_16_v2".to_owned(), "_16_v2.py".into()));
    }
}
