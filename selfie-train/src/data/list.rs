//! A list of images: a text file with a path a line, and maybe a label ([`lines`] has the forms).
//!
//! Paths are relative to the list. Labels are words; if all are whole numbers, classes are in the order of the numbers. `-1` and
//! nothing mean no label. A list whose name says `train` has its test split in the list beside it that says `val`, `validation`,
//! `test` or another word for a test split instead.

mod lines;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::error::{DataError, DataResult};
use super::label_words::{LabelWords, class_names};
use super::names::{Names, os_name};
use super::recognized::{Recognized, RecognizedSplit, SplitRole};
use super::source::{NO_LABEL, Opened, Source, Split, Stored, some_label};
use super::splits::{TEST_NAMES, TRAIN_NAMES, missing};
use super::storage::read_image;
use lines::{EXPECTED, Form};

/// One list.
struct List {
    folder: PathBuf,
    names: Names,
    labels: Vec<u32>, // empty where no line has one
}

/// Lines whose files are looked for when a list is opened.
const CHECKED: usize = 4096;

/// The content of a list.
struct Lines {
    names: Names,
    words: LabelWords,
    numbers: Vec<u32>, // of the lines
    missing: Option<String>,
}

/// Opens the list `file`, or the one beside it that is its test split.
pub(super) fn open(given: &str, file: &Path, split: Split) -> DataResult<Opened> {
    let test = test_list(file);
    let train_lines = read(file)?;
    let test_lines = test.as_deref().map(read).transpose()?;
    // Both lists give the classes, so that a class keeps its number.
    let sets: Vec<_> = std::iter::once(&train_lines).chain(&test_lines).map(|lines| &lines.words).collect();
    let classes = class_names(&sets);
    let mut recognized = Recognized::new("a list of images");
    let mut describe = |file: &Path, role, lines: &Lines| {
        let labeled = lines.words.of_images().iter().filter(|&&word| word != NO_LABEL).count();
        let place = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if role == SplitRole::Train { "train" } else { "test" };
        recognized.splits.push(RecognizedSplit::new(name, role, vec![place]).counted(lines.names.len(), labeled));
        recognized.remarks.extend(lines.missing.clone());
    };
    describe(file, SplitRole::Train, &train_lines);
    if let (Some(file), Some(lines)) = (&test, &test_lines) {
        describe(file, SplitRole::Test, lines);
    }
    let (Lines { names, words, .. }, file) = match (split, test_lines, &test) {
        (Split::Train, ..) => (train_lines, file),
        (Split::Test, Some(lines), Some(test)) => (lines, test.as_path()),
        (Split::Test, ..) => {
            let expected = "a list called train... and beside it one called val..., validation... or test...";
            return Err(missing(given, split, &[], expected));
        }
    };
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let source = List { folder, names, labels: words.numbered(&classes) };
    Ok(Opened::new(source, classes, recognized))
}

/// The paths and labels of a list, and whether the files exist.
fn read(file: &Path) -> DataResult<Lines> {
    let bytes = std::fs::read(file).map_err(DataError::io(file))?;
    let is_csv = file.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("csv"));
    let read = parse(&bytes, is_csv).map_err(|reason| DataError::List { path: file.to_path_buf(), reason })?;
    check_files(file, read)
}

/// The paths and labels of the lines; empty lines are passed over.
fn parse(bytes: &[u8], is_csv: bool) -> Result<Lines, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("UTF-16 text, expected UTF-8".to_owned());
    }
    let (form, heading) = Form::of(bytes, is_csv).map_err(|reason| format!("line 1: {reason}"))?;
    let (mut names, mut words, mut numbers) = (Names::default(), LabelWords::default(), Vec::new());
    for (number, line) in lines::lines(bytes).skip(heading.into()) {
        let (path, label) =
            form.entry(line).map_err(|reason| format!("line {number}: {reason}, expected {EXPECTED}"))?;
        if names.push(&path).is_none() {
            return Err(format!("line {number}: the names so far take 4 GiB, expected less"));
        }
        words.push(label.as_deref());
        numbers.push(number as u32);
    }
    if names.len() == 0 {
        return Err(format!("no line, expected {EXPECTED}"));
    }
    names.shrink();
    Ok(Lines { names, words, numbers, missing: None })
}

/// Looks for the files of a spread sample of the lines.
///
/// # Errors
/// Returns [`DataError::List`] if more than half of the files do not exist: the paths are relative to another folder, or the lines
/// have another form.
fn check_files(file: &Path, mut lines: Lines) -> DataResult<Lines> {
    let (count, folder) = (lines.names.len(), file.parent().unwrap_or(Path::new("")));
    let checked = count.min(CHECKED);
    let at = |i: usize| i * count / checked;
    let path = |i: usize| os_name(lines.names.get(at(i)));
    let missing: Vec<usize> = (0..checked).filter(|&i| !folder.join(path(i)).exists()).collect();
    let Some(&first) = missing.first() else { return Ok(lines) };
    let (number, name) = (lines.numbers[at(first)], path(first));
    let shown = Path::new(&name).display().to_string();
    if 2 * missing.len() <= checked {
        lines.missing = Some(format!(
            "{} of {checked} files of {} that were looked for do not exist, the first one on line {number}: {shown}",
            missing.len(),
            file.file_name().unwrap_or_default().to_string_lossy()
        ));
        return Ok(lines);
    }
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut reason = format!(
        "line {number}: {shown:?} is not a file in {}, expected {EXPECTED}; paths are relative to the list's folder",
        place.display()
    );
    if Path::new(&name).exists() {
        reason += "\nhint: the file exists relative to the working folder; move the list there or write absolute paths";
    }
    Err(DataError::List { path: file.to_path_buf(), reason })
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
