//! Decoding a folder of odd images beside Pillow. Ignored, for it needs the folder and Pillow's pixels:
//!
//! ```text
//! python xtask/golden/images.py /tmp/pillow ODD_IMAGES
//! SELFIE_ODD_IMAGES=ODD_IMAGES SELFIE_PILLOW=/tmp/pillow \
//!     cargo test -p selfie-train --test odd_images -- --ignored --nocapture
//! ```
//!
//! It prints, as a table, every file that only one side decodes or that differs.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use selfie_train::Image8;

/// What Pillow makes of a file, a line of `index.tsv`.
struct Line {
    path: String,
    verdict: String,
    mode: String,
    size: (usize, usize),
    raw: PathBuf,
}

impl Line {
    fn read(line: &str, pillow: &str) -> Self {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut next = || columns.next().unwrap();
        let (path, verdict, mode) = (next(), next(), next());
        let size = (next().parse().unwrap(), next().parse().unwrap());
        Self { path, verdict, mode, size, raw: PathBuf::from(pillow).join(format!("{}.raw", next())) }
    }

    fn pillow_decodes(&self) -> bool {
        self.verdict == "ok"
    }

    /// An 8-bit RGB or gray file, in Pillow's eyes.
    fn is_plain(&self) -> bool {
        self.pillow_decodes() && matches!(self.mode.as_str(), "RGB" | "L")
    }

    /// Mean difference to Pillow's pixels, in steps of 8 bits; infinite where the sizes differ.
    fn difference(&self, image: &Image8) -> f64 {
        let expected = std::fs::read(&self.raw).unwrap();
        if (image.width(), image.height()) != self.size {
            return f64::INFINITY;
        }
        let sum: u64 = image.pixels().iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / expected.len() as f64
    }
}

#[test]
#[ignore = "needs a folder of odd images and what Pillow makes of them"]
fn odd_images_are_what_pillow_makes_of_them() {
    let folder = PathBuf::from(std::env::var("SELFIE_ODD_IMAGES").unwrap());
    let pillow = std::env::var("SELFIE_PILLOW").unwrap();
    let index = std::fs::read_to_string(format!("{pillow}/index.tsv")).unwrap();
    let (mut files, mut plain, mut plain_decoded, mut worst, mut slowest) = (0, 0, 0, 0f64, Duration::ZERO);
    let mut far = Vec::new();
    println!("| file | Pillow | here |\n|---|---|---|");
    for line in index.lines().map(|line| Line::read(line, &pillow)) {
        let bytes = std::fs::read(folder.join(&line.path)).unwrap();
        let start = Instant::now();
        let decoded = Image8::decode(&bytes, &line.path, 3);
        slowest = slowest.max(start.elapsed());
        files += 1;
        plain += usize::from(line.is_plain());
        plain_decoded += usize::from(line.is_plain() && decoded.is_ok());
        let here = match (&decoded, line.pillow_decodes()) {
            (Ok(_), false) => "decodes".to_owned(),
            (Ok(image), true) => match line.difference(image) {
                difference if difference <= 1.0 => {
                    worst = worst.max(difference);
                    continue;
                }
                difference => {
                    if line.is_plain() {
                        far.push(line.path.clone());
                    }
                    format!("mean difference {difference:.1}")
                }
            },
            (Err(_), false) => continue,
            (Err(error), true) => error.to_string().rsplit_once(&format!("{}: ", line.path)).unwrap().1.to_owned(),
        };
        println!("| {} | {} {} | {here} |", line.path, line.verdict, line.mode);
    }
    println!(
        "{files} files, slowest {slowest:?}; plain ones {plain_decoded} of {plain}, otherwise at most {worst:.3} apart"
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(far.is_empty(), "{far:?}");
    assert!(plain_decoded * 100 >= plain * 95, "{plain_decoded} of {plain}");
}
