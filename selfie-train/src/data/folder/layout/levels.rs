//! Which level of folders are the splits, and which the classes.

use std::path::{Path, PathBuf};

use super::super::super::splits::{Chosen, Purpose, is_other, known, word_in};
use super::super::tree::Tree;
use super::{name_of, only_folder, own_images, with_images};

/// A word for a split and its purpose.
type Word = Option<(&'static str, Purpose)>;

/// What remains of a split's name beside its word and numbers without changing its meaning, the most general first.
const GENERIC: [&str; 9] = ["", "set", "data", "dataset", "images", "image", "imgs", "img", "split"];

/// Parts of names of folders that describe the images of another folder.
const DESCRIPTIONS: [&str; 6] = ["mask", "label", "annot", "truth", "depth", "edges"];

/// Names of folders that hold all images of a split.
const IMAGE_FOLDERS: [&str; 8] = ["images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "data"];

/// The word of each folder that is a split to train or test on, if the folders called `names` are splits. `nested` returns
/// whether a folder holds folders of images.
pub(super) fn split_level(names: &[String], nested: impl Fn(usize) -> bool, chosen: &Chosen) -> Option<Vec<Word>> {
    let words = split_words(names);
    let first = |purpose| words.iter().position(|word| word.is_some_and(|(_, found)| found == purpose));
    let aside =
        |at: usize| words[at].is_some() || is_other(&names[at]) || describes(&names[at]) || has_word(&names[at]);
    let by_words = match (first(Purpose::Train), first(Purpose::Test)) {
        (Some(train), None) => names.len() == 1 || nested(train) || (0..names.len()).all(aside),
        (Some(_), Some(_)) => true,
        (None, Some(_)) => (0..names.len()).all(aside),
        (None, None) => false,
    };
    let mut wanted = chosen.train.iter().chain(chosen.test).peekable();
    let by_choice =
        wanted.peek().is_some() && wanted.all(|wanted| names.iter().any(|name| name.eq_ignore_ascii_case(wanted)));
    (by_words || by_choice).then_some(words)
}

/// The word of each name that is a split: exact names, and `training_set` or `seg_train` if the other names leave no doubt.
fn split_words(names: &[String]) -> Vec<Word> {
    let exact = |purpose| names.iter().any(|name| known(name).is_some_and(|(_, found)| found == purpose));
    let all = names.len() > 1 && names.iter().all(|name| has_word(name) || is_other(name) || describes(name));
    let paired = |rest: &str, purpose| {
        let others = names.iter().filter_map(|name| Some((word_in(name)?.1, rest_of(name))));
        others.into_iter().any(|(other, its)| other != purpose && its == rest)
    };
    // Of several folders for one purpose, those with the same rest of the name are one split; the most general rest is taken.
    let best = |purpose: Purpose| {
        let rests = names.iter().filter(|name| word_in(name).is_some_and(|(_, found)| found == purpose));
        let rests = rests.filter(|name| !is_other(name) && !describes(name)).map(|name| rest_of(name));
        let rank = |rest: &String| GENERIC.iter().position(|generic| generic == rest).unwrap_or(GENERIC.len());
        rests.min_by_key(|rest| (!paired(rest, purpose), rank(rest), rest.clone()))
    };
    let (train_rest, test_rest) = (best(Purpose::Train), best(Purpose::Test));
    let word = |name: &String| {
        if let Some(word) = known(name) {
            return Some(word);
        }
        let (word, purpose) = word_in(name).filter(|_| !is_other(name) && !describes(name))?;
        let rest = rest_of(name);
        let clear = all || GENERIC.contains(&rest.as_str()) || paired(&rest, purpose);
        let best = match purpose {
            Purpose::Train => !exact(purpose) && train_rest.as_ref() == Some(&rest),
            Purpose::Test => paired(&rest, purpose) || test_rest.as_ref() == Some(&rest),
        };
        (clear && best).then_some((word, purpose))
    };
    names.iter().map(word).collect()
}

/// The folder that holds the classes or images of the split in `top`, below folders that each hold all of it. A class of another
/// split is not passed through.
pub(super) fn class_level(tree: &Tree, top: &Path, classes: &[String]) -> PathBuf {
    let mut dir = top.to_path_buf();
    while let Some(inner) = only_folder(tree, &dir) {
        let (name, outer) = (name_of(&inner).to_ascii_lowercase(), name_of(&dir));
        let same_word = word_in(&name).is_some_and(|word| Some(word.1) == word_in(&outer).map(|outer| outer.1));
        let of_classes = own_images(tree, &inner) == 0 && with_images(tree, &inner).nth(1).is_some();
        let passed = same_word || outer.eq_ignore_ascii_case(&name) || IMAGE_FOLDERS.contains(&name.as_str());
        if classes.contains(&name_of(&inner)) || !(passed || of_classes) {
            break;
        }
        dir = inner;
    }
    dir
}

fn has_word(name: &str) -> bool {
    word_in(name).is_some()
}

/// Whether a folder holds descriptions of images, by its name.
fn describes(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    DESCRIPTIONS.iter().any(|part| name.contains(part))
}

/// A name without its word for a split and without numbers: `set` of `training_set`.
fn rest_of(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty() && known(word).is_none());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}
