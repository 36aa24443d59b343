//! Tables and archives of the kinds that people have, as pyarrow 26.0.1 and webdataset 1.0.2 write and read them
//! (`xtask/golden/data_tables.py` describes them).
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use selfie_train::{DataError, Dataset, Split};

fn formats(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn open(given: &str, split: Split) -> Result<Dataset, DataError> {
    let (scheme, name) = given.split_once(':').unwrap();
    Dataset::open(&format!("{scheme}:{}", formats(name).display()), split)
}

fn train(given: &str) -> Dataset {
    open(given, Split::Train).unwrap()
}

fn message(given: &str) -> String {
    open(given, Split::Train).unwrap_err().to_string()
}

fn labels(data: &Dataset) -> Vec<Option<u32>> {
    (0..data.len()).map(|i| data.label(i)).collect()
}

/// Label column `name` of the file that has one of every type.
fn column(name: &str) -> (Vec<Option<u32>>, Vec<String>) {
    let data = train(&format!("parquet:tables/kinds.parquet,label={name}"));
    (labels(&data), data.classes().to_vec())
}

#[test]
fn every_type_of_label_column_is_read() {
    let (none, counted) = (None, |count: u32| (0..count).map(|i| i.to_string()).collect::<Vec<_>>());
    for bits in [8, 16, 32, 64] {
        let expected = vec![Some(0), Some(1), none, none, Some(2), Some(0)];
        assert_eq!(column(&format!("int{bits}")), (expected, counted(3)), "int{bits}");
        let expected = vec![Some(0), Some(1), none, Some(3), Some(2), Some(0)];
        assert_eq!(column(&format!("uint{bits}")), (expected, counted(4)), "uint{bits}");
    }
    for name in ["float32", "float64"] {
        assert_eq!(column(name), (vec![Some(0), Some(1), none, none, Some(2), none], counted(3)), "{name}");
    }
    let expected = vec![Some(0), Some(1), none, none, Some(2), Some(0)];
    assert_eq!(column("dictionary_of_integers"), (expected, counted(3)));
    let expected = vec![Some(0), Some(1), none, Some(1), Some(0), Some(0)];
    assert_eq!(column("bool"), (expected, ["false", "true"].map(String::from).to_vec()));
    for name in ["string", "large_string", "string_view", "dictionary"] {
        let expected = vec![Some(1), Some(2), none, none, Some(0), Some(1)];
        assert_eq!(column(name), (expected, ["ant", "cat", "dog"].map(String::from).to_vec()), "{name}");
    }
    assert_eq!(column("null"), (vec![none; 6], Vec::new()));
}

#[test]
fn a_label_column_that_cannot_be_one_is_named_with_its_type() {
    let text = |name: &str| message(&format!("parquet:tables/kinds.parquet,label={name}"));
    let expected = "expected integers, whole floats, truth values or words";
    assert!(text("list").contains(&format!("column list (list<int64>), {expected}")), "{}", text("list"));
    assert!(text("date").contains(&format!("column date (date), {expected}")), "{}", text("date"));
    assert!(text("image").contains("column image (struct<bytes, path>)"), "{}", text("image"));
    assert!(
        text("half").contains("column half (double): row 1: label 0.5, expected a whole number"),
        "{}",
        text("half")
    );
    assert!(text("below").contains("column below (int64): row 2: label -2, expected a class"), "{}", text("below"));
    assert!(
        text("absent").contains("no label column absent, expected one of image (struct<bytes, path>), int8 (int8)")
    );
    for name in ["lists", "measured"] {
        assert_eq!(labels(&train(&format!("parquet:tables/{name}.parquet"))), [None; 3], "{name}");
    }
}

#[test]
fn classes_are_the_same_in_every_split() {
    for (split, expected) in [(Split::Train, [2, 0, 2].map(Some)), (Split::Test, [Some(1), None, Some(2)])] {
        let data = open("parquet:tables/words-*.parquet", split).unwrap();
        assert_eq!((data.classes(), labels(&data)), (&["cat", "cow", "dog"].map(String::from)[..], expected.to_vec()));
    }
    for (split, expected) in [(Split::Train, [0, 1, 2].map(Some)), (Split::Test, [Some(1), None, Some(3)])] {
        let data = open("parquet:tables/pandas-*.parquet", split).unwrap();
        assert_eq!((data.classes().len(), labels(&data)), (4, expected.to_vec()));
    }
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [("words-train", "train"), ("pandas-test", "test")] {
        let to = folder.path().join(format!("{to}.parquet"));
        std::fs::copy(formats(&format!("tables/{from}.parquet")), to).unwrap();
    }
    let text = Dataset::open(folder.path().to_str().unwrap(), Split::Train).unwrap_err().to_string();
    assert!(text.contains("test.parquet: label column label (double), expected one such as label (string)"), "{text}");
}

#[test]
fn gzip_and_brotli_are_read() {
    for name in ["gzip", "brotli"] {
        let data = train(&format!("parquet:tables/{name}.parquet"));
        assert_eq!(labels(&data), [0, 1, 2, 0, 1, 2].map(Some));
        assert_eq!(data.load(5).unwrap().pixel(4, 3), [5, 20, 7]);
    }
}

#[test]
fn equal_rows_that_compress_to_nothing_are_read() {
    for codec in ["zstd", "brotli"] {
        let data = train(&format!("parquet:tables/equal-rows-{codec}.parquet"));
        assert_eq!((data.len(), data.label(59_999)), (60_000, Some(0)));
        assert_eq!(data.load(59_999).unwrap().pixel(0, 0), [0, 0, 7]);
        let data = train(&format!("parquet:tables/equal-bmps-{codec}.parquet"));
        assert_eq!((data.len(), data.load(2_999).unwrap().pixel(63, 63)), (3_000, &[1, 10, 7][..]));
    }
}

#[test]
fn rows_may_take_less_than_a_byte() {
    let data = train("parquet:tables/paths.parquet");
    assert_eq!(data.len(), 24);
    let text = data.load(23).unwrap_err().to_string();
    assert!(text.contains("paths.parquet/23: the row holds no bytes"), "{text}");
    let data = train("parquet:tables/repeated.parquet");
    assert_eq!((data.len(), data.load(4_999).unwrap().pixel(0, 0)), (5_000, &[1, 10, 7][..]));
}

#[test]
fn the_column_called_image_is_used_or_the_chosen_one() {
    assert_eq!(train("parquet:tables/thumbnail.parquet").load(2).unwrap().pixel(0, 0), [2, 20, 7]);
    assert!(train("parquet:tables/thumbnail.parquet,image=thumbnail").load(2).is_err());
    let text = message("parquet:tables/two.parquet");
    assert!(text.contains("columns left, right may all hold images, expected one of them to be chosen"), "{text}");
    assert_eq!(train("parquet:tables/two.parquet,image=right").load(1).unwrap().pixel(0, 0), [1, 10, 7]);
}

#[test]
fn an_archive_holds_the_samples_that_webdataset_finds() {
    let data = train("tar:tars/odd.tar");
    let rows = std::fs::read_to_string(formats("tars/odd.tsv")).unwrap();
    let rows: Vec<_> = rows.lines().map(|row| row.split_once('\t').unwrap()).collect();
    assert_eq!(data.len(), rows.len());
    for (i, (key, label)) in rows.into_iter().enumerate() {
        let name = data.name(i);
        assert!(name.to_lowercase() == format!("odd.tar/{key}.png"), "{name}, expected {key}");
        let found = data.label(i).map_or("-1", |label| &data.classes()[label as usize]);
        assert_eq!(found, label, "{name}");
        assert!(data.load(i).is_ok(), "{name}");
    }
}
