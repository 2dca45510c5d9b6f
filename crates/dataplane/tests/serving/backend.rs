//! Backends that run the script of a test: each connection has a thread.

use crate::gateway::TIMEOUT;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A backend that runs until it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

/// The backend's side of a connection.
pub(crate) struct Side {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// The number of connections before this one.
    pub(crate) number: usize,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    /// Runs a script for each connection.
    pub(crate) fn start(script: impl Fn(&mut Side) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let ended = Arc::new(AtomicBool::new(false));
        let (script, counter, list, flag) =
            (Arc::new(script), Arc::clone(&connections), Arc::clone(&seen), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, script) = (stream.unwrap(), Arc::clone(&script));
                stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let mut side = Side { stream, buffer: Vec::new(), number, seen: Arc::clone(&list) };
                std::thread::spawn(move || script(&mut side));
            }
        });
        Self { address, connections, seen, ended }
    }

    /// Responds to every request with the same bytes.
    pub(crate) fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |side| while side.request().is_some() && side.send(&answer) {})
    }

    /// Responds to every request with the request's body.
    pub(crate) fn echo() -> Self {
        Self::start(|side| {
            while let Some((_, body)) = side.request() {
                if !side.send_with_length(&body) {
                    return;
                }
            }
        })
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The only head so far.
    pub(crate) fn only(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

impl Side {
    /// Reads a whole request: its head and its body.
    pub(crate) fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Some((head, body))
    }

    /// Reads a head.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                let head = String::from_utf8(head).unwrap();
                self.seen.lock().unwrap().push(head.clone());
                return Some(head);
            }
            self.more()?;
        }
    }

    /// Reads the body that a head announces. The data of chunks is joined, and trailers are appended.
    pub(crate) fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        if head.contains("transfer-encoding: chunked") {
            return self.chunks();
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        self.exactly(length.map_or(0, |text| text.trim().parse().unwrap()))
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).unwrap();
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(body);
            }
            body.extend(line.as_bytes());
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).ok();
            }
            self.more()?;
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Waits for more bytes; `None` when the gateway has closed the connection.
    pub(crate) fn more(&mut self) -> Option<()> {
        let mut part = [0; 64 * 1024];
        let count = self.stream.read(&mut part).ok().filter(|count| *count > 0)?;
        self.buffer.extend_from_slice(&part[..count]);
        Some(())
    }

    /// The received bytes that were not consumed.
    pub(crate) fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Writes; `false` when the gateway has closed the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// A response with this body.
    pub(crate) fn send_with_length(&mut self, body: &[u8]) -> bool {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(head) && self.send(body)
    }
}
