//! Splits of files, by their paths.

use super::*;

/// Each split's name with its files and role.
fn of(files: &[&str], train: &[&str], test: &[&str]) -> DataResult<Vec<(String, Vec<String>, SplitRole)>> {
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (train, test) = (own(train), own(test));
    let sides = sides(&own(files), Clone::clone, &Chosen { train: &train, test: &test })?;
    let with = |role| {
        let those = sides.splits.iter().filter(move |split| split.role == role);
        those.flat_map(|split| split.places.clone()).collect::<Vec<_>>()
    };
    assert_eq!((&sides.train, &sides.test), (&with(SplitRole::Train), &with(SplitRole::Test)));
    Ok(sides.splits.into_iter().map(|split| (split.name, split.places, split.role)).collect())
}

/// The names of the splits with a role, for files that are named by the words alone.
fn names(files: &[&str], role: SplitRole) -> Vec<String> {
    of(files, &[], &[]).unwrap().into_iter().filter(|split| split.2 == role).map(|split| split.0).collect()
}

/// Given files, then those to train on, to test on and not to read.
type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);

/// Expected values: `datasets` 5.2.0, `get_data_patterns` on the same file names. It keeps every word in its own split; which of
/// several test splits is read, and that further splits are listed, is this crate's rule.
#[test]
fn files_of_other_splits_are_not_trained_on() {
    use SplitRole::{Test, Train, Unused};
    let cases: [Case; 8] = [
        (&["train-0.parquet", "dev-0.parquet"], &["train"], &["dev"], &[]),
        (&["train-0.parquet", "eval-0.parquet", "holdout-0.parquet"], &["train"], &["eval"], &["holdout"]),
        (&["train-0.parquet", "testmini-0.parquet", "test-0.parquet"], &["train"], &["test"], &["testmini"]),
        (
            &[
                "data/train-00000-of-00001.parquet",
                "data/extra-00000-of-00002.parquet",
                "data/test-00000-of-00001.parquet",
            ],
            &["train"],
            &["test"],
            &["extra"],
        ),
        (&["train/0000.parquet", "unlabeled/0000.parquet", "test/0000.parquet"], &["train"], &["test"], &["unlabeled"]),
        (&["training.tar", "testing.tar", "validation.tar"], &["training"], &["validation"], &["testing"]),
        (&["Train-1.tar", "VAL-1.tar", "Evaluation.tar"], &["train"], &["val"], &["evaluation"]),
        (&["train-0.tar", "odd_one_12.tar"], &["train"], &[], &["odd_one"]),
    ];
    for (files, train, test, unused) in cases {
        assert_eq!(names(files, Train), train, "{files:?}");
        assert_eq!(names(files, Test), test, "{files:?}");
        assert_eq!(names(files, Unused), unused, "{files:?}");
    }
}

#[test]
fn files_without_a_word_are_trained_on_if_none_has_the_word_for_training() {
    let all = of(&["a.tar", "b.tar"], &[], &[]).unwrap();
    assert_eq!(all, [("train".to_owned(), vec!["a.tar".to_owned(), "b.tar".to_owned()], SplitRole::Train)]);
    assert_eq!(names(&["shard-0.tar", "val-1.tar"], SplitRole::Train), ["train"]);
    assert_eq!(names(&["latest/0.tar"], SplitRole::Train), ["train"]); // a word, not a part of one
    assert_eq!(names(&["extra-0.tar", "test-1.tar"], SplitRole::Train), [""; 0]);
    assert_eq!(names(&["val-0.tar", "val-1.tar"], SplitRole::Train), [""; 0]);
}

#[test]
fn splits_are_chosen_by_name() {
    let files = ["train-0.parquet", "extra-0.parquet", "test-0.parquet", "val-0.parquet"];
    let role = |train: &[&str], test: &[&str]| of(&files, train, test).unwrap().iter().map(|s| s.2).collect::<Vec<_>>();
    use SplitRole::{Test, Train, Unused};
    assert_eq!(role(&["train", "extra"], &[]), [Train, Train, Unused, Test]);
    assert_eq!(role(&[], &["TEST"]), [Train, Unused, Test, Unused]);
    assert_eq!(role(&["extra", "val"], &[]), [Unused, Train, Test, Train]);
    let text = of(&files, &["extras"], &[]).unwrap_err().to_string();
    assert!(text.contains("data.train_splits") && text.contains("\"extra\", \"test\""), "{text}");
    assert!(of(&files, &["val"], &["val"]).unwrap_err().to_string().starts_with("data.test_splits"));
}
