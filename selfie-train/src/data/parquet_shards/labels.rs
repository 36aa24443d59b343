//! Labels of parquet files, and the classes of a set of them.
//!
//! Integers, whole floats and truth values are the numbers of their classes. Words are sorted over all files of all splits, so
//! that a word has one number everywhere. Null, not-a-number, -1 and the empty word are no label.

use super::super::label_words::{LabelWords, class_names, some_word};
use super::super::source::NO_LABEL;
use super::columns::Values;

/// Classes of a set, at most: a label beyond is damage, or a column that holds something else.
const MOST_CLASSES: usize = 1 << 20;

/// Length of a word, at most.
const LONGEST_WORD: usize = 4096;

/// A label as its column holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Label<'a> {
    None,
    Number(i128),
    Float(f64),
    Word(&'a [u8]),
}

/// The labels of a file, in the order of its rows; both fields are empty if the file has no label column.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    numbers: Vec<u32>,
    words: LabelWords,
}

impl Labels {
    /// Adds the label of the next row.
    pub(super) fn push(&mut self, label: Label<'_>, values: Values) -> Result<(), String> {
        match label {
            Label::None if values == Values::Words => self.words.push(None),
            Label::Word(bytes) => {
                let word = std::str::from_utf8(bytes).ok().filter(|word| word.len() <= LONGEST_WORD);
                let word = word.ok_or_else(|| {
                    let row = self.len();
                    format!("row {row}: a label of {} bytes, expected text of at most {LONGEST_WORD}", bytes.len())
                })?;
                self.words.push(some_word(word));
                if self.words.words().len() > MOST_CLASSES {
                    return Err(format!("more than {MOST_CLASSES} different labels, expected classes"));
                }
            }
            Label::None => self.numbers.push(NO_LABEL),
            Label::Float(value) if value.is_nan() => self.numbers.push(NO_LABEL),
            Label::Float(value) if value.fract() != 0.0 || value.abs() >= 1e15 => {
                return Err(format!("row {}: label {value}, expected a whole number", self.len()));
            }
            Label::Float(value) => return self.number(value as i128),
            Label::Number(number) => return self.number(number),
        }
        Ok(())
    }

    /// Number of rows with a label.
    pub(super) fn labeled(&self) -> usize {
        let all = self.numbers.iter().chain(self.words.of_images());
        all.filter(|&&label| label != NO_LABEL).count()
    }

    fn number(&mut self, number: i128) -> Result<(), String> {
        let class = match usize::try_from(number) {
            _ if number == -1 => NO_LABEL,
            Ok(class) if class < MOST_CLASSES => class as u32,
            _ => {
                let row = self.len();
                return Err(format!(
                    "row {row}: label {number}, expected a class counted from 0, below {MOST_CLASSES}, or -1 for none"
                ));
            }
        };
        self.numbers.push(class);
        Ok(())
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.numbers.len() + self.words.of_images().len()
    }

    /// The labels as numbers of `classes`.
    pub(super) fn numbered(self, classes: &[String]) -> Result<Vec<u32>, String> {
        if !self.words.of_images().is_empty() {
            let mut labels = self.words.clone().numbered(classes);
            labels.resize(self.words.of_images().len(), NO_LABEL); // no row has a word
            return Ok(labels);
        }
        let beyond = self.numbers.iter().position(|&label| label != NO_LABEL && label as usize >= classes.len());
        match beyond {
            None => Ok(self.numbers),
            Some(row) => {
                let (label, last) = (self.numbers[row], classes.len().saturating_sub(1));
                Err(format!("row {row}: label {label}, expected 0 to {last}, or -1 for none"))
            }
        }
    }
}

/// The classes of a set whose files do not name them: its words, or the numbers up to the largest label.
pub(super) fn classes<'a>(values: Values, files: impl Iterator<Item = &'a Labels> + Clone) -> Vec<String> {
    match values {
        Values::Words => class_names(&files.map(|labels| &labels.words).collect::<Vec<_>>()),
        Values::Truth => ["false", "true"].map(String::from).to_vec(),
        _ => {
            let labels = files.flat_map(|labels| &labels.numbers).filter(|&&label| label != NO_LABEL);
            let count = labels.max().map_or(0, |&most| most + 1);
            (0..count).map(|class| class.to_string()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: Values, labels: &[Label<'_>]) -> Result<Labels, String> {
        let mut all = Labels::default();
        labels.iter().try_for_each(|label| all.push(*label, values))?;
        Ok(all)
    }

    #[test]
    fn no_label_is_null_minus_one_not_a_number_or_an_empty_word() {
        let floats = [Label::Float(2.0), Label::Float(-1.0), Label::Float(f64::NAN), Label::None];
        let floats = of(Values::Floats, &floats).unwrap();
        assert_eq!(classes(Values::Floats, [&floats].into_iter()), ["0", "1", "2"]);
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(floats.numbered(&names).unwrap(), [2, NO_LABEL, NO_LABEL, NO_LABEL]);
        let words = [Label::Word(b"dog"), Label::None, Label::Word(b""), Label::Word(b"-1"), Label::Word(b"cat")];
        let words = of(Values::Words, &words).unwrap();
        let classes = classes(Values::Words, [&words].into_iter());
        assert_eq!(classes, ["cat", "dog"]);
        assert_eq!(words.numbered(&classes).unwrap(), [1, NO_LABEL, NO_LABEL, NO_LABEL, 0]);
        assert_eq!(of(Values::Words, &[Label::None; 3]).unwrap().numbered(&[]).unwrap(), [NO_LABEL; 3]);
    }

    #[test]
    fn what_is_no_class_is_named_with_its_row() {
        let error = |values, label| of(values, &[Label::None, label]).unwrap_err();
        assert!(error(Values::Floats, Label::Float(0.5)).contains("row 1: label 0.5, expected a whole number"));
        assert!(error(Values::Floats, Label::Float(f64::INFINITY)).contains("label inf"));
        assert!(error(Values::Signed, Label::Number(-2)).contains("row 1: label -2, expected a class counted from 0"));
        assert!(error(Values::Unsigned, Label::Number(u64::MAX.into())).contains("row 1: label 18446744073709551615"));
        assert!(error(Values::Words, Label::Word(b"\xff\xfe")).contains("row 1: a label of 2 bytes, expected text"));
        let two = of(Values::Signed, &[Label::Number(0), Label::Number(2)]).unwrap();
        let error = two.numbered(&["a", "b"].map(String::from)).unwrap_err();
        assert!(error.contains("row 1: label 2, expected 0 to 1"), "{error}");
    }

    #[test]
    fn words_have_one_number_over_all_files() {
        let files =
            [of(Values::Words, &[Label::Word(b"bee")]).unwrap(), of(Values::Words, &[Label::Word(b"ant")]).unwrap()];
        let all = classes(Values::Words, files.iter());
        let [first, second] = files.map(|file| file.numbered(&all).unwrap());
        assert_eq!((all.as_slice(), first[0], second[0]), (&["ant", "bee"].map(String::from)[..], 1, 0));
    }
}
