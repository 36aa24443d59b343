//! The built program in a folder of its own, as a user meets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary folder to run `selfie` in.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What a call came to.
pub struct Call {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A network and a grid that train within a second; the sample photographs at 32 pixels.
pub const TINY: &str =
    "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --set run.log_every=1 --batch-size 8";

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a small file, and the folders above it.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// `selfie` with these arguments, separated by blanks, on one thread.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfie"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        command.env("RAYON_NUM_THREADS", "1").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    pub fn call(&self, arguments: &str) -> Call {
        self.command(arguments).output().unwrap().into()
    }

    /// A call that must succeed; its stdout.
    pub fn run(&self, arguments: &str) -> String {
        let call = self.call(arguments);
        assert_eq!(call.status, Some(0), "{arguments}: {}", call.stderr);
        call.stdout
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        names_in(self.folder.path())
    }
}

/// The one line on stdout of a call that must succeed, read.
pub fn json(place: &Place, arguments: &str) -> serde_json::Value {
    let stdout = place.run(&format!("{arguments} --quiet --json"));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

impl From<Output> for Call {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
