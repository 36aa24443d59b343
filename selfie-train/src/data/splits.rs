//! Which split a file belongs to, by the words in its path.
//!
//! `data/train-00000-of-00002.parquet` and `plain_text/test/0000.parquet` say it in their names or folders. Of the other splits
//! the first of `val`, `validation`, `test` is the one to test on.

/// Names of the split to train on.
pub(super) const TRAIN_NAMES: [&str; 2] = ["train", "training"];

/// Names of the split to test on, the preferred one first.
pub(super) const TEST_NAMES: [&str; 4] = ["val", "validation", "valid", "test"];

/// Files to train on and files to test on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sides<T> {
    pub(super) train: Vec<T>,
    pub(super) test: Vec<T>,
}

/// Sorts files by split. Those that name none are there to train on; where no file is, all are.
pub(super) fn sides<T: Clone>(files: &[T], path: impl Fn(&T) -> String) -> Sides<T> {
    let words: Vec<_> = files.iter().map(|file| split_word(&path(file))).collect();
    let chosen = TEST_NAMES.iter().copied().find(|name| words.contains(&Some(name)));
    let pick = |wanted: &dyn Fn(Option<&str>) -> bool| {
        files.iter().zip(&words).filter(|(_, word)| wanted(**word)).map(|(file, _)| file.clone()).collect::<Vec<_>>()
    };
    let train = pick(&|word| word.is_none_or(|word| TRAIN_NAMES.contains(&word)));
    match train.is_empty() {
        true => Sides { train: files.to_vec(), test: Vec::new() },
        false => Sides { train, test: pick(&|word| word.is_some() && word == chosen) },
    }
}

/// The word for a split in a path: in the file's name, else in the deepest folder that has one.
fn split_word(path: &str) -> Option<&'static str> {
    let known =
        |word: &str| TRAIN_NAMES.iter().chain(&TEST_NAMES).copied().find(|name| name.eq_ignore_ascii_case(word));
    let words = |part: &str| part.split(|c: char| !c.is_ascii_alphabetic()).find_map(known);
    path.rsplit(['/', '\\']).find_map(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str]) -> (Vec<String>, Vec<String>) {
        let files: Vec<_> = files.iter().map(ToString::to_string).collect();
        let Sides { train, test } = sides(&files, Clone::clone);
        (train, test)
    }

    #[test]
    fn names_and_folders_tell_the_split() {
        let (train, test) =
            of(&["data/train-00000-of-00001.parquet", "data/validation-0.parquet", "data/test-0.parquet"]);
        assert_eq!((train.len(), test), (1, vec!["data/validation-0.parquet".to_owned()]));
        let (train, test) = of(&["plain_text/train/0000.parquet", "plain_text/test/0000.parquet"]);
        assert_eq!((train.len(), test.len()), (1, 1));
        assert_eq!(split_word("latest/0.tar"), None); // a word, not a part of one
    }

    #[test]
    fn files_without_a_word_are_there_to_train_on() {
        assert_eq!(of(&["a.tar", "b.tar"]), (vec!["a.tar".to_owned(), "b.tar".to_owned()], vec![]));
        assert_eq!(of(&["val-0.tar", "val-1.tar"]).0.len(), 2);
        assert_eq!(of(&["shard-0.tar", "val-1.tar"]), (vec!["shard-0.tar".to_owned()], vec!["val-1.tar".to_owned()]));
    }
}
