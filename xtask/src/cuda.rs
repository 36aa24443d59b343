//! What `--device cuda` needs of a machine, said before a build that takes minutes: NVIDIA's driver, a card, a toolkit, and that they fit.
//!
//! [`machine`] gathers the facts by looking for files and asking `nvidia-smi` and `nvcc`; nothing of CUDA is loaded here. [`problem`] is a pure
//! function of them. A program with candle's `cuda` feature does not even start without the driver's library, so it cannot say these things itself.

mod machine;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::driver;

pub use machine::{facts, path_with_nvcc};

/// CUDA 11.8 brought `cuda_fp8.h`, which candle's kernels include.
const OLDEST: Version = Version { major: 11, minor: 8 };

/// A release of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// The number that `text` begins with, such as `13.0` of ` 13.0, V13.0.88`.
    fn opening(text: &str) -> Option<Self> {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (major, minor) = text[..end].split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.split('.').next()?.parse().ok()? })
    }

    /// The release whose PTX this one writes. Candle's kernels are PTX, which a driver translates when they are loaded, if it is not of a newer
    /// language than its own: so the minor number matters too. Each release brought a new language, but for 12.6.
    fn language(self) -> Self {
        match (self.major, self.minor) {
            (12, 6) => Self { major: 12, minor: 5 },
            _ => self,
        }
    }
}

/// The compiler of a CUDA toolkit; its version where it could be understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiler {
    pub nvcc: PathBuf,
    pub version: Option<Version>,
}

/// What a machine has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The driver's library.
    pub driver: Option<PathBuf>,
    /// Whether anything shows a card.
    pub card: bool,
    /// The newest CUDA that the driver supports, where `nvidia-smi` tells it.
    pub supported: Option<Version>,
    /// Whether the card's compute capability is known: from CUDA_COMPUTE_CAP or `nvidia-smi`.
    pub capability: bool,
    pub compiler: Option<Compiler>,
}

/// One line on what is wrong and what to install; none where a build is worth its time.
pub fn problem(facts: &Facts) -> Option<String> {
    let Some(driver) = &facts.driver else {
        return Some(format!(
            "no {} found: install NVIDIA's driver (and its CUDA toolkit, to build), or take --device cpu",
            driver::LIBRARY
        ));
    };
    if !facts.card {
        return Some(format!(
            "NVIDIA's driver is installed ({}), but no card answers: /proc/driver/nvidia/gpus and `nvidia-smi -L` list none; load the \
             driver's kernel module, start a container with its GPUs (docker run --gpus all), or take --device cpu",
            driver.display()
        ));
    }
    let upto =
        facts.supported.map(|supported| format!(" {supported} (the newest for this driver)")).unwrap_or_default();
    let Some(compiler) = &facts.compiler else {
        return Some(format!(
            "no CUDA toolkit to build with: nvcc is neither on PATH nor in bin/ of CUDA_HOME, CUDA_PATH or /usr/local/cuda; install the CUDA \
             toolkit{upto}, or set CUDA_HOME"
        ));
    };
    compiler.version.and_then(|version| unfit(version, facts.supported, &compiler.nvcc)).or_else(|| {
        (!facts.capability).then(|| {
            "the card's compute capability is unknown without nvidia-smi: set CUDA_COMPUTE_CAP to its number (80 for an A100, 90 for an H100)"
                .to_owned()
        })
    })
}

/// Why a toolkit of this version is not the one to build with.
fn unfit(version: Version, supported: Option<Version>, nvcc: &Path) -> Option<String> {
    let nvcc = nvcc.display();
    if version < OLDEST {
        return Some(format!(
            "the CUDA toolkit is {version} ({nvcc}), candle's kernels need {OLDEST}: install a newer toolkit"
        ));
    }
    let supported = supported.filter(|supported| version.language() > supported.language())?;
    Some(format!(
        "the CUDA toolkit is {version} ({nvcc}), newer than the {supported} that the driver supports: install a driver for CUDA {version}, or the \
         toolkit {supported} with its nvcc first on PATH"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(major: u32, minor: u32) -> Version {
        Version { major, minor }
    }

    fn complete() -> Facts {
        Facts {
            driver: Some("/usr/lib/libcuda.so.1".into()),
            card: true,
            supported: Some(version(12, 8)),
            capability: true,
            compiler: compiler(12, 8),
        }
    }

    fn compiler(major: u32, minor: u32) -> Option<Compiler> {
        Some(Compiler { nvcc: "/cuda/bin/nvcc".into(), version: Some(version(major, minor)) })
    }

    /// The line for `facts`, which must be one and contain `words`.
    fn says(facts: &Facts, words: &[&str]) {
        let line = problem(facts).expect("a problem");
        assert!(!line.contains('\n'));
        for word in words {
            assert!(line.contains(word), "no '{word}' in: {line}");
        }
    }

    #[test]
    fn a_complete_machine_has_no_problem() {
        assert_eq!(problem(&complete()), None);
        // What cannot be asked is not held against it.
        assert_eq!(problem(&Facts { supported: None, ..complete() }), None);
        let silent = Some(Compiler { nvcc: "/cuda/bin/nvcc".into(), version: None });
        assert_eq!(problem(&Facts { compiler: silent, ..complete() }), None);
    }

    #[test]
    fn the_first_thing_that_is_missing_is_named_with_what_to_install() {
        says(&Facts::default(), &[driver::LIBRARY, "install NVIDIA's driver", "--device cpu"]);
        says(&Facts { card: false, ..complete() }, &["no card", "/usr/lib/libcuda.so.1", "--gpus all", "--device cpu"]);
        says(&Facts { compiler: None, ..complete() }, &["no CUDA toolkit", "nvcc", "install", "12.8", "CUDA_HOME"]);
        says(&Facts { capability: false, ..complete() }, &["CUDA_COMPUTE_CAP"]);
    }

    #[test]
    fn a_toolkit_newer_than_the_driver_is_named_with_both_versions() {
        for (major, minor) in [(13, 0), (12, 9)] {
            let newer = Facts { compiler: compiler(major, minor), ..complete() };
            says(&newer, &[&version(major, minor).to_string(), "12.8", "newer", "/cuda/bin/nvcc", "install a driver"]);
        }
        says(&Facts { compiler: compiler(11, 4), ..complete() }, &["11.4", "11.8", "newer toolkit"]);
        assert_eq!(problem(&Facts { compiler: compiler(12, 0), ..complete() }), None);
    }

    #[test]
    fn releases_of_one_ptx_language_fit_each_other() {
        let facts = Facts { supported: Some(version(12, 5)), compiler: compiler(12, 6), ..complete() };
        assert_eq!(problem(&facts), None);
    }

    #[test]
    fn a_version_is_read_from_what_follows_it() {
        assert_eq!(Version::opening(" 13.0, V13.0.88"), Some(version(13, 0)));
        assert_eq!(Version::opening("12.4     |"), Some(version(12, 4)));
        assert_eq!(Version::opening("N/A"), None);
        assert!(version(12, 10) > version(12, 9));
    }
}
