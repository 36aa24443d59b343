//! The files of the project, as the checks read them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Every text file that git tracks or would track, by its path from the root, with `/`.
pub struct Tree {
    texts: BTreeMap<String, String>,
    others: Vec<String>,
}

impl Tree {
    /// Reads the project at `root`; where git does not know it, everything but build outputs.
    pub fn read(root: &Path) -> Result<Self> {
        let paths = match git_files(root) {
            Some(paths) => paths,
            None => files_below(root, "")?,
        };
        let mut tree = Self { texts: BTreeMap::new(), others: Vec::new() };
        for path in paths {
            // A file that was deleted and not committed is still in git's list.
            let Ok(bytes) = std::fs::read(root.join(&path)) else {
                continue;
            };
            match String::from_utf8(bytes) {
                Ok(text) => _ = tree.texts.insert(path, text),
                Err(_) => tree.others.push(path),
            }
        }
        Ok(tree)
    }

    /// Paths and contents, in the order of their paths.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The content of one text file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether `path` is a file of the project, or a folder with one.
    pub fn exists(&self, path: &str) -> bool {
        let is_or_holds =
            |file: &str| file.strip_prefix(path).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'));
        path.is_empty() || self.texts.keys().chain(&self.others).any(|file| is_or_holds(file))
    }
}

fn git_files(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    let list = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// The files below `root/folder`, without what .gitignore names.
fn files_below(root: &Path, folder: &str) -> Result<Vec<String>> {
    let place = root.join(folder);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&place).with_context(|| place.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if ["target", "runs", ".git", "__pycache__"].contains(&name.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            paths.extend(files_below(root, &path)?);
        } else {
            paths.push(path);
        }
    }
    Ok(paths)
}

#[cfg(test)]
impl Tree {
    /// A project of these files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let texts = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        Self { texts, others: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_exists_when_it_holds_a_file() {
        let tree = Tree::of(&[("a/b.md", "")]);
        assert!(tree.exists("a") && tree.exists("a/b.md"));
        assert!(!tree.exists("a/b") && !tree.exists("c"));
    }

    #[test]
    fn build_outputs_do_not_belong_to_the_project() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["src", "target"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("a.rs"), "").unwrap();
        }
        assert_eq!(files_below(root.path(), "").unwrap(), ["src/a.rs"]);
    }
}
