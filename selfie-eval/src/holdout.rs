//! A hold-out of labelled images, to choose a setting on: stratified by class, drawn from the seed.

use crate::stream::{HOLDOUT, below, stream};

/// Numbers of the images to fit and of those held out, ascending: of each class `share` rounded, but never all.
pub(crate) fn stratified_holdout(labels: &[u32], classes: usize, share: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in (0u32..).zip(labels) {
        members[label as usize].push(i);
    }
    let (mut fit, mut held_out) = (Vec::new(), Vec::new());
    for (class, members) in members.iter_mut().enumerate() {
        let rng = &mut stream(seed, HOLDOUT, class as u64, 0);
        for i in (1..members.len()).rev() {
            members.swap(i, below(i + 1, rng)); // Fisher and Yates's shuffle
        }
        let count = (share * members.len() as f64).round() as usize;
        let (held, kept) = members.split_at(count.min(members.len().saturating_sub(1)));
        held_out.extend_from_slice(held);
        fit.extend_from_slice(kept);
    }
    fit.sort_unstable();
    held_out.sort_unstable();
    (fit, held_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holdout_takes_a_tenth_of_each_class_and_leaves_the_rest() {
        let labels: Vec<u32> = (0..100).map(|i| u32::from(i >= 60)).collect(); // 60 and 40
        let (fit, held_out) = stratified_holdout(&labels, 2, 0.1, 7);
        let of_class = |class| held_out.iter().filter(|&&i| labels[i as usize] == class).count();
        assert_eq!((of_class(0), of_class(1), fit.len()), (6, 4, 90));
        let mut all = [fit, held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn a_class_of_one_image_keeps_it() {
        let (fit, held_out) = stratified_holdout(&[0, 1, 1, 1], 2, 0.9, 0);
        assert!(fit.contains(&0) && held_out.len() == 2);
    }

    #[test]
    fn another_seed_holds_out_other_images() {
        let labels = [0; 50];
        let held_out = |seed| stratified_holdout(&labels, 1, 0.1, seed).1;
        assert_eq!(held_out(1), held_out(1));
        assert_ne!(held_out(1), held_out(2));
    }
}
