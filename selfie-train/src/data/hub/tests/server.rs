//! A hub of one repository on a port of this machine, which can break connections and refuse; a model's can be written.
//!
//! Uploads are answered as the hub's Python client expects it: `preupload`, the LFS batch (in one piece, or in parts), the
//! check, the commit.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and target.
    pub line: String,
    pub authorization: String,
    /// The first byte of a file that was asked for; none for a list or a question about a file.
    pub from: Option<usize>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    converted: BTreeMap<String, Vec<u8>>,
    listed: BTreeMap<String, usize>, // other sizes than the files have
    breaks: Vec<usize>,              // bytes after which the next downloads break off
    refusal: Option<u16>,
    redirect: Option<String>,  // files are at this endpoint
    verify_at: Option<String>, // uploads are checked at this endpoint
    whole: bool,               // ranges are not known here
    log: Vec<Request>,
    closed: bool,                     // nobody may make a repository
    part: Option<usize>,              // bytes of a part of a large file; none takes it in one piece
    large: BTreeMap<String, Vec<u8>>, // by SHA-256, or by that and the part's number
}

pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let files = files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect();
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, asked) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if asked.load(Ordering::SeqCst) {
                    break;
                }
                answer(stream, &mut shared.lock().unwrap());
            }
        });
        Self { address, state, stop, thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    pub fn break_after(&self, bytes: &[usize]) {
        self.state.lock().unwrap().breaks = bytes.to_vec();
    }

    pub fn refuse(&self, status: Option<u16>) {
        self.state.lock().unwrap().refusal = status;
    }

    /// Files are at another endpoint from now on.
    pub fn redirect(&self, endpoint: &str) {
        self.state.lock().unwrap().redirect = Some(endpoint.to_owned());
    }

    /// Uploads are checked at another endpoint.
    pub fn verify_at(&self, endpoint: &str) {
        self.state.lock().unwrap().verify_at = Some(endpoint.to_owned());
    }

    /// Every answer is the whole file.
    pub fn send_whole(&self) {
        self.state.lock().unwrap().whole = true;
    }

    pub fn list_as(&self, name: &str, size: usize) {
        self.state.lock().unwrap().listed.insert(name.to_owned(), size);
    }

    /// From now on no repository is made.
    pub fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    /// Large files come in parts of so many bytes.
    pub fn take_parts(&self, bytes: usize) {
        self.state.lock().unwrap().part = Some(bytes);
    }

    /// A file as it was committed.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().files.get(name).cloned()
    }

    pub fn convert(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().converted.insert(name.to_owned(), bytes);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the thread
        let _ = self.thread.take().unwrap().join();
    }
}

/// Answers one request and closes the connection.
fn answer(stream: TcpStream, state: &mut State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&length| length > 0).map(|_| line.trim_end().to_owned())
    };
    let Some(first) = line() else { return };
    let target = first.split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = std::iter::from_fn(|| line().filter(|line| !line.is_empty()))
        .filter_map(|line| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_owned())))
        .collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut request = Request { line: first.clone(), authorization: header("authorization"), from: None };
    if let Some(status) = state.refusal {
        state.log.push(request);
        return send(stream, &format!("{status} No"), "", b"");
    }
    if !first.starts_with("GET ") {
        state.log.push(request);
        let host = header("host");
        let (status, etag, answer) = written(&first, &body, &host, state);
        return send(stream, status, &format!("ETag: \"{etag}\"\r\n"), answer.to_string().as_bytes());
    }
    let files = if target.contains("refs%2Fconvert%2Fparquet") { &state.converted } else { &state.files };
    if target.starts_with("/api/datasets/") || target.starts_with("/api/models/") {
        state.log.push(request);
        let size = |name: &String, bytes: &Vec<u8>| *state.listed.get(name).unwrap_or(&bytes.len());
        let siblings: Vec<_> = files
            .iter()
            .map(|(name, bytes)| serde_json::json!({ "rfilename": name, "size": size(name, bytes) }))
            .collect();
        let list = serde_json::json!({ "sha": "c0ffee", "siblings": siblings }).to_string();
        return send(stream, "200 OK", "Content-Type: application/json\r\n", list.as_bytes());
    }
    let name = target.split("/resolve/").nth(1).and_then(|rest| rest.split_once('/')).map_or("", |(_, name)| name);
    let Some(bytes) = files.get(name) else {
        state.log.push(request);
        return send(stream, "404 Not Found", "", b"");
    };
    let etag = name.replace(['/', '.'], "-").replace("train-parquet", "etag-train");
    if let Some(endpoint) = state.redirect.as_ref().filter(|_| !target.starts_with("/moved/")) {
        state.log.push(request);
        let fields = format!("Location: {endpoint}{target}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Repo-Commit: c0ffee\r\n");
        return send(stream, "302 Found", &fields, b"");
    }
    let range = header("range");
    let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let is_question = to == "0";
    let to = if is_question { 1 } else { bytes.len() };
    request.from = (!is_question).then_some(from);
    state.log.push(request);
    if state.whole && !is_question {
        return send(stream, "200 OK", "", bytes);
    }
    if from >= bytes.len() {
        return send(stream, "416 Range Not Satisfiable", "", b"");
    }
    let fields = format!(
        "ETag: \"{etag}\"\r\nX-Repo-Commit: c0ffee\r\nContent-Range: bytes {from}-{}/{}\r\n",
        to - 1,
        bytes.len()
    );
    let end = match is_question || state.breaks.is_empty() {
        true => to,
        false => (from + state.breaks.remove(0)).min(to),
    };
    send_part(stream, "206 Partial Content", &fields, &bytes[from..end], to - from);
}

/// What is put here: status, etag and answer.
fn written(line: &str, body: &[u8], host: &str, state: &mut State) -> (&'static str, String, Value) {
    let (method, target) = line.split_once(' ').map(|(m, rest)| (m, rest.split(' ').next().unwrap())).unwrap();
    let told = || serde_json::from_slice::<Value>(body).unwrap();
    let done = |answer: Value| ("200 OK", String::new(), answer);
    if target == "/api/repos/create" {
        if state.closed {
            return ("403 Forbidden", String::new(), json!({}));
        }
        let taken = state.files.contains_key("README.md");
        return if taken { ("409 Conflict", String::new(), json!({})) } else { done(told()) };
    }
    if target.contains("/preupload/main") {
        let mode =
            |file: &Value| if file["path"].as_str().unwrap().ends_with(".safetensors") { "lfs" } else { "regular" };
        let entry = |file: &Value| json!({ "path": file["path"], "uploadMode": mode(file), "shouldIgnore": false });
        let files: Vec<_> = told()["files"].as_array().unwrap().iter().map(entry).collect();
        return done(json!({ "files": files }));
    }
    if target.ends_with(".git/info/lfs/objects/batch") {
        let object = told()["objects"][0].clone();
        let (oid, size) = (object["oid"].as_str().unwrap().to_owned(), object["size"].as_u64().unwrap() as usize);
        if state.large.contains_key(&oid) {
            return done(json!({ "objects": [object] }));
        }
        let place = format!("http://{host}/large/{oid}");
        let upload = match state.part {
            None => json!({ "href": place }),
            Some(part) => {
                let places = (1..=size.div_ceil(part)).map(|i| (i.to_string(), json!(format!("{place}-{i}"))));
                let mut header: serde_json::Map<_, _> = places.collect();
                header.insert("chunk_size".to_owned(), json!(part.to_string()));
                json!({ "href": place, "header": header })
            }
        };
        let place = state.verify_at.clone().unwrap_or_else(|| format!("http://{host}"));
        let verify = json!({ "href": format!("{place}/verify/{oid}") });
        return done(
            json!({ "objects": [{ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } }] }),
        );
    }
    if let Some(oid) = target.strip_prefix("/large/") {
        if method == "PUT" {
            state.large.insert(oid.to_owned(), body.to_vec());
            return ("200 OK", format!("tag-{oid}"), json!({}));
        }
        let parts = told()["parts"].as_array().unwrap().clone(); // POST: the end of the parts
        let part = |i: usize| format!("{oid}-{i}");
        assert!(parts.iter().enumerate().all(|(i, p)| p["etag"] == format!("\"tag-{}\"", part(i + 1))), "{parts:?}");
        let whole = (1..=parts.len()).flat_map(|i| state.large[&part(i)].clone()).collect();
        state.large.insert(oid.to_owned(), whole);
        return done(json!({}));
    }
    if let Some(oid) = target.strip_prefix("/verify/") {
        let is_there = state.large.get(oid).is_some_and(|bytes| json!(bytes.len()) == told()["size"]);
        return if is_there { done(json!({})) } else { ("422 Unprocessable", String::new(), json!({})) };
    }
    assert!(target.ends_with("/commit/main"), "{line}");
    let lines = std::str::from_utf8(body).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for line in lines {
        let value = &line["value"];
        let bytes = match line["key"].as_str().unwrap() {
            "file" => STANDARD.decode(value["content"].as_str().unwrap()).unwrap(),
            "lfsFile" => state.large[value["oid"].as_str().unwrap()].clone(),
            _ => continue,
        };
        state.files.insert(value["path"].as_str().unwrap().to_owned(), bytes);
    }
    done(json!({ "success": true, "commitOid": "c0ffee" }))
}

fn send(stream: TcpStream, status: &str, fields: &str, body: &[u8]) {
    send_part(stream, status, fields, body, body.len());
}

/// Promises `length` bytes, and sends those of `body`.
fn send_part(mut stream: TcpStream, status: &str, fields: &str, body: &[u8], length: usize) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n");
    // A client that went away is its own affair.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
