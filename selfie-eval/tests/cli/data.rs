//! `data verify`, `data stats`, `data fetch`, and bad images in a run.

use std::path::Path;

use serde_json::Value;

use crate::place::{Place, TINY, json};

/// The sample's photographs of two classes, with `bad` broken files among them.
fn photographs(folder: &Path, bad: usize) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selfie-train/sample");
    for split in ["train", "val"] {
        for class in std::fs::read_dir(sample.join(split)).unwrap().flatten().take(2) {
            let to = folder.join(split).join(class.file_name());
            std::fs::create_dir_all(&to).unwrap();
            for file in std::fs::read_dir(class.path()).unwrap().flatten() {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    let class = std::fs::read_dir(folder.join("train")).unwrap().flatten().next().unwrap().path();
    for i in 0..bad {
        std::fs::write(class.join(format!("broken-{i}.jpg")), "no image").unwrap();
    }
}

fn place_with(bad: usize) -> Place {
    let place = Place::new();
    photographs(&place.path("photos"), bad);
    place
}

#[test]
fn verify_lists_every_bad_image_and_ends_with_1_if_there_are_too_many() {
    let place = place_with(2); // of 42, less than 5 %
    let report = json(&place, "data verify --data photos");
    let call = place.call("data verify --data photos --max-bad-images 0.04 --json");
    assert_eq!(call.status, Some(1), "{}", call.stderr);
    assert_eq!(serde_json::from_str::<Value>(&call.stdout).unwrap(), report);
    let (train, test) = (&report["splits"][0], &report["splits"][1]);
    assert_eq!((&train["images"], &train["readable"], &test["readable"]), (&34.into(), &32.into(), &8.into()));
    let bad = train["bad"].as_array().unwrap();
    assert!(bad.iter().all(|bad| bad["name"].as_str().unwrap().contains("/broken-")), "{bad:?}");
    assert!(call.stderr.contains("2 of 42 images of photos cannot be read"), "{}", call.stderr);
    let text = place.call("data verify --data photos --split train").stdout;
    assert!(text.contains("32 of 34 images of photos can be read") && text.contains("bad        train/"), "{text}");
}

#[test]
fn verify_of_whole_images_ends_with_0() {
    let report = json(&Place::new(), "data verify --data sample");
    assert_eq!((&report["splits"][0]["images"], &report["splits"][1]["labels"]["classes"]), (&192.into(), &12.into()));
    assert_eq!(report["splits"][0]["sizes"]["min_height"].as_u64().unwrap().max(160), 160);
}

#[test]
fn stats_are_the_mean_and_deviation_that_a_run_measures() {
    let place = place_with(1);
    let report = json(&place, "data stats --data photos");
    let mean = report["splits"][0]["mean"].as_array().unwrap();
    assert!(mean.len() == 3 && mean.iter().all(|m| (0.2..0.8).contains(&m.as_f64().unwrap())), "{report}");
    let call = place.call("data stats --data photos --on-bad-image fail");
    assert_eq!(call.status, Some(1));
    assert!(call.stderr.contains("broken-0.jpg"), "{}", call.stderr);
}

#[test]
fn fetch_says_what_is_here() {
    let place = place_with(0);
    let report = json(&place, "data fetch --data photos");
    assert_eq!(
        (&report["train_images"], &report["test_images"], &report["classes"]),
        (&32.into(), &8.into(), &2.into())
    );
    assert_eq!(place.call("data fetch --data nowhere").status, Some(2));
}

#[test]
fn a_run_goes_on_over_bad_images_and_lists_them_unless_told_to_fail() {
    let place = place_with(1);
    let report = json(&place, &format!("pretrain {TINY} --steps 6 --data photos --set data.holdout=0 --out run"));
    assert_eq!(report["bad_images"], 1);
    let listed = std::fs::read_to_string(place.path("run/bad-images.txt")).unwrap();
    assert!(listed.lines().count() == 1 && listed.contains("/broken-0.jpg\t"), "{listed}");
    let fail = format!("pretrain {TINY} --steps 6 --data photos --on-bad-image fail --out other");
    let call = place.call(&fail);
    assert_eq!(call.status, Some(1));
    assert!(call.stderr.contains("broken-0.jpg"), "{}", call.stderr);
    let call =
        place.call(&format!("pretrain {TINY} --steps 6 --data photos --set data.max_bad_images=0.01 --out third"));
    assert!(call.status == Some(1) && call.stderr.contains("data.max_bad_images = 0.01"), "{}", call.stderr);
}

#[test]
fn the_labels_that_were_used_are_written() {
    let place = Place::new();
    place.run("linear-eval --from scratch --preset quick --data sample --labels 2/class --set encoder.width=8 --set encoder.depths=[1,1,1] --out result --quiet");
    let labels = std::fs::read_to_string(place.path("result/labels.txt")).unwrap();
    assert_eq!(labels.lines().count(), 24);
    assert!(
        labels.lines().all(|line| line.split_once('\t').is_some_and(|(name, class)| name.contains(class))),
        "{labels}"
    );
}
