//! A small server on 127.0.0.1 that answers as the Hub does, and misbehaves where a test asks it to.

use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// The commit of every branch, until a test changes it.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The one model.
pub const ID: &str = "owner/tiny-model";

/// What the server has and how it behaves.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    pub commit: String,
    /// Status of every listing, and its `X-Error-Code`.
    pub listing_fails: Option<(u16, &'static str)>,
    /// Statuses of the next requests for a file, first to last.
    pub file_fails: BTreeMap<String, Vec<u16>>,
    /// After how many bytes the next contents of a file end, though more were announced; first to last.
    pub cuts: BTreeMap<String, Vec<usize>>,
    /// How many bytes the next contents of a file have and announce, though it has more; first to last.
    pub lies: BTreeMap<String, Vec<usize>>,
    /// Whether `Range` is ignored in requests for content.
    pub ignores_range: bool,
    /// Whether files are elsewhere, as the Hub's large ones are.
    pub redirects: bool,
    /// In place of the tag of every file.
    pub etag: Option<String>,
    /// Every request: path, range, token.
    pub requests: Vec<Request>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// The server. It ends with the test's process.
pub struct HubServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// A server with these files.
    pub fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
        let state = Arc::new(Mutex::new(State { files, commit: COMMIT.to_owned(), ..State::default() }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || {
                    let _ = answer(stream, &state, address);
                });
            }
        });
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

/// The tag of a content: FNV-1a, in hexadecimal.
fn tag_of(content: &[u8]) -> String {
    let hash = content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, address: SocketAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let request = Request { path: path.clone(), range: header("range"), authorization: header("authorization") };
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    let response = if path.starts_with("/api/") {
        list(&state)
    } else if let Some(file) = path.strip_prefix("/cdn/") {
        send(&mut state, file, request.range.as_deref())
    } else if state.redirects {
        let file = path.rsplit('/').next().unwrap_or_default();
        let tag = state.files.get(file).map(|content| tag_of(content)).unwrap_or_default();
        let commit = &state.commit;
        let lines =
            format!("Location: http://{address}/cdn/{file}\r\nX-Linked-Etag: \"{tag}\"\r\nX-Repo-Commit: {commit}");
        frame(302, &lines, b"", 0)
    } else {
        send(&mut state, path.rsplit('/').next().unwrap_or_default(), request.range.as_deref())
    };
    drop(state);
    stream.write_all(&response)
}

fn list(state: &State) -> Vec<u8> {
    if let Some((status, code)) = state.listing_fails {
        return frame(status, &format!("X-Error-Code: {code}"), b"", 0);
    }
    let siblings: Vec<_> = state.files.keys().map(|name| json!({ "rfilename": name })).collect();
    let body = json!({ "id": ID, "sha": state.commit, "siblings": siblings }).to_string();
    frame(200, "Content-Type: application/json", body.as_bytes(), body.len())
}

fn send(state: &mut State, file: &str, range: Option<&str>) -> Vec<u8> {
    let next = |queue: &mut BTreeMap<String, Vec<usize>>| {
        queue.get_mut(file).filter(|queue| !queue.is_empty()).map(|queue| queue.remove(0))
    };
    if let Some(queue) = state.file_fails.get_mut(file).filter(|queue| !queue.is_empty()) {
        return frame(queue.remove(0), "X-Error-Code: Whatever", b"", 0);
    }
    let Some(content) = state.files.get(file).cloned() else {
        return frame(404, "X-Error-Code: EntryNotFound", b"", 0);
    };
    let tag = state.etag.clone().unwrap_or_else(|| tag_of(&content));
    let common = format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {}\r\nAccept-Ranges: bytes", state.commit);
    let size = content.len();
    let first = |first: usize, last: usize| format!("{common}\r\nContent-Range: bytes {first}-{last}/{size}");
    if range == Some("bytes=0-0") {
        return frame(206, &first(0, 0), &content[..1], 1);
    }
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    if state.ignores_range {
        return frame(200, &common, &content, size);
    }
    if start >= size {
        return frame(416, &common, b"", 0);
    }
    let body = &content[start..];
    let lines = first(start, size - 1);
    if let Some(len) = next(&mut state.lies) {
        return frame(206, &lines, &body[..len], len);
    }
    let sent = next(&mut state.cuts).unwrap_or(body.len());
    frame(206, &lines, &body[..sent], body.len())
}

/// A response that announces `length` bytes and has those of `body`.
fn frame(status: u16, lines: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Text\r\n{lines}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
