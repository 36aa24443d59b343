//! The presets: complete TOML files beside the source, compiled in.

use super::RunConfig;
use crate::error::{Error, Result};

/// Name and text of each preset, from the smallest to the largest.
const PRESETS: [(&str, &str); 6] = [
    ("sample", include_str!("../../presets/sample.toml")),
    ("quick", include_str!("../../presets/quick.toml")),
    ("cifar10", include_str!("../../presets/cifar10.toml")),
    ("cifar10-paper", include_str!("../../presets/cifar10-paper.toml")),
    ("imagenet32", include_str!("../../presets/imagenet32.toml")),
    ("imagenet224", include_str!("../../presets/imagenet224.toml")),
];

impl RunConfig {
    /// The names that [`RunConfig::preset`] takes.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The preset as it is written, with its comments: paper, hours, expected figures and command.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such preset; the names are listed.
    pub fn preset_text(name: &str) -> Result<&'static str> {
        let found = PRESETS.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text).ok_or_else(|| {
            let names: Vec<_> = Self::preset_names().collect();
            Error::config("--preset", format!("met `{name}`, expected one of {}", names.join(", ")))
        })
    }

    /// The complete configuration of a preset.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such preset.
    pub fn preset(name: &str) -> Result<Self> {
        Self::from_toml(Self::preset_text(name)?, &format!("preset {name}"))
    }
}
