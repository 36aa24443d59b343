//! Looks for NVIDIA's driver before anything is built for it: a search for a file, nothing is loaded.
//!
//! A program with candle's `cuda` feature does not even start without the driver's library, so this question must be
//! answered outside of it. Places: what the dynamic linker reads (LD_LIBRARY_PATH, `/etc/ld.so.conf`, the system's
//! library folders) and those of containers, WSL and NixOS.

use std::path::{Path, PathBuf};

/// The file that NVIDIA's driver installs.
pub const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// The driver's library, where there is one.
pub fn find() -> Option<PathBuf> {
    find_in(folders())
}

fn find_in(folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    // A folder of that name holds what programs link against on machines without a driver.
    let real = folders.into_iter().filter(|folder| !folder.ends_with("stubs"));
    real.map(|folder| folder.join(LIBRARY)).find(|file| file.exists())
}

fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for variable in if cfg!(windows) { ["PATH", "PATH"] } else { ["LD_LIBRARY_PATH", "NIX_LD_LIBRARY_PATH"] } {
        folders.extend(std::env::var_os(variable).iter().flat_map(std::env::split_paths));
    }
    let configurations = below("/etc/ld.so.conf.d").into_iter().chain(["/etc/ld.so.conf".into()]);
    folders.extend(configurations.flat_map(|file| linker_folders(&std::fs::read_to_string(file).unwrap_or_default())));
    for library_folder in ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"] {
        folders.push(library_folder.into());
        folders.extend(below(library_folder)); // x86_64-linux-gnu, nvidia, nvidia-NNN, ...
    }
    let others = ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib"];
    folders.extend(others.map(PathBuf::from));
    folders
}

/// The folders that a configuration of the dynamic linker names, a line each.
fn linker_folders(configuration: &str) -> Vec<PathBuf> {
    configuration.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

fn below(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_in_the_folder_that_has_it() {
        let place = tempfile::tempdir().unwrap();
        let (empty, full) = (place.path().join("a"), place.path().join("b"));
        std::fs::create_dir_all(&full).unwrap();
        assert_eq!(find_in([empty.clone(), full.clone()]), None);
        std::fs::write(full.join(LIBRARY), "").unwrap();
        assert_eq!(find_in([empty, full.clone()]), Some(full.join(LIBRARY)));
    }

    #[test]
    fn a_stub_is_no_driver() {
        let place = tempfile::tempdir().unwrap();
        let stubs = place.path().join("stubs");
        std::fs::create_dir_all(&stubs).unwrap();
        std::fs::write(stubs.join(LIBRARY), "").unwrap();
        assert_eq!(find_in([stubs]), None);
    }

    #[test]
    fn comments_and_includes_of_the_linker_are_skipped() {
        let found = linker_folders("# Multiarch\ninclude /etc/x/*.conf\n/opt/nvidia/lib \n");
        assert_eq!(found, [PathBuf::from("/opt/nvidia/lib")]);
    }
}
