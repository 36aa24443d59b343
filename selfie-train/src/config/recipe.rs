//! The part of a configuration that shapes what a run learns, as against where and how it is carried out.
//!
//! A checkpoint carries the recipe, so that runs with the same recipe have the same bytes on any number of loader threads;
//! and a run is only continued with the recipe it began with.

use serde_json::Value;

use super::RunConfig;
use crate::error::{Error, Result};

/// Keys that change no bit of the weights.
const CARRYING_OUT: [&str; 11] = [
    "data.source",
    "data.test_splits",
    "data.workers",
    "data.on_bad_image",
    "data.max_bad_images",
    "run.threads",
    "run.log_every",
    "run.checkpoint_every",
    "run.keep_last",
    "run.keep_every",
    "run.knn_images",
];

/// Keys of the recipe that a continued run may change: its length, its evaluations, and what stops it.
const MAY_CHANGE: [&str; 5] = ["run.steps", "run.eval_every", "run.eval_masks", "run.on_nonfinite", "run.max_skipped"];

impl RunConfig {
    /// The recipe of pretraining: every key but those that say where and how it is carried out, and `[finetune]`.
    ///
    /// # Errors
    /// [`Error::Config`] for a number that JSON cannot hold.
    pub fn recipe(&self) -> Result<Value> {
        let mut recipe =
            serde_json::to_value(self).map_err(|error| Error::config("configuration", error.to_string()))?;
        for key in CARRYING_OUT.into_iter().chain(["finetune"]) {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let keys = if section.is_empty() { Some(&mut recipe) } else { recipe.get_mut(section) };
            if let Some(keys) = keys.and_then(Value::as_object_mut) {
                keys.remove(name);
            }
        }
        recipe.sort_all_objects();
        Ok(recipe)
    }
}

/// What a continued run changes that it must not, each as "key: was, is"; empty where it may go on. A key that is younger
/// than the checkpoint had the value that it has by default.
#[must_use]
pub fn recipe_changes(was: &Value, is: &Value) -> Vec<String> {
    let (was, is) = (flat(was), flat(is));
    let mut keys: Vec<_> = was.iter().chain(&is).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let defaults = defaults();
    let find = |among: &[(String, Value)], key: &str| {
        among.iter().find(|(known, _)| known == key).map(|(_, value)| value.to_string())
    };
    let nothing = || "nothing".to_owned();
    let change = |key: &&String| {
        let was = find(&was, key).or_else(|| find(&defaults, key)).unwrap_or_else(nothing);
        let is = find(&is, key).unwrap_or_else(nothing);
        (was != is && !MAY_CHANGE.contains(&key.as_str())).then(|| format!("{key}: was {was}, is {is}"))
    };
    keys.iter().filter_map(change).collect()
}

/// `section.key` and default value of everything that a recipe may contain; earlier versions do not write all of it.
fn defaults() -> Vec<(String, Value)> {
    let config = RunConfig::default();
    let mut recipe = config.recipe().unwrap_or_default();
    recipe["finetune"] = serde_json::to_value(&config.finetune).unwrap_or_default();
    flat(&recipe)
}

/// `section.key` and value of everything in a recipe.
fn flat(recipe: &Value) -> Vec<(String, Value)> {
    let sections = recipe.as_object().into_iter().flatten();
    let keys =
        sections.flat_map(|(section, keys)| keys.as_object().into_iter().flatten().map(move |key| (section, key)));
    keys.map(|(section, (key, value))| (format!("{section}.{key}"), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_threads_and_cadence_are_no_part_of_the_recipe() {
        let config = RunConfig::default();
        let mut other = config.clone();
        (other.data.workers, other.run.threads, other.run.log_every) = (7, 3, 1);
        (other.data.source, other.finetune.lr) = ("elsewhere".to_owned(), 9.0);
        assert_eq!(config.recipe().unwrap(), other.recipe().unwrap());
    }

    #[test]
    fn a_changed_rate_is_told_and_a_changed_length_is_not() {
        let config = RunConfig::default();
        let mut other = config.clone();
        (other.optim.lr, other.run.steps) = (0.5, 7);
        let changes = recipe_changes(&config.recipe().unwrap(), &other.recipe().unwrap());
        assert_eq!(changes, ["optim.lr: was 0.1, is 0.5"]);
    }

    #[test]
    fn a_key_that_the_checkpoint_does_not_know_may_only_have_its_default() {
        let mut was = RunConfig::default().recipe().unwrap();
        was["run"].as_object_mut().unwrap().remove("sync_norm");
        let mut is = RunConfig::default();
        assert!(recipe_changes(&was, &is.recipe().unwrap()).is_empty());
        is.run.sync_norm = true;
        assert_eq!(recipe_changes(&was, &is.recipe().unwrap()), ["run.sync_norm: was false, is true"]);
    }
}
