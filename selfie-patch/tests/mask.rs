//! Masks are fair, reproducible, and independent of how a batch is cut.

use std::ops::Range;

use candle_core::Device;
use selfie_patch::{MaskSampler, MaskScope, Result};

/// The targets and the context of every image.
type Cells = (Vec<Vec<u32>>, Vec<Vec<u32>>);

fn sample(sampler: &MaskSampler, images: Range<u64>, seed: u64) -> Result<Cells> {
    let mask = sampler.sample(images, seed, &Device::Cpu)?;
    Ok((mask.targets.to_vec2()?, mask.context.to_vec2()?))
}

#[test]
fn targets_and_context_partition_the_cells() -> Result<()> {
    for (n, m) in [(2, 1), (7, 6), (16, 4), (49, 12)] {
        let (targets, context) = sample(&MaskSampler::new(n, m, MaskScope::PerImage)?, 0..50, 1)?;
        for (targets, context) in targets.into_iter().zip(context) {
            assert_eq!(targets.len(), m);
            let mut cells = [targets, context].concat();
            cells.sort_unstable();
            assert_eq!(cells, (0..n as u32).collect::<Vec<_>>());
        }
    }
    Ok(())
}

#[test]
fn every_cell_is_masked_equally_often() -> Result<()> {
    let (n, m, images) = (16, 4, 4000);
    let (targets, _) = sample(&MaskSampler::new(n, m, MaskScope::PerImage)?, 0..images, 2)?;
    let mut counts = vec![0.0; n];
    targets.iter().flatten().for_each(|&cell| counts[cell as usize] += 1.0);

    let p = m as f64 / n as f64;
    let mean = images as f64 * p;
    // The counts add up to a constant, so each varies by N / (N - 1) less than this: chi-square
    // with N - 1 = 15 degrees of freedom.
    let scale = mean * (1.0 - p) * n as f64 / (n - 1) as f64;
    let chi_square: f64 = counts.iter().map(|count| (count - mean).powi(2) / scale).sum();
    assert!(chi_square < 37.7, "beyond the 99.9 % quantile: {chi_square}, counts {counts:?}");
    Ok(())
}

#[test]
fn every_place_in_the_order_is_uniform() -> Result<()> {
    // Also the order within targets and context is random: each place is a uniform choice of N
    // cells.
    let (n, images) = (16, 4000);
    let (targets, context) = sample(&MaskSampler::new(n, 4, MaskScope::PerImage)?, 0..images, 3)?;
    let orders: Vec<_> =
        targets.into_iter().zip(context).map(|(targets, context)| [targets, context].concat()).collect();
    for place in 0..n {
        let mut counts = vec![0.0; n];
        orders.iter().for_each(|order| counts[order[place] as usize] += 1.0);
        let mean = images as f64 / n as f64;
        let chi_square: f64 = counts.iter().map(|count| (count - mean).powi(2) / mean).sum();
        assert!(chi_square < 44.3, "beyond the 99.99 % quantile at place {place}: {chi_square}");
    }
    Ok(())
}

#[test]
fn every_pair_of_cells_is_masked_together_equally_often() -> Result<()> {
    let (n, m, images) = (16, 4, 4000);
    let (targets, _) = sample(&MaskSampler::new(n, m, MaskScope::PerImage)?, 0..images, 4)?;
    let p = (m * (m - 1)) as f64 / (n * (n - 1)) as f64; // 1 / 20
    let (mean, deviation) = (images as f64 * p, (images as f64 * p * (1.0 - p)).sqrt());
    for a in 0..n as u32 {
        for b in 0..a {
            let together = targets.iter().filter(|cells| cells.contains(&a) && cells.contains(&b)).count();
            assert!((together as f64 - mean).abs() < 4.5 * deviation, "cells {a} and {b}: {together}, mean {mean}");
        }
    }
    Ok(())
}

#[test]
fn a_batch_cut_in_pieces_gets_the_same_masks() -> Result<()> {
    for scope in [MaskScope::PerImage, MaskScope::PerBatch] {
        let sampler = MaskSampler::new(16, 4, scope)?;
        let whole = sample(&sampler, 100..110, 5)?;
        let (mut targets, mut context) = sample(&sampler, 100..103, 5)?;
        for piece in [103..104, 104..110] {
            let (more_targets, more_context) = sample(&sampler, piece, 5)?;
            targets.extend(more_targets);
            context.extend(more_context);
        }
        assert_eq!((targets, context), whole);
    }
    Ok(())
}

#[test]
fn per_batch_gives_all_images_the_same_mask() -> Result<()> {
    let (targets, context) = sample(&MaskSampler::new(49, 12, MaskScope::PerBatch)?, 30..38, 6)?;
    assert!(targets.iter().all(|cells| cells == &targets[0]));
    assert!(context.iter().all(|cells| cells == &context[0]));
    Ok(())
}

#[test]
fn images_and_seeds_have_masks_of_their_own() -> Result<()> {
    let sampler = MaskSampler::new(49, 12, MaskScope::PerImage)?;
    let (targets, _) = sample(&sampler, 0..8, 7)?;
    for (i, cells) in targets.iter().enumerate() {
        assert!(!targets[..i].contains(cells), "image {i} repeats a mask");
    }
    for scope in [MaskScope::PerImage, MaskScope::PerBatch] {
        let sampler = MaskSampler::new(49, 12, scope)?;
        assert_ne!(sample(&sampler, 0..1, 7)?, sample(&sampler, 0..1, 8)?);
    }
    Ok(())
}

#[test]
fn masks_stay_what_they_were() -> Result<()> {
    // Resumed runs and published results rest on these numbers: a release that changes them must
    // say so.
    let (targets, context) = sample(&MaskSampler::new(6, 2, MaskScope::PerImage)?, 0..2, 0)?;
    assert_eq!(targets, [[3, 1], [2, 1]]);
    assert_eq!(context, [[0, 4, 2, 5], [3, 0, 5, 4]]);
    Ok(())
}

#[test]
fn the_last_image_number_can_be_drawn() -> Result<()> {
    let (targets, _) = sample(&MaskSampler::new(16, 4, MaskScope::PerImage)?, u64::MAX - 1..u64::MAX, 0)?;
    assert_eq!(targets.len(), 1);
    Ok(())
}

#[test]
fn the_grid_of_a_mask_holds_ones_at_the_targets() -> Result<()> {
    let mask = MaskSampler::new(16, 4, MaskScope::PerImage)?.sample(0..5, 9, &Device::Cpu)?;
    let grid = mask.as_grid(16)?.to_vec2::<u8>()?;
    for (cells, targets) in grid.iter().zip(mask.targets.to_vec2::<u32>()?) {
        for (cell, &masked) in cells.iter().enumerate() {
            assert_eq!(masked == 1, targets.contains(&(cell as u32)));
        }
    }
    Ok(())
}
