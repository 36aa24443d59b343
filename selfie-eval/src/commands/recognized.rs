//! What data were recognized as, in a few lines on stderr before any work.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use selfie_train::{Recognized, RecognizedSplit, SplitRole, escape_field, observe_recognized, started_as};

use super::screen::complain;

/// Folders, files, suffixes and splits that a line shows.
const SHOWN: usize = 4;

/// The data that were described already: both splits of the same data have one description.
static DESCRIBED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Describes all data that the command opens from now on, each once.
pub fn show_data() {
    observe_recognized(|recognized| {
        let mut described = DESCRIBED.lock().unwrap_or_else(PoisonError::into_inner);
        if started_as() == 0 && described.insert(recognized.data.clone()) {
            complain(words(recognized));
        }
    });
}

/// Layout and classes, then a line for each side, for the other splits, for other files, and for each remark.
fn words(recognized: &Recognized) -> String {
    let Recognized { data, layout, splits, classes, first_classes, passed_over, remarks, .. } = recognized;
    let names: Vec<_> = first_classes.iter().map(|name| escape_field(name).into_owned()).collect();
    let classes = match classes {
        0 => "no labels".to_owned(),
        1 => format!("1 class: {}", names.join(", ")),
        _ => format!("{classes} classes: {}{}", names.join(", "), if *classes > names.len() { ", ..." } else { "" }),
    };
    let mut lines = vec![format!("data       {}: {layout}, {classes}", escape_field(data))];
    for (role, word) in [(SplitRole::Train, "train"), (SplitRole::Test, "test")] {
        for split in splits.iter().filter(|split| split.role == role) {
            lines.push(format!("{word:<10} {}", side(split, word)));
        }
    }
    let unused: Vec<_> = splits.iter().filter(|split| split.role == SplitRole::Unused).collect();
    if !unused.is_empty() {
        let shown = list(unused.iter().map(|split| match split.images {
            Some(images) => format!("{} ({})", escape_field(&split.name), count(images as usize, "image")),
            None => format!("{} ({})", escape_field(&split.name), count(split.places.len(), "file")),
        }));
        lines.push(format!("not read   {shown}; {}", choices(splits, &unused)));
    }
    if !passed_over.is_empty() {
        let mut by_count: Vec<_> = passed_over.iter().collect();
        by_count.sort_by_key(|(_, files)| std::cmp::Reverse(**files));
        lines.push(format!(
            "skipped    files of other types: {}",
            list(by_count.iter().map(|(s, n)| format!("{n} {s}")))
        ));
    }
    lines.extend(remarks.iter().map(|remark| format!("note       {}", escape_field(remark))));
    lines.join("\n")
}

/// A split that is read: its name if it is not the side's own, its images and labels, and its place.
fn side(split: &RecognizedSplit, word: &str) -> String {
    let mut parts = Vec::new();
    if !split.name.eq_ignore_ascii_case(word) {
        parts.push(format!("{}:", escape_field(&split.name)));
    }
    if let Some(images) = split.images {
        parts.push(format!("{} image{}", images, if images == 1 { "" } else { "s" }));
        match split.labeled {
            Some(0) => parts.push("without labels".to_owned()),
            Some(labeled) if labeled < images => parts.push(format!("({labeled} with a label)")),
            _ => {}
        }
    }
    match split.places.as_slice() {
        [] => {}
        [place] if place.is_empty() || place == "." => {} // the given file or folder itself
        [place] => parts.push(format!("in {}", escape_field(place))),
        [first, .., last] => {
            let files = count(split.places.len(), "file");
            parts.push(format!("in {files}, {} to {}", escape_field(first), escape_field(last)));
        }
    }
    parts.join(" ")
}

/// Returns the settings that read the splits that are not read: one of those that are called like a test split is tested on, and all
/// others are trained on.
fn choices(splits: &[RecognizedSplit], unused: &[&RecognizedSplit]) -> String {
    let is_test =
        |name: &str| ["val", "dev", "test", "eval"].iter().any(|word| name.to_ascii_lowercase().contains(word));
    let (tests, others): (Vec<&RecognizedSplit>, Vec<_>) = unused.iter().partition(|split| is_test(&split.name));
    let names = |splits: &[&RecognizedSplit]| {
        splits.iter().map(|split| escape_field(&split.name).into_owned()).collect::<Vec<_>>()
    };
    let mut choices = Vec::new();
    let of_tests = names(&tests);
    if let Some(name) = of_tests.first() {
        choices.push(format!("--set 'data.test_splits=[\"{name}\"]' tests on {name} instead"));
        choices.extend(of_tests[1..].iter().map(|name| format!("or [\"{name}\"] on {name}")));
    }
    if !others.is_empty() {
        let train: Vec<_> =
            splits.iter().filter(|split| split.role == SplitRole::Train).chain(others.clone()).collect();
        let quoted = names(&train).iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
        choices.push(format!("--set 'data.train_splits=[{quoted}]' trains on {} too", names(&others).join(", ")));
    }
    choices.join("; ")
}

/// The first of these words, and how many follow.
fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    let more = words.len().saturating_sub(SHOWN);
    let shown = words[..words.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_that_is_not_read_has_its_setting() {
        let split = |name: &str, role| RecognizedSplit {
            name: name.to_owned(),
            role,
            places: Vec::new(),
            images: None,
            labeled: None,
        };
        let unused = ["eval", "extra", "holdout", "test"].map(|name| split(name, SplitRole::Unused));
        let all: Vec<_> = [split("train", SplitRole::Train)].into_iter().chain(unused.clone()).collect();
        let text = choices(&all, &unused.iter().collect::<Vec<_>>());
        for words in
            ["test_splits=[\"eval\"]'", "[\"test\"] on test", "train_splits=[\"train\",\"extra\",\"holdout\"]'"]
        {
            assert!(text.contains(words), "no {words} in {text}");
        }
    }
}
