//! Splits by the names of the files, `train_1.png` beside `test_1.png`, in a folder without folders for splits.
//!
//! Hugging Face's `datasets` reads such folders so. There, a file without a word is lost if another file has one; here, the
//! names decide only if every one of them has a word, and some are to train and some to test on.

use std::ops::Range;
use std::path::Path;

use super::super::error::DataResult;
use super::super::recognized::SplitRole;
use super::super::splits::{Chosen, Named, Purpose, known, roles, word_in};
use super::layout::text;
use super::tree::Tree;

/// Images of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedSplit {
    pub(super) name: String,
    pub(super) role: SplitRole,
    /// Images that lie side by side in the tree.
    pub(super) files: Vec<Range<u32>>,
}

/// What the names of the files say.
pub(super) enum Names {
    /// They are the splits.
    Splits(Vec<NamedSplit>),
    /// So many have a word for a test split, but not every one has a word; the first of them.
    Unclear(usize, String),
    /// No name has a word for a test split.
    Plain,
}

/// Looks at the names of the images in and below `base`.
///
/// # Errors
/// Returns [`super::DataError::Config`] if the names are the splits and a chosen split is not among them.
pub(super) fn look(tree: &Tree, base: &Path, chosen: &Chosen) -> DataResult<Names> {
    let files = tree.files_in(tree.below(base));
    let word = |file: u32| word_in(&text(tree.file_name(file).file_stem().unwrap_or_default()));
    let (mut with_word, mut tests, mut first) = (0, 0, None);
    let mut splits: Vec<NamedSplit> = Vec::new();
    for file in files.clone() {
        let Some((name, purpose)) = word(file) else { continue };
        with_word += 1;
        if purpose == Purpose::Test {
            tests += 1;
            first.get_or_insert(file);
        }
        match splits.iter_mut().find(|split| split.name == name) {
            Some(split) => push(&mut split.files, file),
            None => splits.push(NamedSplit {
                name: name.to_owned(),
                role: SplitRole::Unused,
                files: std::iter::once(file..file + 1).collect(),
            }),
        }
    }
    let Some(first) = first else { return Ok(Names::Plain) };
    if with_word < files.len() || tests == with_word {
        return Ok(Names::Unclear(tests, text(tree.file_name(first).as_os_str())));
    }
    let named: Vec<Named> = splits.iter().map(|split| (split.name.as_str(), known(&split.name))).collect();
    let roles = roles(&named, chosen)?;
    splits.iter_mut().zip(roles).for_each(|(split, role)| split.role = role);
    Ok(Names::Splits(splits))
}

/// Adds an image behind those that are there already.
fn push(files: &mut Vec<Range<u32>>, file: u32) {
    match files.last_mut().filter(|range| range.end == file) {
        Some(range) => range.end = file + 1,
        None => files.push(file..file + 1),
    }
}
