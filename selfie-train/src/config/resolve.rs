//! From preset to resolved configuration: preset, then file, then `--set` and short flags, each value checked as it is laid on.
//!
//! Values go one by one, so that an error can always say which key, and from where: a file or an option.

use std::fmt::Display;
use std::path::Path;

use toml::{Table, Value};

use super::{OptimName, RunConfig};
use crate::data::Augment;
use crate::error::{Error, Result};

/// One value over the preset, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// A file's path, `--set`, or a short flag.
    source: String,
    /// `section.key`.
    key: String,
    value: Given,
}

/// A value as typed on the command line, or already typed by a file.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Text(String),
    Value(Value),
}

impl Override {
    /// `section.key=value`, as `--set` takes it. Strings need no quotes.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no `=`.
    pub fn set(assignment: &str) -> Result<Self> {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| Error::config("--set", format!("met `{assignment}`, expected section.key=value")))?;
        Ok(Self::flag("--set", key.trim(), value.trim()))
    }

    /// A short flag such as `--lr`; errors then name the flag.
    #[must_use]
    pub fn flag(flag: &str, key: &str, value: impl Display) -> Self {
        Self { source: flag.to_owned(), key: key.to_owned(), value: Given::Text(value.to_string()) }
    }
}

impl RunConfig {
    /// The preset `preset` with `file` and then `overrides` over it, validated.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and its source: unknown keys with the nearest one, wrong types with what was met and
    /// expected; [`Error::Io`] where the file cannot be read.
    pub fn resolve(preset: &str, file: Option<&Path>, overrides: &[Override]) -> Result<Self> {
        Self::preset(preset)?.with_overrides(file, overrides)
    }

    /// This configuration with `file` and then `overrides` over it, validated.
    ///
    /// # Errors
    /// As [`RunConfig::resolve`].
    pub fn with_overrides(&self, file: Option<&Path>, overrides: &[Override]) -> Result<Self> {
        let mut given = Vec::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::config("--config", format!("{}: {error}, expected a TOML file", path.display()))
            })?;
            given = values_of(&text, &path.display().to_string())?;
        }
        given.extend_from_slice(overrides);
        let config = self.lay_over(&given)?;
        config.validate()?;
        self.check_rate(&config, &given)?;
        Ok(config)
    }

    /// The configuration that `text` holds, over the defaults; `origin` is what errors call it. Not validated.
    ///
    /// # Errors
    /// [`Error::Config`] as [`RunConfig::resolve`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        Self::default().lay_over(&values_of(text, origin)?)
    }

    /// Refuses another optimizer without a learning rate of its own: SGD's 0.6 ruins a network under AdamW, and with AdamW's
    /// 0.001 SGD learns nothing. Adam and AdamW share a scale.
    fn check_rate(&self, config: &Self, given: &[Override]) -> Result<()> {
        let (before, now) = (self.optim.name, config.optim.name);
        let changes_scale = (before == OptimName::Sgd) != (now == OptimName::Sgd);
        if !changes_scale || given.iter().any(|value| value.key == "optim.lr") {
            return Ok(());
        }
        let reason =
            format!("not given, expected a learning rate for {now}: {} was chosen for {before}", self.optim.lr);
        Err(Error::config("optim.lr", reason))
    }

    fn lay_over(&self, given: &[Override]) -> Result<Self> {
        let mut config = self.clone();
        let mut table = Table::try_from(self).map_err(|error| Error::config("configuration", error.to_string()))?;
        for value in &name_the_view(given, self.data.augment) {
            config = value.apply(&mut table)?;
        }
        Ok(config)
    }
}

impl Override {
    /// Puts the value into the complete `table`, and reads the configuration back.
    fn apply(&self, table: &mut Table) -> Result<RunConfig> {
        let known = self.key.split_once('.').and_then(|(section, key)| table.get_mut(section)?.get_mut(key));
        let Some(slot) = known else {
            return Err(self.error(format!("unknown key, the nearest is {}", nearest(&self.key, table))));
        };
        *slot = self.typed_like(slot)?;
        table.clone().try_into().map_err(|error: toml::de::Error| {
            self.error(format!("met {}, {}", self.shown(), error.message().lines().next().unwrap_or_default()))
        })
    }

    /// The value in the type of the one it replaces.
    fn typed_like(&self, old: &Value) -> Result<Value> {
        let new = match (&self.value, old) {
            (Given::Text(text), Value::String(_)) => Value::String(text.trim_matches('"').to_owned()),
            (Given::Text(text), _) => parse(text),
            (Given::Value(value), _) => value.clone(),
        };
        match (old, new) {
            (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
            (Value::Integer(_), Value::Integer(whole)) if whole < 0 => {
                Err(self.error(format!("met {whole}, expected a whole number, 0 or more")))
            }
            (old, new) if old.same_type(&new) => Ok(new),
            (old, _) => Err(self.error(format!("met {}, expected {}", self.shown(), expected(old)))),
        }
    }

    fn shown(&self) -> String {
        match &self.value {
            Given::Text(text) => format!("`{text}`"),
            Given::Value(value) => format!("`{value}`"),
        }
    }

    fn error(&self, reason: String) -> Error {
        Error::config(format!("{} ({})", self.key, self.source), reason)
    }
}

/// All values of a TOML text, as overrides from `source`.
fn values_of(text: &str, source: &str) -> Result<Vec<Override>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        Error::config(format!("{source}, line {line}"), message)
    })?;
    let mut values = Vec::new();
    for (section, value) in table {
        match value {
            Value::Table(keys) => {
                values.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)))
            }
            value => values.push((section, value)),
        }
    }
    let as_override = |(key, value)| Override { source: source.to_owned(), key, value: Given::Value(value) };
    Ok(values.into_iter().map(as_override).collect())
}

/// `finetune.augment` was a switch once, and its view pretraining's: files of then go on to mean the same, over settings whose
/// pretraining has the view `pretraining`.
fn name_the_view(given: &[Override], pretraining: Augment) -> Vec<Override> {
    let own = given.iter().find(|value| value.key == "data.augment").map(|value| value.value.clone());
    let named = |view: Augment| Given::Value(Value::String(view.name().to_owned()));
    let mut given = given.to_vec();
    for value in given.iter_mut().filter(|value| value.key == "finetune.augment") {
        match value.value {
            Given::Value(Value::Boolean(true)) => value.value = own.clone().unwrap_or_else(|| named(pretraining)),
            Given::Value(Value::Boolean(false)) => value.value = named(Augment::None),
            _ => {}
        }
    }
    given
}

/// A value as typed after `--set key=`: TOML, or else a bare string.
fn parse(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn expected(old: &Value) -> &'static str {
    match old {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::String(_) => "a string",
        Value::Array(_) => "a list such as [3, 4, 6]",
        _ => "another type",
    }
}

/// The known key that `key` was most likely meant to be: by its whole spelling, or by its last part alone.
fn nearest(key: &str, table: &Table) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let mut best = (0.0, String::new());
    for (section, keys) in table {
        for name in keys.as_table().into_iter().flat_map(Table::keys) {
            let full = format!("{section}.{name}");
            let whole = strsim::normalized_damerau_levenshtein(key, &full);
            let part = 0.9 * strsim::normalized_damerau_levenshtein(&last(key), name);
            // `[finetune]` repeats keys of `[run]` and `[optim]`, which are meant more often.
            let score = whole.max(part) * if section == "finetune" { 0.95 } else { 1.0 };
            if score > best.0 {
                best = (score, full);
            }
        }
    }
    best.1
}
