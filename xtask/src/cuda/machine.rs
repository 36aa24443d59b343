//! Gathers what this machine has for CUDA: files are looked for, `nvidia-smi` and `nvcc` are asked. A question that gets no answer is no error.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Compiler, Facts, Version};
use crate::driver;

/// Files whose presence shows a card: NVIDIA's own listing and device, those of WSL and of Jetson boards.
const SIGNS_OF_A_CARD: &[&str] = &["dev/nvidia0", "dev/dxg", "dev/nvhost-gpu", "dev/nvgpu"];
/// Where cudaforge, which compiles candle's kernels, looks for a toolkit too.
const USUAL_TOOLKITS: &[&str] = &["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda"];

/// The facts about this machine; without a driver nothing further is asked.
pub fn facts() -> Facts {
    let Some(driver) = driver::find() else {
        return Facts::default();
    };
    let smi = |arguments: &[&str]| {
        let places = ["nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"];
        places.iter().find_map(|place| answer(place.as_ref(), arguments)).unwrap_or_default()
    };
    Facts {
        driver: Some(driver),
        card: is_a_card_below(Path::new("/")) || lists_a_card(&smi(&["-L"])),
        supported: supported(&smi(&[])),
        capability: std::env::var_os("CUDA_COMPUTE_CAP").is_some()
            || answer("nvidia-smi".as_ref(), &["--query-gpu=compute_cap", "--format=csv"]).is_some(),
        compiler: compiler(),
    }
}

/// PATH with the folder of `nvcc` in front, for a toolkit that is installed but not on PATH: cudarc's build asks `nvcc --version`.
pub fn path_with_nvcc() -> Option<OsString> {
    let folder = compiler()?.nvcc.parent()?.to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).ok()
}

fn compiler() -> Option<Compiler> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let toolkits = homes.chain(USUAL_TOOLKITS.iter().map(PathBuf::from)).map(|toolkit| toolkit.join("bin"));
    let nvcc = nvcc_in(std::env::split_paths(&path).chain(toolkits))?;
    let version = answer(&nvcc, &["--version"]).and_then(|text| release(&text));
    Some(Compiler { nvcc, version })
}

fn nvcc_in(folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let name = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn is_a_card_below(root: &Path) -> bool {
    let listed = std::fs::read_dir(root.join("proc/driver/nvidia/gpus")).is_ok_and(|mut cards| cards.next().is_some());
    listed || SIGNS_OF_A_CARD.iter().any(|sign| root.join(sign).exists())
}

/// Of `nvidia-smi -L`, a line a card.
fn lists_a_card(list: &str) -> bool {
    list.lines().any(|line| line.starts_with("GPU "))
}

/// Of the box that `nvidia-smi` draws. Drivers from 610 on name it after the part that is no kernel module.
fn supported(table: &str) -> Option<Version> {
    ["CUDA Version:", "CUDA UMD Version:"].iter().find_map(|name| Version::opening(table.split_once(name)?.1))
}

/// Of `nvcc --version`.
fn release(text: &str) -> Option<Version> {
    Version::opening(text.split_once("release ")?.1)
}

/// What a program prints, where it starts and succeeds.
fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_known_by_its_entry_or_its_device() {
        let root = tempfile::tempdir().unwrap();
        let cards = root.path().join("proc/driver/nvidia/gpus");
        assert!(!is_a_card_below(root.path()));
        // The driver's kernel module is loaded, and drives nothing.
        std::fs::create_dir_all(&cards).unwrap();
        assert!(!is_a_card_below(root.path()));
        std::fs::create_dir(cards.join("0000:01:00.0")).unwrap();
        assert!(is_a_card_below(root.path()));

        let container = tempfile::tempdir().unwrap();
        std::fs::create_dir(container.path().join("dev")).unwrap();
        std::fs::write(container.path().join("dev/nvidia0"), "").unwrap();
        assert!(is_a_card_below(container.path()));
    }

    #[test]
    fn nvidia_smi_lists_cards_or_complains() {
        assert!(lists_a_card("GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5c0a)\n"));
        assert!(!lists_a_card("No devices found.\n"));
        assert!(!lists_a_card("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"));
    }

    #[test]
    fn what_a_driver_supports_stands_in_the_first_lines_of_nvidia_smi() {
        let table = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |\n|---+---|\n";
        assert_eq!(supported(table), Some(Version { major: 12, minor: 4 }));
        let newer = "| NVIDIA-SMI 610.43.02   KMD Version: 610.43.02   CUDA UMD Version: 13.3     |\n";
        assert_eq!(supported(newer), Some(Version { major: 13, minor: 3 }));
        assert_eq!(supported("| NVIDIA-SMI 550.54.15   CUDA Version: N/A |"), None);
    }

    #[test]
    fn the_release_of_a_toolkit_stands_in_its_fourth_line() {
        let text = "nvcc: NVIDIA (R) Cuda compiler driver\nCopyright (c) 2005-2025 NVIDIA Corporation\n\
                    Built on Wed_Aug_20_01:58:59_PM_PDT_2025\nCuda compilation tools, release 13.0, V13.0.88\n";
        assert_eq!(release(text), Some(Version { major: 13, minor: 0 }));
        assert_eq!(release("no such thing"), None);
    }

    #[test]
    fn the_first_folder_with_nvcc_counts() {
        let place = tempfile::tempdir().unwrap();
        let (path, toolkit) = (place.path().join("bin"), place.path().join("cuda/bin"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::create_dir_all(&toolkit).unwrap();
        let name = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };
        assert_eq!(nvcc_in([path.clone(), toolkit.clone()]), None);
        std::fs::write(toolkit.join(name), "").unwrap();
        assert_eq!(nvcc_in([path, toolkit.clone()]), Some(toolkit.join(name)));
    }

    #[test]
    #[cfg(unix)]
    fn only_a_program_that_succeeds_has_answered() {
        let shell = |line: &str| answer("sh".as_ref(), &["-c", line]);
        let nvcc = shell("echo 'Cuda compilation tools, release 12.9, V12.9.41'");
        assert_eq!(nvcc.and_then(|text| release(&text)), Some(Version { major: 12, minor: 9 }));
        assert_eq!(shell("echo 'GPU 0: of before'; exit 9"), None);
        assert_eq!(answer("no-such-program".as_ref(), &[]), None);
    }
}
