//! Random damage to small image files of every kind: no panic, no hang, no large allocation. A share of it runs with the
//! tests; all of it with
//!
//! ```text
//! cargo test -p selfie-train --test fuzz_images -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use candle_core::{Device, safetensors::load};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selfie_train::{Image8, peak_rss_mb};

/// The files that are damaged: those that `xtask/golden/images.py` and `tiff.py` made.
fn files() -> Vec<Vec<u8>> {
    let mut named = Vec::new();
    for made in ["images", "tiff"] {
        let path = format!("{}/tests/golden/{made}.safetensors", env!("CARGO_MANIFEST_DIR"));
        named.extend(load(path, &Device::Cpu).unwrap().into_iter().filter(|(name, _)| name.starts_with("file.")));
    }
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.into_iter().map(|(_, bytes)| bytes.to_vec1().unwrap()).collect()
}

/// One to eight changes: bits turned, bytes replaced (often by a border value), runs cut out or doubled, the end cut off.
fn damage(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=8) {
        if bytes.len() < 2 {
            return;
        }
        // Half of the changes hit the headers.
        let end = if rng.random() { bytes.len() } else { bytes.len().min(64) };
        let at = rng.random_range(0..end);
        let run = rng.random_range(1..=8).min(bytes.len() - at);
        match rng.random_range(0..10) {
            0..4 => bytes[at] ^= 1 << rng.random_range(0..8),
            4..6 => bytes[at] = rng.random(),
            6 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            7 => drop(bytes.drain(at..at + run)),
            8 => bytes.extend_from_within(at..at + run),
            _ => bytes.truncate(bytes.len() - run.min(bytes.len() - 1)),
        }
    }
}

/// Decodes `count` damaged files; returns how many got past the magic bytes, and how many decoded.
fn survive(count: usize, seed: u64) -> (usize, usize) {
    let files = files();
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let memory = peak_rss_mb();
    let (mut past_magic, mut decoded) = (0, 0);
    for i in 0..count {
        let mut bytes = files[i % files.len()].clone();
        damage(&mut bytes, rng);
        let start = Instant::now();
        let result = Image8::decode(&bytes, "damaged", [3, 1][i % 2]);
        assert!(start.elapsed() < Duration::from_secs(1), "input {i} of seed {seed}: {:?}", start.elapsed());
        decoded += usize::from(result.is_ok());
        past_magic += usize::from(!result.is_err_and(|error| error.to_string().contains("neither JPEG")));
    }
    if let (Some(before), Some(after)) = (memory, peak_rss_mb()) {
        assert!(after < before + 1024, "from {before} to {after} MB");
    }
    println!(
        "{count} damaged files: past the magic bytes {past_magic}, decoded {decoded}; memory {:?} MB",
        peak_rss_mb()
    );
    (past_magic, decoded)
}

#[test]
fn damaged_files_are_errors_or_images() {
    let (past_magic, decoded) = survive(3_000, 1);
    assert!(past_magic > 1_000 && decoded > 0 && decoded < 3_000, "{past_magic}, {decoded}");
}

#[test]
#[ignore = "a share of it runs with the tests"]
fn a_hundred_thousand_damaged_files_are_errors_or_images() {
    let (past_magic, _) = survive(100_000, 2);
    assert!(past_magic > 33_334, "{past_magic}");
}
