//! A run so small that a test can afford it: coloured noise in a folder, a network of width 4.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::Path;

use selfie_train::{PretrainOptions, RunConfig};

/// Writes `count` images of 32x32, each a gradient of its own with noise, in two classes.
pub fn images(folder: &Path, count: u32) {
    for number in 0..count {
        let class = folder.join(["even", "odd"][number as usize % 2]);
        std::fs::create_dir_all(&class).unwrap();
        let pixel = |x: u32, y: u32| {
            let noise = (x * 7919 + y * 104_729 + number * 1_299_709) % 97;
            image::Rgb([(x * 8 + noise) as u8, (y * 8) as u8 ^ (number * 37) as u8, ((x * y + noise) % 256) as u8])
        };
        image::RgbImage::from_fn(32, 32, pixel).save(class.join(format!("{number:03}.png"))).unwrap();
    }
}

/// The settings of a small run on the images in `folder`: dropout and augmentation on.
pub fn config(folder: &Path, steps: u64) -> RunConfig {
    let mut config = RunConfig::preset("quick").unwrap();
    config.data.source = folder.display().to_string();
    config.data.holdout = 0.2;
    (config.encoder.width, config.encoder.depths) = (4, vec![1, 1, 1]);
    config.attnpool.depth = 1;
    (config.run.steps, config.run.batch_size, config.run.log_every) = (steps, 6, 2);
    (config.run.checkpoint_every, config.run.eval_every, config.run.eval_masks, config.run.keep_last) = (3, 4, 2, 0);
    config
}

/// A quiet run into `out` on the CPU.
pub fn options(out: &Path) -> PretrainOptions {
    PretrainOptions {
        out: out.to_path_buf(),
        device: selfie_train::DeviceChoice::Cpu,
        quiet: true,
        ..Default::default()
    }
}
