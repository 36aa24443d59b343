//! The random subset of distractors that a query is compared with.
//!
//! The paper takes all other masked patches; smaller subsets are an option of ours, to make the
//! task easier. Each query draws its own, uniformly and without replacement, from a stream that
//! depends on the seed and the image's number alone. Hence a batch that is cut in pieces gets the
//! same subsets.

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::Result;

/// The purpose of this crate's random streams, so that they repeat no other crate's numbers.
const PURPOSE: u64 = u64::from_le_bytes(*b"distract");

/// The candidates of every query: 1 at its positive and at `num_distractors` others, 0 elsewhere.
///
/// # Shapes
/// (B, M, M) of `u8`, where B is the length of `images` and M is `num_targets`
pub(crate) fn candidates(
    images: &[u64],
    seed: u64,
    num_targets: usize,
    num_distractors: usize,
    device: &Device,
) -> Result<Tensor> {
    let mut rows = Vec::new();
    for &image in images {
        let mut rng = stream(seed, image);
        for positive in 0..num_targets {
            rows.extend(row(&mut rng, positive, num_targets, num_distractors));
        }
    }
    let b = rows.len() / (num_targets * num_targets);
    let candidates = Tensor::from_vec(rows, (b, num_targets, num_targets), device)?; // (B, M, M)
    Ok(candidates)
}

/// The candidates of one query: (M).
fn row(rng: &mut ChaCha8Rng, positive: usize, num_targets: usize, num_distractors: usize) -> Vec<u8> {
    let mut row = vec![0; num_targets];
    row[positive] = 1;
    for other in index::sample(rng, num_targets - 1, num_distractors) {
        // The others are numbered 0 to M - 2, as if the positive were not there.
        row[if other < positive { other } else { other + 1 }] = 1;
    }
    row
}

/// The random stream of one image.
fn stream(seed: u64, image: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, PURPOSE, 0, image]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(images: std::ops::Range<u64>, seed: u64, m: usize, s: usize) -> Vec<Vec<Vec<u8>>> {
        candidates(&images.collect::<Vec<_>>(), seed, m, s, &Device::Cpu).unwrap().to_vec3().unwrap()
    }

    #[test]
    fn distractors_never_include_the_positive() {
        // The positive is a candidate once, so S + 1 ones leave S for the others.
        for s in 1..6 {
            for image in draw(0..50, 1, 6, s) {
                for (positive, row) in image.iter().enumerate() {
                    assert_eq!(row[positive], 1);
                    assert_eq!(row.iter().map(|&c| c as usize).sum::<usize>(), 1 + s);
                }
            }
        }
    }

    #[test]
    fn every_other_patch_is_drawn_equally_often() {
        let (m, s, images) = (5, 2, 4000);
        let mut counts = vec![vec![0.0; m]; m];
        for image in draw(0..images, 2, m, s) {
            for (counts, row) in counts.iter_mut().zip(image) {
                for (count, c) in counts.iter_mut().zip(row) {
                    *count += f64::from(c);
                }
            }
        }
        let p = s as f64 / (m - 1) as f64;
        let deviation = (images as f64 * p * (1.0 - p)).sqrt();
        for (positive, counts) in counts.iter().enumerate() {
            for (other, count) in counts.iter().enumerate() {
                let off = (count - images as f64 * p).abs() / deviation;
                let shown = format!("query {positive}, patch {other}: {off} deviations off");
                assert!(other == positive || off < 4.5, "{shown}");
            }
        }
    }

    #[test]
    fn a_batch_cut_in_pieces_gets_the_same_subsets() {
        let whole = draw(10..20, 3, 6, 2);
        assert_eq!([draw(10..13, 3, 6, 2), draw(13..20, 3, 6, 2)].concat(), whole);
        assert_ne!(draw(10..20, 4, 6, 2), whole);
    }

    #[test]
    fn subsets_stay_what_they_were() {
        // Resumed runs rest on these numbers: a release that changes them must say so.
        assert_eq!(draw(0..1, 0, 4, 1), [[[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 1]]]);
    }
}
