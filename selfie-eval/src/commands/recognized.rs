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
            Some(images) => format!("{} ({images} images)", escape_field(&split.name)),
            None => format!("{} ({})", escape_field(&split.name), count(split.places.len(), "file")),
        }));
        lines.push(format!("not read   {shown}; {}", choice(splits, unused[0])));
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

/// The setting that reads a split that is not read: it tests on one that is called like a test split, and trains on another one.
fn choice(splits: &[RecognizedSplit], unused: &RecognizedSplit) -> String {
    let name = escape_field(&unused.name);
    if ["val", "dev", "test", "eval"].iter().any(|word| name.to_ascii_lowercase().contains(word)) {
        return format!("--set 'data.test_splits=[\"{name}\"]' tests on {name} instead");
    }
    let train = splits.iter().filter(|split| split.role == SplitRole::Train).chain([unused]);
    let names: Vec<_> = train.map(|split| format!("\"{}\"", escape_field(&split.name))).collect();
    format!("--set 'data.train_splits=[{}]' trains on {} too", names.join(","), escape_field(&unused.name))
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
