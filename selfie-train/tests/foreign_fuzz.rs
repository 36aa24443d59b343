//! Damaged weights files: whatever the bytes, a result or an error, without a panic, a hang, or memory beyond the file's size.
//!
//! Valid files of `tests/golden/foreign` are changed at random, by a seed. Their checksums are set to 0 first, which means that
//! there is none, so that most changes reach the interpreter of pickles and the tensors.
#![allow(clippy::unwrap_used)]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selfie_train::Pretrained;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Changed files of each kind.
const CHANGES: u64 = 300;
/// Files here are below 24 kB.
const MOST_MEMORY: usize = 16 << 20;
const MOST_TIME: Duration = Duration::from_secs(2);

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/foreign").join(name)).unwrap()
}

/// Sets the checksum of every member of a zip archive to 0, in its own header and in the central directory.
fn without_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for (signature, offset) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16), (b"PK\x07\x08", 4)] {
        let places: Vec<_> = bytes.windows(4).enumerate().filter(|(_, w)| w == signature).map(|(at, _)| at).collect();
        places.into_iter().for_each(|at| bytes[at + offset..at + offset + 4].fill(0));
    }
    bytes
}

/// Changes some bytes, and seldom inserts or removes some, which most zip archives do not survive.
fn change(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..bytes.len());
        let length = random.random_range(1..16).min(bytes.len() - at);
        match random.random_range(0..20) {
            0 => drop(bytes.splice(at..at, bytes[at..at + length].to_vec())),
            1 => drop(bytes.drain(at..at + length)),
            2 => bytes.truncate(at.max(1000)),
            3..6 => bytes[at..at + length].fill_with(|| random.random()),
            6..9 => bytes[at..at + length].fill([0, 0xff, b'(', b'h', b'R'][random.random_range(0..5)]),
            _ => bytes[at] ^= 1 << random.random_range(0..8),
        }
    }
}

#[test]
fn no_change_of_a_weights_file_panics_or_takes_much_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("changed.pth");
    let (mut read, mut refused) = (0, 0);
    for (kind, name) in ["extras.pth", "legacy.pth", "lightning.ckpt", "beside.safetensors"].iter().enumerate() {
        let original = without_checksums(golden(name));
        for seed in 0..CHANGES {
            let mut random = ChaCha8Rng::seed_from_u64(kind as u64 * CHANGES + seed);
            let mut bytes = original.clone();
            change(&mut bytes, &mut random);
            std::fs::write(&path, &bytes).unwrap();
            let (before, begun) = (ALLOCATOR.current_usage(), Instant::now());
            ALLOCATOR.reset_peak_usage();
            let result = catch_unwind(|| Pretrained::open(&path, None).is_ok());
            let peak = ALLOCATOR.peak_usage().saturating_sub(before);
            assert!(result.is_ok(), "{name}, seed {seed}: a panic");
            assert!(peak < MOST_MEMORY && begun.elapsed() < MOST_TIME, "{name}, seed {seed}: {peak} bytes");
            *if result.unwrap() { &mut read } else { &mut refused } += 1;
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the changes test one side alone");
}
