//! A list of images: a text file with a path a line, and a label behind a tab where there is one.
//!
//! Paths are relative to the list. Labels are words; where all are whole numbers they are in the order of the numbers. A list
//! whose name says `train` has its test split in the list beside it that says `val`, `validation` or `test` instead.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::error::{DataError, DataResult};
use super::label_words::{LabelWords, class_names};
use super::names::{Names, os_name};
use super::source::{Opened, Source, Split, Stored, some_label};
use super::splits::{TEST_NAMES, TRAIN_NAMES};
use super::storage::read_image;

/// One list.
struct List {
    folder: PathBuf,
    names: Names,
    labels: Vec<u32>, // empty where no line has one
}

/// Opens the list `file`, or the one beside it that is its test split.
pub(super) fn open(given: &str, file: &Path, split: Split) -> DataResult<Opened> {
    let test = test_list(file);
    let train_lines = read(file)?;
    let test_lines = test.as_deref().map(read).transpose()?;
    // Both lists give the classes, so that a class keeps its number.
    let sets: Vec<_> = std::iter::once(&train_lines).chain(&test_lines).map(|(_, words)| words).collect();
    let classes = class_names(&sets);
    let has_test_split = test.is_some();
    let ((names, words), file) = match (split, test_lines, &test) {
        (Split::Train, ..) => (train_lines, file),
        (Split::Test, Some(lines), Some(test)) => (lines, test.as_path()),
        (Split::Test, ..) => {
            let expected = "a list called train... and beside it one called val..., validation... or test...";
            return Err(DataError::NoSplit { given: given.to_string(), split: "test", expected });
        }
    };
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let source = List { folder, names, labels: words.numbered(&classes) };
    Ok(Opened { source: Box::new(source), classes, has_test_split })
}

fn read(file: &Path) -> DataResult<(Names, LabelWords)> {
    parse(&std::fs::read(file).map_err(DataError::io(file))?).map_err(|reason| DataError::format(file, reason))
}

/// The paths and labels of a list's lines; empty lines are passed over.
fn parse(bytes: &[u8]) -> Result<(Names, LabelWords), String> {
    let (mut names, mut words) = (Names::default(), LabelWords::default());
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let fail = |reason: &str| Err(format!("line {}: {reason}", number + 1));
        let tab = line.iter().position(|&byte| byte == b'\t');
        let (path, label) = line.split_at(tab.unwrap_or(line.len()));
        if path.is_empty() || path.contains(&0) {
            return fail("expected the path of an image, then maybe a tab and a label");
        }
        let Ok(label) = std::str::from_utf8(label) else {
            return fail("the label is no UTF-8 text");
        };
        if names.push(path).is_none() {
            return fail("the names so far take 4 GiB, expected less");
        }
        words.push(Some(label.trim()).filter(|label| !label.is_empty()));
    }
    if names.len() == 0 {
        return Err("no line, expected the path of an image a line".to_owned());
    }
    names.shrink();
    Ok((names, words))
}

/// The list of the test split that belongs to a list of the train split.
fn test_list(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    let train = TRAIN_NAMES.iter().rev().find(|word| name.contains(**word))?; // the longer word first
    let mut candidates = TEST_NAMES.iter().map(|test| file.with_file_name(name.replacen(train, test, 1)));
    candidates.find(|candidate| candidate.is_file())
}

impl Source for List {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn label(&self, i: usize) -> Option<u32> {
        some_label(self.labels.get(i).copied()?)
    }

    fn name(&self, i: usize) -> String {
        self.names.text(i).into_owned()
    }

    fn path(&self, i: usize) -> PathBuf {
        self.folder.join(os_name(self.names.get(i)))
    }

    fn read(&self, i: usize) -> DataResult<Stored<'_>> {
        Ok(Stored::File(Cow::Owned(read_image(&self.path(i))?)))
    }
}
