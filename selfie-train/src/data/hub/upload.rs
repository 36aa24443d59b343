//! Files to a model repository of the Hugging Face hub, in one commit, as the hub's own clients send them.
//!
//! hf-hub 0.5 only downloads, so this speaks the hub's interface: the repository is made where it is not there; `preupload` says
//! of each file whether it goes into git or into the store of large files (LFS); those are uploaded by the LFS batch, in one piece
//! or in the parts that the hub asks for; and one commit, a JSON line a file, names them all.
//!
//! What is tested and what is not: `tests/upload.rs` and the program's tests run all of it against a server on this machine that
//! answers as the hub's documents and its Python client (`huggingface_hub`, `_commit_api.py` and `lfs.py`) say: both kinds of
//! files, one piece and parts, a repository that is there, refusals, the token. They cannot show that the real hub answers so:
//! its TLS, its rate limits, redirects between its stores, files above 5 GB, and the newer Xet store, for which LFS is the
//! fallback that it still offers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Request, Response};
use ureq::{Agent, Body, SendBody};

use super::origin::same_origin;
use super::{DataError, DataResult, Hub, RepoName};

/// Bytes at the start of a file that the hub wants to see before it decides.
const SAMPLE: u64 = 512;
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 16 << 20;
/// What git's large files are spoken of in.
const LFS: &str = "application/vnd.git-lfs+json";

/// A connection to the hub that may write.
pub struct HubUpload {
    hub: Hub,
    name: RepoName,
    token: String,
    agent: Agent,
}

/// A file to upload, and its name there.
#[derive(Clone, Debug)]
pub struct HubFile {
    /// The name in the repository.
    pub name: String,
    /// The file here.
    pub path: PathBuf,
}

/// A file with what the hub is told of it.
struct Known<'a> {
    file: &'a HubFile,
    size: u64,
    sha256: String,
    is_large: bool,
}

impl HubUpload {
    /// Prepares an upload to `OWNER/NAME`, with the hub and the token that the environment names; nothing is sent.
    ///
    /// # Errors
    /// [`DataError::Config`] where the name is none, or names more than a repository; [`DataError::HubRefused`] without a token, or
    /// with HF_HUB_OFFLINE.
    pub fn prepare(name: &str) -> DataResult<Self> {
        Self::with(Hub::from_env().of(hf_hub::RepoType::Model), name)
    }

    pub(super) fn with(hub: Hub, name: &str) -> DataResult<Self> {
        let name: RepoName = name.parse()?;
        if name.to_string() != format!("hf:{}", name.id()) {
            let reason = format!("{name}, expected hf:OWNER/NAME alone: uploads go to its main branch");
            return Err(DataError::config("hub", reason));
        }
        let refused = |reason: &str| DataError::HubRefused { name: name.to_string(), reason: reason.to_owned() };
        if hub.offline {
            return Err(refused("HF_HUB_OFFLINE forbids to upload"));
        }
        let Some(token) = hub.token.clone() else {
            return Err(refused("no token, expected one that may write, in HF_TOKEN or from `hf auth login`"));
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .build()
            .new_agent();
        Ok(Self { hub, name, token, agent })
    }

    /// Uploads `files` in one commit with the message `summary`; the address of the repository.
    ///
    /// # Errors
    /// [`DataError::HubRefused`] where the token may not; [`DataError::Hub`] where the hub cannot be reached or answers otherwise than
    /// expected; [`DataError::Io`] for a file here.
    pub fn send(&self, files: &[HubFile], summary: &str) -> DataResult<String> {
        self.create()?;
        let known = self.look_up(files)?;
        let large: Vec<_> = known.iter().filter(|known| known.is_large).collect();
        self.send_large(&large)?;
        self.commit(&known, summary)?;
        Ok(self.address(""))
    }

    /// Makes the repository; one that is there already is fine, also for a token that may write there and make none.
    fn create(&self) -> DataResult<()> {
        let (owner, name) = self.name.id().split_once('/').unwrap_or_default();
        let wanted = json!({ "name": name, "organization": owner, "type": "model" });
        let response =
            self.post(&self.address("api/repos/create"), "application/json", wanted.to_string().as_bytes())?;
        match response.status().as_u16() {
            409 => Ok(()),
            403 if self.is_there() => Ok(()),
            _ => self.good(response, "making the repository").map(drop),
        }
    }

    /// Whether the hub shows the repository to this token.
    fn is_there(&self) -> bool {
        let request = self.agent.get(self.address(&format!("api/models/{}", self.name.id())));
        let answer = request.header("Authorization", format!("Bearer {}", self.token)).call();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks which files go to the store of large files.
    fn look_up<'a>(&self, files: &'a [HubFile]) -> DataResult<Vec<Known<'a>>> {
        let mut known = Vec::new();
        let mut told = Vec::new();
        for file in files {
            let io = DataError::io(&file.path);
            let (size, sha256, sample) = measured(&file.path).map_err(io)?;
            told.push(json!({ "path": file.name, "size": size, "sample": STANDARD.encode(sample) }));
            known.push(Known { file, size, sha256, is_large: false });
        }
        let address = self.address(&format!("api/models/{}/preupload/main", self.name.id()));
        let answer = self.ask(&address, "application/json", &json!({ "files": told }), "preupload")?;
        for known in &mut known {
            let entries = answer["files"].as_array().into_iter().flatten();
            let entry = entries.into_iter().find(|entry| entry["path"] == known.file.name.as_str());
            known.is_large = match entry.and_then(|entry| entry["uploadMode"].as_str()) {
                Some("lfs") => true,
                Some("regular") => false,
                other => {
                    let reason = format!("preupload of {}: mode {other:?}, expected lfs or regular", known.file.name);
                    return Err(self.fail(reason));
                }
            };
        }
        Ok(known)
    }

    /// Uploads those of the large files that the store does not have yet.
    fn send_large(&self, large: &[&Known]) -> DataResult<()> {
        if large.is_empty() {
            return Ok(());
        }
        let objects: Vec<_> = large.iter().map(|known| json!({ "oid": known.sha256, "size": known.size })).collect();
        let wanted = json!({ "operation": "upload", "transfers": ["basic", "multipart"], "objects": objects,
                             "hash_algo": "sha256", "ref": { "name": "main" } });
        let address = self.address(&format!("{}.git/info/lfs/objects/batch", self.name.id()));
        let answer = self.ask(&address, LFS, &wanted, "the LFS batch")?;
        for known in large {
            let objects = answer["objects"].as_array().into_iter().flatten();
            let object = objects.into_iter().find(|object| object["oid"] == known.sha256.as_str());
            let Some(object) = object.filter(|object| object["error"].is_null()) else {
                let said = object.map_or_else(|| "nothing".to_owned(), |object| object["error"].to_string());
                return Err(self.fail(format!("the LFS batch says of {}: {said}", known.file.name)));
            };
            let actions = &object["actions"];
            if actions.is_null() {
                continue; // the store has it
            }
            self.put_large(known, &actions["upload"])?;
            if let Some(verify) = actions["verify"]["href"].as_str() {
                let told = json!({ "oid": known.sha256, "size": known.size });
                self.ask(verify, LFS, &told, "the check of the upload")?;
            }
        }
        Ok(())
    }

    /// Puts one file where `action` says, in one piece or in parts.
    fn put_large(&self, known: &Known, action: &Value) -> DataResult<()> {
        let name = &known.file.name;
        let href = action["href"].as_str().ok_or_else(|| self.fail(format!("no address to upload {name} to")))?;
        let header = &action["header"];
        let chunk = header["chunk_size"].as_u64().or_else(|| header["chunk_size"].as_str()?.parse().ok());
        let Some(chunk) = chunk.filter(|&chunk| chunk > 0) else {
            self.put_part(known, href, 0, known.size)?;
            return Ok(());
        };
        let mut parts: Vec<(u64, &str)> = header
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(number, address)| Some((number.parse().ok()?, address.as_str()?)))
            .collect();
        parts.sort_unstable();
        let expected = known.size.div_ceil(chunk);
        if parts.len() as u64 != expected {
            return Err(self.fail(format!("{} addresses for the parts of {name}, expected {expected}", parts.len())));
        }
        let mut done = Vec::new();
        for (i, (number, address)) in parts.iter().enumerate() {
            let start = i as u64 * chunk;
            let etag = self.put_part(known, address, start, chunk.min(known.size - start))?;
            let etag = etag.ok_or_else(|| self.fail(format!("no etag for part {number} of {name}")))?;
            done.push(json!({ "partNumber": i + 1, "etag": etag }));
        }
        self.ask_without_token(href, &json!({ "oid": known.sha256, "parts": done }), "the end of the upload")
    }

    /// Puts `length` bytes from `start` on; the etag of the answer.
    fn put_part(&self, known: &Known, address: &str, start: u64, length: u64) -> DataResult<Option<String>> {
        let io = DataError::io(&known.file.path);
        let mut file =
            File::open(&known.file.path).and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file));
        let file = file.as_mut().map_err(|error| std::io::Error::new(error.kind(), error.to_string())).map_err(io)?;
        let mut part = file.take(length);
        // No token: the address carries its own signature, and may be another company's.
        let request = Request::put(address).header("Content-Length", length);
        let request = request.body(SendBody::from_reader(&mut part)).map_err(|error| self.fail(error.to_string()))?;
        let response = self.agent.run(request).map_err(|error| self.fail(format!("{}: {error}", known.file.name)))?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        self.good(response, &format!("the upload of {}", known.file.name))?;
        Ok(etag)
    }

    /// Names all files in one commit: a JSON line for its message, then one a file.
    fn commit(&self, known: &[Known], summary: &str) -> DataResult<()> {
        let mut lines = json!({ "key": "header", "value": { "summary": summary, "description": "" } }).to_string();
        for Known { file, size, sha256, is_large } in known {
            let line = match is_large {
                true => json!({ "key": "lfsFile",
                                "value": { "path": file.name, "algo": "sha256", "oid": sha256, "size": size } }),
                false => {
                    let content = std::fs::read(&file.path).map_err(DataError::io(&file.path))?;
                    let content = STANDARD.encode(content);
                    json!({ "key": "file", "value": { "path": file.name, "encoding": "base64", "content": content } })
                }
            };
            lines += &format!("\n{line}");
        }
        let address = self.address(&format!("api/models/{}/commit/main", self.name.id()));
        let response = self.post(&address, "application/x-ndjson", lines.as_bytes())?;
        self.good(response, "the commit").map(drop)
    }

    fn ask(&self, address: &str, kind: &str, wanted: &Value, what: &str) -> DataResult<Value> {
        let text = self.good(self.post(address, kind, wanted.to_string().as_bytes())?, what)?;
        let answer = if text.trim().is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        answer.map_err(|error| self.fail(format!("{what}: the answer is no JSON: {error}")))
    }

    fn ask_without_token(&self, address: &str, wanted: &Value, what: &str) -> DataResult<()> {
        let request = self.agent.post(address).header("Content-Type", LFS).header("Accept", LFS);
        let response = request.send(wanted.to_string().as_bytes());
        self.good(response.map_err(|error| self.fail(format!("{what}: {error}")))?, what).map(drop)
    }

    fn post(&self, address: &str, kind: &str, body: &[u8]) -> DataResult<Response<Body>> {
        let accept = if kind == LFS { LFS } else { "application/json" };
        let mut request = self.agent.post(address);
        // The hub names some of the addresses itself.
        if same_origin(address, &self.hub.endpoint) {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        let request = request.header("User-Agent", concat!("selfie/", env!("CARGO_PKG_VERSION")));
        let request = request.header("Content-Type", kind).header("Accept", accept);
        request.send(body).map_err(|error| self.fail(error.to_string()))
    }

    /// The text of a good answer; what another one means.
    fn good(&self, mut response: Response<Body>, what: &str) -> DataResult<String> {
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let name = self.name.to_string();
        let told =
            |means: &str| DataError::HubRefused { name: name.clone(), reason: format!("{what}: {status}: {means}") };
        match status {
            200..300 => text.map_err(|error| self.fail(format!("{what}: {error}"))),
            401 => {
                Err(told("the token is not valid, expected one that may write, in HF_TOKEN or from `hf auth login`"))
            }
            403 => Err(told("this token may not write there, expected one with write access to the owner's models")),
            404 => Err(told("no such owner or repository")),
            _ => {
                let said: String = text.unwrap_or_default().chars().take(200).collect();
                Err(self.fail(format!("{what}: status {status}: {said}")))
            }
        }
    }

    fn address(&self, path: &str) -> String {
        let path = if path.is_empty() { self.name.id() } else { path };
        format!("{}/{path}", self.hub.endpoint.trim_end_matches('/'))
    }

    fn fail(&self, reason: String) -> DataError {
        DataError::Hub { name: self.name.to_string(), reason }
    }
}

/// Size, SHA-256 in hexadecimal digits and first bytes of a file.
fn measured(path: &Path) -> std::io::Result<(u64, String, Vec<u8>)> {
    let mut sample = Vec::new();
    File::open(path)?.take(SAMPLE).read_to_end(&mut sample)?;
    let (mut file, mut hasher, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((size, digits, sample))
}
