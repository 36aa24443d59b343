//! The name of a data set of the hub: `OWNER/NAME`, with a folder in it and a revision where they are wanted.

use std::fmt;
use std::str::FromStr;

use super::super::error::DataError;
use crate::seed::hash_name;

/// The revision that is meant where none is named.
pub(super) const MAIN: &str = "main";

/// `OWNER/NAME[/FOLDER][@REVISION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct RepoName {
    id: String,
    folder: Option<String>,
    revision: String,
}

impl FromStr for RepoName {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (path, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let mut parts = path.trim_end_matches('/').splitn(3, '/');
        let is_word = |word: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(allowed) && !word.starts_with('.')
        };
        let (owner, name) = (parts.next().filter(is_word), parts.next().filter(is_word));
        let (Some(owner), Some(name), false) = (owner, name, revision.is_empty() || revision.contains("..")) else {
            let reason = format!("hf:{text}, expected hf:OWNER/NAME, maybe with /FOLDER and @REVISION behind it");
            return Err(DataError::config("data.source", reason));
        };
        let folder = parts.next().map(|folder| format!("{folder}/"));
        Ok(Self { id: format!("{owner}/{name}"), folder, revision: revision.to_owned() })
    }
}

impl RepoName {
    /// `OWNER/NAME`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether a file of the repository is meant too.
    pub(super) fn contains(&self, file: &str) -> bool {
        self.folder.as_ref().is_none_or(|folder| file.starts_with(folder))
    }

    /// What tells this name apart among files.
    pub(super) fn file_name(&self) -> String {
        format!("{:016x}", hash_name(&self.to_string()))
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.id)?;
        if let Some(folder) = &self.folder {
            write!(f, "/{}", folder.trim_end_matches('/'))?;
        }
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for text in ["uoft-cs/cifar10", "o/n/plain_text", "o/n@v1.0", "o/n/a/b@refs/convert/parquet"] {
            assert_eq!(text.parse::<RepoName>().unwrap().to_string(), format!("hf:{text}"));
        }
        let name: RepoName = "o/n/plain_text".parse().unwrap();
        assert!(name.contains("plain_text/train.parquet") && !name.contains("plain_text2/train.parquet"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "cifar10", "o/", "/n", "o/n@", "../x", "o/..", "o/n@a/../b", "o o/n"] {
            let error = text.parse::<RepoName>().unwrap_err().to_string();
            assert!(error.contains(&format!("hf:{text},")), "{error}");
        }
    }
}
