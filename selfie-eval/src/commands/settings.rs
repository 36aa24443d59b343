//! Settings as a person reads them: a line or two a section, every key with its value.

use selfie_eval::{Error, Result};
use selfie_train::RunConfig;

/// Width that lines are broken at.
const WIDTH: usize = 100;
/// Where the keys begin.
const INDENT: usize = 11;

/// The sections `wanted` of a configuration, all of them where the list is empty.
pub fn of(config: &RunConfig, wanted: &[&str]) -> Result<String> {
    let table = toml::Table::try_from(config).map_err(|error| Error::config("configuration", error.to_string()))?;
    let sections = ["data", "patch", "encoder", "attnpool", "loss", "optim", "schedule", "run", "finetune"];
    let chosen = sections.iter().filter(|name| wanted.is_empty() || wanted.contains(name));
    let blocks = chosen.filter_map(|name| Some(block(name, table.get(*name)?.as_table()?)));
    Ok(blocks.collect::<Vec<_>>().join("\n"))
}

fn block(name: &str, keys: &toml::Table) -> String {
    let mut lines = Vec::new();
    let mut line = format!("{name:<INDENT$}");
    for (key, value) in keys {
        let word = format!("{key} = {}", short(value));
        if line.len() > INDENT && line.len() + word.len() > WIDTH {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(INDENT);
        }
        line += &word;
        line += "  ";
    }
    lines.push(line.trim_end().to_owned());
    lines.join("\n")
}

/// A value as TOML; single-precision numbers without the digits that they do not have.
fn short(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(", ")),
        toml::Value::Float(number) => format!("{}", *number as f32),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_shown_once_and_no_line_is_long() {
        let config = RunConfig::preset("imagenet224").unwrap();
        let text = of(&config, &[]).unwrap();
        for key in ["depths = [3, 4, 6]", "lr = ", "positions = \"row-column\"", "steps = "] {
            assert!(text.contains(key), "{key} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH + 2), "{text}");
    }

    #[test]
    fn only_the_wanted_sections_are_shown() {
        let text = of(&RunConfig::default(), &["patch"]).unwrap();
        assert!(text.starts_with("patch ") && text.lines().count() == 1, "{text}");
    }
}
