//! What one rank can do: images a second through a training step, and bytes a second to the next rank. Given, or measured here.

use std::time::Instant;

use candle_core::Device;
use selfie_train::{RunConfig, describe_device};

use crate::bench::StepBench;
use crate::error::{Error, Result};

/// Images that the measured step has, at most: it shall end soon.
const IMAGES: usize = 8;
/// Steps that are timed, after one that is not.
const STEPS: usize = 3;
/// Floats of the block that is added to measure memory: more than caches hold.
const BLOCK: usize = 16 << 20;

/// Speed of one rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Images through a whole training step, a second.
    pub images_per_second: f64,
    /// Where that is from.
    pub assumption: String,
}

impl Speed {
    /// As the user says.
    ///
    /// # Errors
    /// [`Error::Config`] where it is no positive number.
    pub fn given(images_per_second: f64) -> Result<Self> {
        Ok(Self {
            images_per_second: positive("--images-per-second", images_per_second)?,
            assumption: "one rank, as given; measure it with bench step".to_owned(),
        })
    }

    /// A few steps of the run itself on random images, without a loader.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn measured(config: &RunConfig, device: &Device) -> Result<Self> {
        let bench = StepBench {
            image_size: config.patch.image_size,
            patch_size: config.patch.patch_size,
            width: config.encoder.width,
            batch_size: config.run.micro_batch().min(IMAGES),
            steps: STEPS,
            warmup: 1,
            seed: config.run.seed,
            limit: false,
            ..StepBench::default()
        };
        let report = bench.run_with(config, device)?;
        let place = match device.is_cpu() {
            true => format!("the CPU, {} threads", report.threads),
            false => describe_device(device),
        };
        Ok(Self {
            images_per_second: report.images_per_second,
            assumption: format!(
                "measured here, on {place}: the median of {STEPS} steps with {} random images",
                bench.batch_size
            ),
        })
    }
}

/// What a rank sends to its neighbour and receives from the other, at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandwidth {
    /// Bytes a second, each way.
    pub bytes_per_second: f64,
    /// Where that is from.
    pub assumption: String,
}

impl Bandwidth {
    /// As the user says, in GB/s each way.
    ///
    /// # Errors
    /// [`Error::Config`] where it is no positive number.
    pub fn given(gigabytes_per_second: f64) -> Result<Self> {
        let bytes_per_second = 1e9 * positive("--bandwidth", gigabytes_per_second)?;
        Ok(Self { bytes_per_second, assumption: format!("{gigabytes_per_second} GB/s each way, as given") })
    }

    /// How fast one thread copies a block of another's memory and adds it to its own: the best that ranks of one machine can do.
    #[must_use]
    pub fn measured() -> Self {
        let (theirs, mut received, mut ours) = (vec![1f32; BLOCK], vec![0f32; BLOCK], vec![0f32; BLOCK]);
        let mut best = f64::INFINITY;
        for _ in 0..=STEPS {
            let start = Instant::now();
            received.copy_from_slice(&theirs);
            ours.iter_mut().zip(&received).for_each(|(sum, value)| *sum += value);
            std::hint::black_box(&mut ours);
            best = best.min(start.elapsed().as_secs_f64());
        }
        let bytes_per_second = 4.0 * BLOCK as f64 / best.max(1e-9);
        let rate = bytes_per_second / 1e9;
        Self {
            bytes_per_second,
            assumption: format!(
                "{rate:.1} GB/s measured here in memory, for ranks of one machine; --bandwidth for a network"
            ),
        }
    }
}

fn positive(option: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(Error::config(option, format!("met {value}, expected a number above 0")))
}
