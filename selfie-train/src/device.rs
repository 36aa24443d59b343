//! Where a run computes: the word after `--device`, and the device it means.
//!
//! `auto` takes a CUDA or Metal device where the program was built for it and one answers, else the CPU. Whether one answers
//! is found out by trying: Candle's `cuda_is_available` only tells how it was built.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation};

use crate::error::{Error, Result};
use crate::ranks::local_rank;

/// The word after `--device`.
///
/// ```
/// use selfie_train::DeviceChoice;
/// assert_eq!("cuda:1".parse::<DeviceChoice>()?, DeviceChoice::Cuda(1));
/// assert!("tpu".parse::<DeviceChoice>().unwrap_err().is_config());
/// assert!("cpu".parse::<DeviceChoice>()?.select()?.is_cpu());
/// # Ok::<(), selfie_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The fastest that answers.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA device, by number.
    Cuda(usize),
    /// Apple's.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => match word.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Cuda(number)),
                _ => Err(Error::config("--device", format!("met `{word}`, expected auto, cpu, cuda, cuda:N or metal"))),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// The device, tried out. Of several ranks on one machine each takes the card after its neighbour's.
    ///
    /// # Errors
    /// [`Error::Config`] where it does not answer, or the program was not built for it.
    pub fn select(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => self.built("cuda", cfg!(feature = "cuda"))?.answer(Device::new_cuda(card(number))),
            Self::Metal => self.built("metal", cfg!(feature = "metal"))?.answer(Device::new_metal(0)),
            Self::Auto => {
                let accelerators = [(cfg!(feature = "cuda"), Self::Cuda(0)), (cfg!(feature = "metal"), Self::Metal)];
                let answering =
                    accelerators.into_iter().filter(|(built, _)| *built).find_map(|(_, choice)| choice.select().ok());
                Ok(answering.unwrap_or(Device::Cpu))
            }
        }
    }

    fn built(self, feature: &str, built: bool) -> Result<Self> {
        if built {
            return Ok(self);
        }
        let reason = format!("met {self}, but this program was built without the feature `{feature}`");
        Err(Error::config("--device", reason))
    }

    fn answer(self, device: candle_core::Result<Device>) -> Result<Device> {
        device.map_err(|error| {
            let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
            Error::config("--device", format!("met {self}, but it does not answer: {first_line}"))
        })
    }
}

/// The card of this rank, where the first on its machine takes number `first`; the only one where it is shown no other.
fn card(first: usize) -> usize {
    let shown_one = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|list| !list.contains(','));
    if shown_one { first } else { first + local_rank() }
}

/// The device in words, as the program prints it.
#[must_use]
pub fn describe_device(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => match rayon::current_num_threads() {
            1 => "cpu, 1 thread".to_owned(),
            threads => format!("cpu, {threads} threads"),
        },
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
