//! Which split a file or folder belongs to, by the words in its path, and which splits are trained and tested on.
//!
//! The words are those of Hugging Face's `datasets` (`data_files.py`), in any case, between characters that are not letters:
//! `data/train-00000-of-00002.parquet`, `plain_text/test/0000.parquet`, `training_set`. Only the part of a path below the data
//! that were named counts.

use super::error::{DataError, DataResult};
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::source::Split;

/// What a split is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Train,
    Test,
}

/// Words of the split to train on.
pub(super) const TRAIN_NAMES: [&str; 2] = ["train", "training"];

/// Words of the split to test on, the preferred one first.
pub(super) const TEST_NAMES: [&str; 8] = ["val", "validation", "valid", "dev", "test", "testing", "eval", "evaluation"];

/// Words of further splits, which are never trained on unless they are chosen.
const OTHER_NAMES: [&str; 10] = [
    "extra",
    "unlabeled",
    "unlabelled",
    "holdout",
    "heldout",
    "testmini",
    "minival",
    "challenge",
    "submission",
    "pred",
];

/// Splits that a configuration chooses by name; empty lists leave the choice to the words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    pub(super) train: &'a [String],
    pub(super) test: &'a [String],
}

/// The name of a split, and the word in it that tells its purpose.
pub(super) type Named<'a> = (&'a str, Option<(&'static str, Purpose)>);

/// Files or folders of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<T> {
    pub(super) name: String,
    pub(super) items: Vec<T>,
}

/// Files to train on and files to test on, each in the order of the splits that they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sides<T> {
    pub(super) train: Vec<T>,
    pub(super) test: Vec<T>,
    splits: Vec<RecognizedSplit>,
}

/// The word for a split in one name: a file's or a folder's.
pub(super) fn word_in(name: &str) -> Option<(&'static str, Purpose)> {
    let words = name.split(|c: char| !c.is_ascii_alphabetic());
    words.filter_map(known).next()
}

/// The purpose of a split with this name.
pub(super) fn known(word: &str) -> Option<(&'static str, Purpose)> {
    let find = |names: &[&'static str], purpose| {
        names.iter().find(|name| name.eq_ignore_ascii_case(word)).map(|name| (*name, purpose))
    };
    find(&TRAIN_NAMES, Purpose::Train).or_else(|| find(&TEST_NAMES, Purpose::Test))
}

/// Whether a name has the word of a further split, such as `extra`.
pub(super) fn is_other(name: &str) -> bool {
    let words = name.split(|c: char| !c.is_ascii_alphabetic());
    words.into_iter().any(|word| OTHER_NAMES.iter().any(|other| other.eq_ignore_ascii_case(word)))
}

/// Sorts files by split; `path` is a file's path below the data that were named.
///
/// # Errors
/// Returns [`DataError::Config`] if a chosen split does not exist.
pub(super) fn sides<T: Clone>(files: &[T], path: impl Fn(&T) -> String, chosen: &Chosen) -> DataResult<Sides<T>> {
    let paths: Vec<_> = files.iter().map(path).collect();
    let words: Vec<_> = paths.iter().map(|path| split_word(path)).collect();
    let any_train = words.iter().flatten().any(|(_, purpose)| *purpose == Purpose::Train);
    let mut parts: Vec<Part<usize>> = Vec::new();
    for (file, (path, word)) in paths.iter().zip(&words).enumerate() {
        let name = match word {
            Some((word, _)) => (*word).to_owned(),
            // Beside a train split, files without a known word belong to another split.
            None => Some(unknown_name(path)).filter(|name| any_train || is_other(name)).unwrap_or("train".to_owned()),
        };
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.items.push(file),
            None => parts.push(Part { name, items: vec![file] }),
        }
    }
    let named: Vec<_> = parts.iter().map(|part| (part.name.as_str(), known(&part.name))).collect();
    let roles = roles(&named, chosen)?;
    let pick = |role| -> Vec<T> {
        let those = parts.iter().zip(&roles).filter(|(_, found)| **found == role);
        those.flat_map(|(part, _)| part.items.iter().map(|&file| files[file].clone())).collect()
    };
    let splits = parts.iter().zip(&roles).map(|(part, &role)| {
        RecognizedSplit::new(&part.name, role, part.items.iter().map(|&file| paths[file].clone()).collect())
    });
    Ok(Sides { train: pick(SplitRole::Train), test: pick(SplitRole::Test), splits: splits.collect() })
}

/// The role of each split of these names and words: those chosen; else every split with a word for training, and the first word
/// for testing.
///
/// # Errors
/// Returns [`DataError::Config`] if a chosen split does not exist or is chosen for both.
pub(super) fn roles(splits: &[Named], chosen: &Chosen) -> DataResult<Vec<SplitRole>> {
    let is = |list: &[String], name: &str| list.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    for (field, list) in [("data.train_splits", chosen.train), ("data.test_splits", chosen.test)] {
        if let Some(missing) =
            list.iter().find(|wanted| !splits.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted)))
        {
            let there = splits.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let reason = format!("got {missing:?}, expected splits of these data: {there}");
            return Err(DataError::config(field, reason));
        }
    }
    if let Some(both) = chosen.train.iter().find(|name| is(chosen.test, name)) {
        let reason = format!("got {both:?}, which is one of data.train_splits too, expected other splits");
        return Err(DataError::config("data.test_splits", reason));
    }
    let for_training = |(name, word): Named| match chosen.train.is_empty() {
        true => word.is_some_and(|(_, purpose)| purpose == Purpose::Train) && !is(chosen.test, name),
        false => is(chosen.train, name),
    };
    let test_word = |split: Named| {
        let (word, purpose) = split.1?;
        (purpose == Purpose::Test && !for_training(split)).then_some(word)
    };
    let words: Vec<_> = splits.iter().filter_map(|&split| test_word(split)).collect();
    let first = TEST_NAMES.iter().copied().find(|word| words.contains(word));
    let for_testing = |split: Named| match chosen.test.is_empty() {
        true => test_word(split).is_some() && test_word(split) == first,
        false => is(chosen.test, split.0),
    };
    Ok(splits
        .iter()
        .map(|&split| match (for_training(split), for_testing(split)) {
            (true, _) => SplitRole::Train,
            (false, true) => SplitRole::Test,
            (false, false) => SplitRole::Unused,
        })
        .collect())
}

/// The word for a split in a path: in the file's name, else in the deepest folder that has one. A file of a further split
/// (`testmini-0.parquet`, `test/extra-0.parquet`) has none.
fn split_word(path: &str) -> Option<(&'static str, Purpose)> {
    let mut names = path.rsplit(['/', '\\']);
    names.find_map(|name| word_in(name).map(Some).or_else(|| is_other(name).then_some(None))).flatten()
}

/// The name of the split of a file without a known word: `extra` for `data/extra-00000-of-00002.parquet`, `unlabeled` for
/// `unlabeled/0000.parquet`.
fn unknown_name(path: &str) -> String {
    let names: Vec<&str> = path.rsplit(['/', '\\']).collect();
    let stem = names.first().map_or("", |name| name.split('.').next().unwrap_or(name));
    let stem = stem.split("-of-").next().unwrap_or(stem);
    let unnumbered = stem.trim_end_matches(|c: char| c.is_ascii_digit() || "-_ ".contains(c));
    let generic = ["part", "shard", "data", "images", ""].contains(&unnumbered.to_ascii_lowercase().as_str());
    match (generic, names.get(1)) {
        (true, Some(folder)) => (*folder).to_owned(),
        (true, None) if unnumbered.is_empty() => stem.to_owned(),
        _ => unnumbered.to_owned(),
    }
}

impl<T> Sides<T> {
    /// The description of these splits, whose images are not counted yet.
    pub(super) fn recognized(&self, layout: &str) -> Recognized {
        self.splits.iter().cloned().fold(Recognized::new(layout), Recognized::with)
    }

    /// Enters the images and labeled images of each file of one side, in the order of the side.
    pub(super) fn count(recognized: &mut Recognized, split: Split, of_files: &[(usize, usize)]) {
        let mut files = of_files.iter();
        for found in recognized.splits.iter_mut().filter(|found| found.role == split.into()) {
            let counts = files.by_ref().take(found.places.len());
            let (images, labeled) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            (found.images, found.labeled) = (Some(images as u64), Some(labeled as u64));
        }
    }
}

/// The error of data without a split that is wanted: it lists the splits that exist.
pub(super) fn missing(given: &str, split: Split, found: &[RecognizedSplit], expected: &str) -> DataError {
    let (word, key) = match split {
        Split::Train => ("train", "data.train_splits"),
        Split::Test => ("test", "data.test_splits"),
    };
    let others: Vec<_> = found.iter().filter(|found| found.role != SplitRole::Train).map(|found| &found.name).collect();
    let expected = match others.first() {
        None => expected.to_owned(),
        Some(first) => {
            let names = others.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            format!("{expected}; its other splits are {names}: {key} = [{first:?}] uses one")
        }
    };
    DataError::NoSplit { given: given.to_owned(), split: word, expected }
}

#[cfg(test)]
#[path = "splits/tests.rs"]
mod tests;
