//! Requests to the hub, and its files into the cache.
//!
//! The token is sent to the endpoint alone, never to a host that a file is redirected to: hf-hub 0.5 sends it along there, so
//! redirects are followed here, and only the layout of the cache is hf-hub's.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use hf_hub::CacheRepo;
use ureq::http::header::{CONTENT_RANGE, LOCATION};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::origin::{origin, same_origin};

/// Most redirects of one request.
const MOST_HOPS: usize = 10;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The hub refused it, or the connection broke.
    #[error("{0}")]
    Request(#[from] ureq::Error),
    /// A file here could not be written, or the connection broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// An answer that no hub gives.
    #[error("{0}")]
    Answer(String),
    /// The part in the cache is as long as the file, or longer.
    #[error("the part in the cache is as long as the file, or longer")]
    UselessPart,
}

type Result<T> = std::result::Result<T, Failure>;

/// Names and values of headers, those of all answers together.
type Headers = Vec<(String, String)>;

/// Client for one endpoint of the hub.
pub(super) struct Transfer {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What the hub answers about a file.
struct Remote {
    etag: String,
    commit: String,
    size: u64,
}

impl Transfer {
    /// Requests to `endpoint`, with `token` if there is one.
    pub(super) fn new(endpoint: &str, token: Option<String>) -> Self {
        let agent = Agent::config_builder().max_redirects(0).max_redirects_will_error(false).build().new_agent();
        Self { agent, endpoint: endpoint.trim_end_matches('/').to_owned(), token }
    }

    /// Returns the answer to a request for `path` at the endpoint.
    pub(super) fn get(&self, path: &str) -> Result<Response<Body>> {
        Ok(self.follow(&format!("{}/{}", self.endpoint, quoted(path)), None)?.1)
    }

    /// Downloads the file at `path` of the endpoint to its place in the cache; returns that place. `progress` receives the bytes
    /// that are there. A part that an earlier attempt left is continued.
    pub(super) fn download(
        &self,
        path: &str,
        cache: &CacheRepo,
        name: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf> {
        let address = format!("{}/{}", self.endpoint, quoted(path));
        let remote = self.ask(&address)?;
        let blob = cache.blob_path(&remote.etag);
        let folder = blob.parent().unwrap_or(Path::new("")).to_path_buf();
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(format!("{}.lock", remote.etag)))?;
        lock.lock()?; // another process may be downloading the same file
        let part = folder.join(format!("{}.part", remote.etag));
        if !blob.exists() {
            self.complete(&address, &part, remote.size, progress)?;
            std::fs::rename(&part, &blob)?;
        }
        drop(lock);
        let place = cache.pointer_path(&remote.commit).join(name);
        link(&blob, &place, name)?;
        cache.create_ref(&remote.commit)?;
        Ok(place)
    }

    /// Downloads what `part` lacks.
    fn complete(&self, address: &str, part: &Path, size: u64, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(part)?;
        let mut done = file.metadata()?.len();
        if done >= size && size > 0 {
            return Err(Failure::UselessPart);
        }
        let answer = self.follow(address, Some(&format!("bytes={done}-")))?.1;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            file.set_len(0)?; // the server sends the whole file
            done = 0;
        }
        progress(done);
        let mut body = answer.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = body.read(&mut chunk)?;
            if count == 0 {
                return if done < size { Err(Failure::Answer("the connection broke off".to_owned())) } else { Ok(()) };
            }
            file.write_all(&chunk[..count])?;
            done += count as u64;
            progress(done);
        }
    }

    /// Requests one byte of a file; returns its etag, commit and size from the headers.
    fn ask(&self, address: &str) -> Result<Remote> {
        let (own, last) = self.follow(address, Some("bytes=0-0"))?;
        let header = |name: &str| own.iter().find_map(|(known, value)| (known == name).then(|| value.clone()));
        let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").replace('"', "");
        let commit = header("x-repo-commit").unwrap_or_default();
        let range = last.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let size = range.rsplit('/').next().and_then(|size| size.parse().ok());
        match size {
            Some(size) if is_name(&etag) && is_name(&commit) => Ok(Remote { etag, commit, size }),
            _ => Err(Failure::Answer(format!(
                "the hub answered with etag {etag:?}, commit {commit:?} and range {range:?}, expected all three"
            ))),
        }
    }

    /// Follows redirects from `address`; returns the headers that the endpoint itself sent, and the last answer.
    fn follow(&self, address: &str, range: Option<&str>) -> Result<(Headers, Response<Body>)> {
        let (mut address, mut own) = (address.to_owned(), Vec::new());
        for _ in 0..MOST_HOPS {
            let mut request =
                self.agent.get(&address).header("User-Agent", concat!("selfie/", env!("CARGO_PKG_VERSION")));
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            let is_own = same_origin(&address, &self.endpoint);
            if let (true, Some(token)) = (is_own, &self.token) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let answer = request.call()?;
            if is_own {
                let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
                own.extend(answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))));
            }
            if !answer.status().is_redirection() {
                return Ok((own, answer));
            }
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            address = joined(&address, location.unwrap_or_default())
                .ok_or_else(|| Failure::Answer(format!("a redirect to {location:?}, expected an address")))?;
        }
        Err(Failure::Answer(format!("more than {MOST_HOPS} redirects")))
    }
}

/// Returns whether a word of the hub can become the name of a file in the cache, and no path.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}

/// The address that `location` names, seen from `address`.
fn joined(address: &str, location: &str) -> Option<String> {
    if origin(location).is_some() {
        return Some(location.to_owned());
    }
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split('/').next()?;
    match location {
        _ if location.starts_with("//") => Some(format!("{scheme}:{location}")),
        _ if location.starts_with('/') => Some(format!("{scheme}://{host}{location}")),
        _ => None,
    }
}

/// A path with everything percent-encoded that an address does not take; what is encoded already stays.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/%?=&+,@:".contains(&byte);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Makes `place` a link to `blob`, relative as other programs of the hub make it, or moves the file there.
fn link(blob: &Path, place: &Path, name: &str) -> std::io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(place.parent().unwrap_or(Path::new("")))?;
    let _ = std::fs::remove_file(place); // a link to a file that is not there any more
    #[cfg(unix)]
    {
        let up = "../".repeat(Path::new(name).components().count() + 1); // SNAPSHOTS/COMMIT/name
        let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(target, place)
    }
    #[cfg(not(unix))]
    {
        let _ = name;
        std::fs::rename(blob, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_absolute_or_from_the_root() {
        let from = |location: &str| joined("https://hub.example/a/b?c", location);
        assert_eq!(from("https://cdn.example/x").unwrap(), "https://cdn.example/x");
        assert_eq!(from("/x?y").unwrap(), "https://hub.example/x?y");
        assert_eq!(from("//cdn.example/x").unwrap(), "https://cdn.example/x");
        assert_eq!((from(""), from("x")), (None, None));
    }

    #[test]
    fn what_the_hub_answers_becomes_no_path() {
        assert!(is_name("c0ffee") && is_name("0123-45"));
        assert!(!["", "..", "../x", "a/b", "a\\b", ".hidden", "a b"].into_iter().any(is_name));
    }

    #[test]
    fn names_with_spaces_are_quoted() {
        assert_eq!(quoted("a b/é#1.parquet"), "a%20b/%C3%A9%231.parquet");
        assert_eq!(quoted("refs%2Fconvert?blobs=true"), "refs%2Fconvert?blobs=true");
    }
}
