//! Data sets and weights of the Hugging Face hub: listed, downloaded into the hub's own cache, and used from there without a network.
//!
//! What was fetched once stays as it is until [`Hub::fetch`] is asked for it anew, so a run can be repeated, and offline. The list
//! of files with their sizes lies beside the snapshot; the cache's layout is that of every other program of the hub.
//!
//! `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` (or the token that `hf auth login` keeps) and `HF_HUB_OFFLINE` mean what they mean there.

mod download;
mod model;
mod name;
mod origin;
mod transfer;
mod upload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::{Cache, Repo, RepoType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{DataError, DataResult};
use super::shards;
use super::source::has_image_suffix;
use super::splits::{Chosen, sides};
pub use model::fetch_weights;
pub(super) use name::RepoName;
use transfer::{Failure, Transfer};
pub use upload::{HubFile, HubUpload};

/// Where the hub's viewer keeps the parquet form of data sets that have none.
const CONVERTED: &str = "refs/convert/parquet";
/// The longest list of files that is read.
const LONGEST_LIST: u64 = 256 << 20;

/// Where to ask, and where to keep the answers.
pub(super) struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    offline: bool,
    /// Data sets or models.
    repo_type: RepoType,
    /// How long to wait after a broken connection; doubled each time.
    pause: Duration,
    /// Names of the splits to train and to test on; empty lists leave the choice to the files' names.
    chosen: [Vec<String>; 2],
}

/// The files of a data set, all of them in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) folder: PathBuf,
    pub(super) files: Vec<PathBuf>,
    pub(super) bytes: u64,
    /// Shards of the data set's other splits, which need not be in the cache.
    pub(super) others: Vec<PathBuf>,
}

/// The files that a data set consists of.
#[derive(Serialize, Deserialize)]
struct Listing {
    revision: String,
    commit: String,
    files: Vec<Listed>,
    /// Names of the shards of other splits.
    #[serde(default)]
    others: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Hub {
    /// The hub that the environment names.
    pub(super) fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match set("HF_HUB_CACHE") {
            Some(cache) => Cache::new(cache.into()),
            None => Cache::from_env(),
        };
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: set("HF_TOKEN").or_else(|| cache.token()),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
            cache,
            repo_type: RepoType::Dataset,
            pause: Duration::from_millis(500),
            chosen: Default::default(),
        }
    }

    /// The same hub, asked for these splits.
    pub(super) fn choosing(self, chosen: &Chosen) -> Self {
        Self { chosen: [chosen.train.to_vec(), chosen.test.to_vec()], ..self }
    }

    /// The same hub, asked for repositories of this kind.
    fn of(self, repo_type: RepoType) -> Self {
        Self { repo_type, ..self }
    }

    /// The data set as it was fetched before, else fetched now.
    pub(super) fn snapshot(&self, name: &RepoName) -> DataResult<Snapshot> {
        match self.complete(name) {
            Some(snapshot) => Ok(snapshot),
            None => self.fetch(name),
        }
    }

    /// Lists the data set anew and downloads what is missing.
    pub(super) fn fetch(&self, name: &RepoName) -> DataResult<Snapshot> {
        if self.offline {
            let reason = "is not complete in the cache, and HF_HUB_OFFLINE forbids to download it".to_owned();
            return Err(DataError::Hub { name: name.to_string(), reason });
        }
        let mut listing = self.list(name, name.revision())?;
        if listing.files.is_empty() && name.revision() == name::MAIN && matches!(self.repo_type, RepoType::Dataset) {
            listing = self.list(name, CONVERTED)?;
        }
        if listing.files.is_empty() {
            let kinds = if matches!(self.repo_type, RepoType::Dataset) {
                "parquet, tar or image"
            } else {
                "safetensors or .pth"
            };
            let reason = format!("holds no {kinds} file, expected one of these kinds");
            return Err(DataError::Hub { name: name.to_string(), reason });
        }
        let folder = self.cache_of(name, &listing.revision).pointer_path(&listing.commit);
        let source = download::Source {
            transfer: self.transfer(),
            repo: self.repo_of(name, &listing.revision),
            cache: self.cache_of(name, &listing.revision),
            name,
            folder: &folder,
            pause: self.pause,
        };
        source.download(&listing.files)?;
        let file = self.listing_file(name);
        let text = serde_json::to_vec(&listing).unwrap_or_default();
        std::fs::write(&file, text).map_err(DataError::io(&file))?;
        self.complete(name).ok_or_else(|| {
            let reason = format!("was downloaded to {}, but is not complete there", folder.display());
            DataError::Hub { name: name.to_string(), reason }
        })
    }

    /// The snapshot, if every file of the last listing is there in full.
    fn complete(&self, name: &RepoName) -> Option<Snapshot> {
        let text = std::fs::read(self.listing_file(name)).ok()?;
        let listing: Listing = serde_json::from_slice(&text).ok()?;
        let folder = self.cache_of(name, &listing.revision).pointer_path(&listing.commit);
        let is_there =
            |file: &Listed| std::fs::metadata(folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.size);
        if !listing.files.iter().all(is_there) {
            return None;
        }
        let files = listing.files.iter().map(|file| folder.join(&file.name)).collect();
        let others = listing.others.iter().map(|name| folder.join(name)).collect();
        Some(Snapshot { folder, files, bytes: listing.files.iter().map(|file| file.size).sum(), others })
    }

    /// Asks for the files of a revision, and keeps those that belong to the data.
    fn list(&self, name: &RepoName, revision: &str) -> DataResult<Listing> {
        let fail = |reason: String| DataError::Hub { name: name.to_string(), reason };
        let address = format!("api/{}?blobs=true", self.repo_of(name, revision).api_url());
        let mut answer = self.transfer().get(&address).map_err(|error| refused(name, &error))?;
        let text = answer.body_mut().with_config().limit(LONGEST_LIST).read_to_string();
        let text = text.map_err(|error| fail(format!("its list of files cannot be read: {error}")))?;
        let json: Value =
            serde_json::from_str(&text).map_err(|error| fail(format!("its list of files is no JSON: {error}")))?;
        let (Some(commit), Some(siblings)) = (json["sha"].as_str(), json["siblings"].as_array()) else {
            return Err(fail("its list of files has no sha or siblings, expected both".to_owned()));
        };
        let file = |sibling: &Value| {
            let name = sibling["rfilename"].as_str()?;
            let size = sibling["size"].as_u64().or_else(|| sibling["lfs"]["size"].as_u64())?;
            Some(Listed { name: name.to_owned(), size })
        };
        let files: Vec<_> = siblings.iter().filter_map(file).filter(|file| is_plain(&file.name)).collect();
        let below: Vec<_> = files.into_iter().filter(|file| name.contains(&file.name)).collect();
        let (files, others) = match self.repo_type {
            RepoType::Dataset => wanted(&below, &Chosen { train: &self.chosen[0], test: &self.chosen[1] })?,
            _ => (model::wanted(&below), Vec::new()),
        };
        Ok(Listing { revision: revision.to_owned(), commit: commit.to_owned(), files, others })
    }

    fn transfer(&self) -> Transfer {
        Transfer::new(&self.endpoint, self.token.clone())
    }

    fn cache_of(&self, name: &RepoName, revision: &str) -> hf_hub::CacheRepo {
        self.cache.repo(self.repo_of(name, revision))
    }

    fn repo_of(&self, name: &RepoName, revision: &str) -> Repo {
        Repo::with_revision(name.id().to_owned(), self.repo_type, revision.to_owned())
    }

    /// Where the list of files is kept.
    fn listing_file(&self, name: &RepoName) -> PathBuf {
        let folder = self.cache.path().join(self.repo_of(name, name::MAIN).folder_name());
        folder.join(format!("selfie-{}.json", name.file_name()))
    }
}

/// Whether a name from the network stays inside of the folder that it is joined to.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && !name.contains('\\') && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// The shards of the two splits that are read, if there are shards, else images; and the names of the other shards.
fn wanted(files: &[Listed], chosen: &Chosen) -> DataResult<(Vec<Listed>, Vec<String>)> {
    let paths: Vec<_> = files.iter().map(|file| PathBuf::from(&file.name)).collect();
    let Some(kind) = shards::kind_of(&paths, "the data set")? else {
        return Ok((
            files.iter().filter(|file| has_image_suffix(Path::new(&file.name))).cloned().collect(),
            Vec::new(),
        ));
    };
    let shards: Vec<_> = files.iter().filter(|file| kind.is(Path::new(&file.name))).cloned().collect();
    let both = sides(&shards, |file| file.name.clone(), chosen)?;
    let mut read = [both.train, both.test].concat();
    read.sort_by(|a, b| a.name.cmp(&b.name));
    let is_read = |name: &str| read.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok();
    let others = shards.into_iter().map(|file| file.name).filter(|name| !is_read(name)).collect();
    Ok((read, others))
}

/// What the hub's refusal means to the one who asked.
fn refused(name: &RepoName, error: &Failure) -> DataError {
    let name = name.to_string();
    let status = match error {
        Failure::Request(ureq::Error::StatusCode(status)) => Some(*status),
        _ => None,
    };
    let reason = match status {
        Some(401) => "401: no such repository, or a private one; expected a token in HF_TOKEN or from `hf auth login`",
        Some(403) => "403: access is not granted to this token; expected that its terms were accepted on its page",
        Some(404) => "404: no such repository, revision or file",
        _ => return DataError::Hub { name, reason: error.to_string() },
    };
    DataError::HubRefused { name, reason: reason.to_owned() }
}

#[cfg(test)]
#[path = "hub/tests.rs"]
mod tests;
