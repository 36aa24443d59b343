//! A hub of one data set on a port of this machine, which can break connections and refuse.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
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
    log: Vec<Request>,
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

    pub fn list_as(&self, name: &str, size: usize) {
        self.state.lock().unwrap().listed.insert(name.to_owned(), size);
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
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let target = first.split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_owned())))
        .collect();
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut request = Request { authorization: header("authorization"), from: None };
    if let Some(status) = state.refusal {
        state.log.push(request);
        return send(stream, &format!("{status} No"), "", b"");
    }
    let files = if target.contains("refs%2Fconvert%2Fparquet") { &state.converted } else { &state.files };
    if target.starts_with("/api/datasets/") {
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
    let range = header("range");
    let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let is_question = to == "0";
    let to = if is_question { 1 } else { bytes.len() };
    request.from = (!is_question).then_some(from);
    state.log.push(request);
    if from >= bytes.len() {
        return send(stream, "416 Range Not Satisfiable", "", b"");
    }
    let etag = name.replace(['/', '.'], "-").replace("train-parquet", "etag-train");
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

fn send(stream: TcpStream, status: &str, fields: &str, body: &[u8]) {
    send_part(stream, status, fields, body, body.len());
}

/// Promises `length` bytes, and sends those of `body`.
fn send_part(mut stream: TcpStream, status: &str, fields: &str, body: &[u8], length: usize) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n");
    // A client that went away is its own affair.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
