//! ImageNet's and Tiny-ImageNet's folders, and lists of images.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use selfie_train::{Dataset, Split};
use tempfile::TempDir;

/// A folder of these text files; names of images get the bytes of one.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.is_empty() {
            true => image::RgbImage::new(2, 2).save_with_format(path, image::ImageFormat::Png).unwrap(),
            false => std::fs::write(path, text).unwrap(),
        }
    }
    dir
}

fn open(path: &Path, split: Split) -> Dataset {
    Dataset::open(path.to_str().unwrap(), split).unwrap()
}

fn labels(data: &Dataset) -> Vec<Option<u32>> {
    (0..data.len()).map(|i| data.label(i)).collect()
}

const TINY: [(&str, &str); 6] = [
    ("train/n01/images/n01_0.JPEG", ""),
    ("train/n02/images/n02_0.JPEG", ""),
    ("val/images/val_0.JPEG", ""),
    ("val/images/val_1.JPEG", ""),
    ("val/images/val_2.JPEG", ""),
    ("val/val_annotations.txt", "val_1.JPEG\tn01\t0\t0\t62\t57\nval_0.JPEG\tn02\t52\t55\t57\t59\n"),
];

#[test]
fn tiny_imagenets_validation_images_have_the_labels_of_their_file() {
    let dir = folder(&TINY);
    let train = open(dir.path(), Split::Train);
    assert_eq!((train.classes(), labels(&train)), (&["n01", "n02"].map(String::from)[..], vec![Some(0), Some(1)]));
    let test = open(dir.path(), Split::Test);
    assert_eq!((test.classes(), labels(&test)), (train.classes(), vec![Some(1), Some(0), None]));
}

#[test]
fn imagenets_flat_validation_images_are_labelled_by_any_of_its_files() {
    let base = [
        ("train/n02/a.JPEG", ""),
        ("train/n01/b.JPEG", ""),
        ("val/ILSVRC2012_val_00000001.JPEG", ""),
        ("val/ILSVRC2012_val_00000002.JPEG", ""),
        ("val/ILSVRC2012_val_00000003.JPEG", ""),
    ];
    let truth = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt";
    let kit = [(truth, "1\n2\n1\n"), ("ILSVRC2012_devkit_t12/data/map_clsloc.txt", "n02 1 kit_fox\nn01 2 setter\n")];
    let csv = "ImageId,PredictionString\nILSVRC2012_val_00000002,n01 85 1 499 272 \nILSVRC2012_val_00000001,n02 1 2 3 4\n\
               ILSVRC2012_val_00000003,n02 9 9 9 9 n02 1 1 1 1\n";
    let caffe = "ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000002.JPEG 0\nILSVRC2012_val_00000003.JPEG 1\n";
    for notes in [&kit[..], &[("LOC_val_solution.csv", csv)], &[("val.txt", caffe)]] {
        let dir = folder(&[&base[..], notes].concat());
        assert_eq!(labels(&open(dir.path(), Split::Train)), [Some(0), Some(1)]);
        assert_eq!(labels(&open(dir.path(), Split::Test)), [Some(1), Some(0), Some(1)], "{notes:?}");
    }
    // The first kit has a MATLAB file.
    let dir = folder(&[&base[..], &[(truth, "1\n2\n1\n")]].concat());
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/kit/meta.mat");
    std::fs::copy(kit, dir.path().join(truth).with_file_name("meta.mat")).unwrap();
    assert_eq!(labels(&open(dir.path(), Split::Test)), [Some(1), Some(0), Some(1)]);
    // As its archives unpack, with the labels beside them.
    let deep: Vec<_> = base.iter().map(|(name, text)| (format!("ILSVRC/Data/CLS-LOC/{name}"), *text)).collect();
    let deep: Vec<_> = deep.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let dir = folder(&[&deep[..], &[("LOC_val_solution.csv", csv)]].concat());
    assert_eq!(labels(&open(dir.path(), Split::Test)), [Some(1), Some(0), Some(1)]);
}

#[test]
fn labels_that_mean_nothing_are_named() {
    let test = |files: &[(&str, &str)]| {
        let dir = folder(&[&TINY[..5], files].concat());
        Dataset::open(dir.path().to_str().unwrap(), Split::Test).unwrap_err().to_string()
    };
    let text = test(&[("val/val_annotations.txt", "val_0.JPEG\tn01\nval_1.JPEG\tn09\n")]);
    assert!(text.contains("val_annotations.txt: line 2: label \"n09\", expected a class folder"), "{text}");
    let text = test(&[("val.txt", "val_0.JPEG 2\n")]);
    assert!(text.contains("val.txt: line 1: label \"2\"") && text.contains("a number below 2"), "{text}");
    let truth = "ILSVRC2012_validation_ground_truth.txt";
    let text = test(&[(truth, "1\n2\n1\n")]);
    assert!(text.contains("meta.mat") && text.contains("map_clsloc.txt, beside"), "{text}");
    let text = test(&[(truth, "1\n2\n1\n"), ("meta.mat", "not MATLAB's")]);
    assert!(text.contains("meta.mat: no MATLAB 5 file"), "{text}");
    let text = test(&[(truth, "1\n"), ("map_clsloc.txt", "n01 1 fox\n")]);
    assert!(text.contains("1 labels, expected one for each of 3 images"), "{text}");
}

#[test]
fn a_list_names_images_beside_it_with_labels_or_without() {
    let dir = folder(&[
        ("photos/a.png", ""),
        ("photos/b.png", ""),
        ("train.txt", "photos/b.png\tdog\r\nphotos/a.png\tant\n\nphotos/gone.png\n"),
        ("val.txt", "photos/a.png\tcow\n"),
        ("plain.tsv", "photos/a.png\nphotos/b.png"),
    ]);
    for given in
        [format!("list:{}", dir.path().join("train.txt").display()), dir.path().join("train.txt").display().to_string()]
    {
        let train = Dataset::open(&given, Split::Train).unwrap();
        assert_eq!(
            (train.classes(), labels(&train)),
            (&["ant", "cow", "dog"].map(String::from)[..], vec![Some(2), Some(0), None])
        );
        assert_eq!(train.name(0), "photos/b.png");
        assert_eq!(train.load(0).unwrap().width(), 2);
        assert!(train.load(2).unwrap_err().to_string().contains("photos/gone.png"));
        let test = Dataset::open(&given, Split::Test).unwrap();
        assert_eq!((test.classes(), labels(&test)), (train.classes(), vec![Some(1)]));
    }
    let plain = open(&dir.path().join("plain.tsv"), Split::Train);
    assert_eq!((plain.len(), plain.classes().len(), plain.has_test_split()), (2, 0, false));
}

#[test]
fn a_list_that_is_none_is_told_by_its_line() {
    let message = |text: &str| {
        let dir = folder(&[("list.txt", text)]);
        Dataset::open(dir.path().join("list.txt").to_str().unwrap(), Split::Train).unwrap_err().to_string()
    };
    assert!(message("\n\n").contains("list.txt: no line, expected the path of an image"));
    assert!(message("a.png\n\tdog\n").contains("line 2: no path"));
    assert!(message("a\0b\n").contains("line 1: "));
}
