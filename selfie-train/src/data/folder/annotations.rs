//! Labels of images that lie flat, from the file that names them.
//!
//! | file | a line |
//! |---|---|
//! | `val_annotations.txt` of Tiny-ImageNet | `val_0.JPEG`, tab, `n03444034`, tab, a box |
//! | `LOC_val_solution.csv` of ImageNet as Kaggle has it | `ILSVRC2012_val_00048981,n03995372 85 1 499 272` |
//! | `val.txt` as Caffe has it | `ILSVRC2012_val_00000001.JPEG 65`, counted from 0 in the order of the folders' names |
//! | `ILSVRC2012_validation_ground_truth.txt` of ImageNet's development kit | `490`, one line an image in the order of their names |
//!
//! The numbers of the last one are the kit's own; `meta.mat` beside it tells the folder of each, or `map_clsloc.txt` of later kits
//! (`n02119789 1 kit_fox`).

mod meta_mat;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::error::{DataError, DataResult};
use super::super::source::NO_LABEL;

const GROUND_TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
const GROUND_TRUTH_MAP: &str = "map_clsloc.txt";

/// Names of the file, the most telling first.
const FILES: [&str; 4] = ["val_annotations.txt", "LOC_val_solution.csv", "val.txt", GROUND_TRUTH];

/// The file with the labels of the images in `split`, a folder below `root/base`.
pub(super) fn find(root: &Path, base: &Path, split: &Path) -> Option<PathBuf> {
    let kits = ["", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"];
    let beside = kits.iter().flat_map(|kit| [root.join(kit), root.join(base).join(kit)]);
    let places: Vec<_> = std::iter::once(root.join(split)).chain(beside).collect();
    FILES.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|file| file.is_file()))
}

/// The labels of the images called `names`, which are sorted; numbers of `classes`.
pub(super) fn labels(file: &Path, names: &[PathBuf], classes: &[String]) -> DataResult<Vec<u32>> {
    let text = std::fs::read_to_string(file).map_err(DataError::io(file))?;
    if file.file_name().is_some_and(|name| name == GROUND_TRUTH) {
        return of_ground_truth(file, &text, names.len(), classes);
    }
    let mut found = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let mut fields = line.split([',', '\t', ' ']).map(str::trim).filter(|field| !field.is_empty());
        let (Some(image), Some(label)) = (fields.next(), fields.next()) else { continue };
        if image == "ImageId" {
            continue; // the heading of the CSV file
        }
        found.insert(
            stem(Path::new(image)),
            class_number(label, classes).ok_or_else(|| unknown(file, number, label, classes))?,
        );
    }
    Ok(names.iter().map(|name| found.get(&stem(name)).copied().unwrap_or(NO_LABEL)).collect())
}

/// A folder's name, or its place among the classes.
fn class_number(label: &str, classes: &[String]) -> Option<u32> {
    let by_name = classes.binary_search_by(|class| class.as_str().cmp(label)).ok(); // the folders are sorted
    by_name.or_else(|| label.parse().ok().filter(|&place| place < classes.len())).map(|place| place as u32)
}

fn of_ground_truth(file: &Path, text: &str, images: usize, classes: &[String]) -> DataResult<Vec<u32>> {
    let folders = kit_folders(file)?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() != images {
        return Err(DataError::format(
            file,
            format!("{} labels, expected one for each of {images} images", lines.len()),
        ));
    }
    let label = |(number, line): (usize, &&str)| {
        let class = folders.get(*line).and_then(|folder| class_number(folder, classes));
        class.ok_or_else(|| unknown(file, number, line, classes))
    };
    lines.iter().enumerate().map(label).collect()
}

/// The folder of each of the kit's numbers.
fn kit_folders(ground_truth: &Path) -> DataResult<HashMap<String, String>> {
    let (matlab, map) = (ground_truth.with_file_name("meta.mat"), ground_truth.with_file_name(GROUND_TRUTH_MAP));
    if let Ok(text) = std::fs::read_to_string(&map) {
        let pair = |line: &str| {
            let mut fields = line.split_whitespace();
            let folder = fields.next()?.to_owned();
            Some((fields.next()?.to_owned(), folder))
        };
        return Ok(text.lines().filter_map(pair).collect());
    }
    let bytes = std::fs::read(&matlab).map_err(|error| {
        let reason = format!(
            "{error}; expected the development kit's table of its numbers, or {GROUND_TRUTH_MAP}, beside {GROUND_TRUTH}"
        );
        DataError::format(&matlab, reason)
    })?;
    let reason = "no MATLAB 5 file with an array synsets of ILSVRC2012_ID and WNID, expected the development kit's own";
    meta_mat::folders(&bytes).ok_or_else(|| DataError::format(&matlab, reason))
}

fn unknown(file: &Path, line: usize, label: &str, classes: &[String]) -> DataError {
    let some = classes.first().map_or("", String::as_str);
    let reason = format!(
        "line {}: label {label:?}, expected a class folder of the train split such as {some:?}, or a number below {}",
        line + 1,
        classes.len()
    );
    DataError::format(file, reason)
}

fn stem(name: &Path) -> String {
    name.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
