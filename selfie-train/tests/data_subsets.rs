//! Parts of a data set: held-out images and label budgets.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use selfie_train::{Dataset, Image8, LabelBudget, label_subset};

/// `counts[c]` images of class c, mixed up. Only their numbers (their names) and labels matter.
fn data(counts: &[usize]) -> Dataset {
    let rounds = 0..counts.iter().copied().max().unwrap();
    let in_round = |round| (0..counts.len()).filter(move |&c| round < counts[c]);
    let labels: Vec<u32> = rounds.flat_map(in_round).map(|c| c as u32).collect();
    let image = Image8::new(1, 1, vec![0; 3]).unwrap();
    let names: Vec<String> = (0..counts.len()).map(|c| format!("class {c}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Dataset::from_images(vec![image; labels.len()], &labels, &names).unwrap()
}

fn names(data: &Dataset) -> BTreeSet<String> {
    (0..data.len()).map(|i| data.name(i)).collect()
}

fn per_class(data: &Dataset) -> Vec<usize> {
    let labels: Vec<_> = (0..data.len()).map(|i| data.label(i).unwrap() as usize).collect();
    (0..data.classes().len()).map(|c| labels.iter().filter(|&&l| l == c).count()).collect()
}

#[test]
fn the_holdout_depends_on_names_alone() {
    let all = data(&[3000]);
    let (train, held_out) = all.split_holdout(0.02).unwrap();
    assert!((40..80).contains(&held_out.len()), "{}", held_out.len());
    assert_eq!(train.len() + held_out.len(), 3000);
    assert!(names(&train).is_disjoint(&names(&held_out)));

    let backwards: Vec<_> = (0..3000).rev().collect();
    let (_, again) = all.select(&backwards).unwrap().split_holdout(0.02).unwrap();
    assert_eq!(names(&again), names(&held_out));
    let half: Vec<_> = (0..1500).collect();
    let (_, fewer) = all.select(&half).unwrap().split_holdout(0.02).unwrap();
    assert!(names(&fewer).is_subset(&names(&held_out)));
    let (_, more) = all.split_holdout(0.1).unwrap();
    assert!(names(&held_out).is_subset(&names(&more)));
}

#[test]
fn the_holdout_of_a_few_images_leaves_both_sides_some() {
    let sizes = |count, fraction| {
        let (train, held_out) = data(&[count]).split_holdout(fraction).unwrap();
        (train.len(), held_out.len())
    };
    assert_eq!(sizes(3, 1e-9), (2, 1));
    assert_eq!(sizes(3, 0.999_999), (1, 2));
    assert_eq!(sizes(3, 0.0), (3, 0));
    assert_eq!(sizes(1, 0.5).0 + sizes(1, 0.5).1, 1);
    assert!(data(&[3]).split_holdout(1.0).is_err());
}

#[test]
fn label_subsets_are_stratified_and_rounded_up() {
    let all = data(&[100, 41, 3]);
    let counts = |budget| per_class(&label_subset(&all, budget, 1).unwrap());
    assert_eq!(counts(LabelBudget::Fraction(0.05)), [5, 3, 1]);
    assert_eq!(counts(LabelBudget::Fraction(0.2)), [20, 9, 1]);
    assert_eq!(counts(LabelBudget::Fraction(1.0)), [100, 41, 3]);
    assert_eq!(counts(LabelBudget::PerClass(2)), [2, 2, 2]);
}

#[test]
fn label_subsets_of_one_seed_are_nested_and_of_another_differ() {
    let all = data(&[200, 200]);
    let subset = |share, seed| names(&label_subset(&all, LabelBudget::Fraction(share), seed).unwrap());
    for seed in 0..5 {
        assert!(subset(0.05, seed).is_subset(&subset(0.08, seed)));
        assert!(subset(0.08, seed).is_subset(&subset(0.2, seed)));
        assert_eq!(subset(0.08, seed), subset(0.08, seed));
        assert_ne!(subset(0.08, seed), subset(0.08, seed + 1));
    }
}

#[test]
fn too_few_labels_are_an_error_that_names_the_class() {
    let text = label_subset(&data(&[9, 4]), LabelBudget::PerClass(5), 0).unwrap_err().to_string();
    assert!(text.contains("class 1") && text.contains("only 4") && text.contains("5/class"), "{text}");
    let image = Image8::new(1, 1, vec![0; 3]).unwrap();
    let unlabelled = Dataset::from_images(vec![image], &[], &[]).unwrap();
    let text = label_subset(&unlabelled, LabelBudget::Fraction(0.5), 0).unwrap_err().to_string();
    assert!(text.contains("no labels"), "{text}");
    assert!(label_subset(&data(&[9]), LabelBudget::Fraction(1.5), 0).is_err());
}
