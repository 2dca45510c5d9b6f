//! Backends that answer with what they received, as JSON, each on a port of its own.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What an echo backend saw, as it tells in its answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The number by which the configuration calls this backend.
    pub backend: u16,
    /// The method.
    pub method: String,
    /// The request target.
    pub path: String,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, one character a byte.
    pub body: String,
}

impl Seen {
    /// The values of a name, joined by `,`.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

/// A running echo backend; it ends when dropped.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Backend {
    /// Starts one on a free port of 127.0.0.1 that calls itself `number`, with a certificate if it speaks TLS.
    pub fn start(number: u16, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    let tls = tls.clone();
                    std::thread::spawn(move || match tls {
                        None => serve(stream, number),
                        Some(config) => {
                            if let Ok(session) = ServerConnection::new(config) {
                                serve(StreamOwned::new(session, stream), number);
                            }
                        }
                    });
                }
            }
        });
        Ok(Self { address, ended })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread so that it sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// Answers requests until the peer is done.
fn serve(stream: impl Read + Write, number: u16) {
    let mut reader = BufReader::new(stream);
    let proxied = proxied(&mut reader);
    while let Some(mut seen) = read(&mut reader, number) {
        seen.headers.extend(proxied.iter().map(|line| ("x-proxied".to_owned(), line.clone())));
        let body = serde_json::to_vec(&seen).unwrap_or_default();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-from-backend: yes\r\nx-remove-me: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        if seen.method != "HEAD" {
            answer.extend_from_slice(&body);
        }
        let written = reader.get_mut().write_all(&answer).and_then(|()| reader.get_mut().flush());
        if written.is_err() || seen.header("connection").as_deref() == Some("close") {
            return;
        }
    }
}

/// The PROXY line that the connection begins with, if it does.
fn proxied(reader: &mut BufReader<impl Read>) -> Option<String> {
    let begins = reader.fill_buf().is_ok_and(|begun| begun.starts_with(b"PROXY "));
    if begins { line(reader) } else { None }
}

/// Reads one request, or nothing when the peer closed or sent something odd.
pub(crate) fn read(reader: &mut BufReader<impl Read>, number: u16) -> Option<Seen> {
    let first = line(reader)?;
    let mut parts = first.split(' ');
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let text = line(reader)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut seen = Seen { backend: number, method, path, headers, body: String::new() };
    let body = if seen.header("transfer-encoding").is_some() {
        chunks(reader)?
    } else {
        let length = seen.header("content-length").map_or(Some(0), |text| text.parse().ok())?;
        exactly(reader, length)?
    };
    seen.body = body.into_iter().map(char::from).collect();
    Some(seen)
}

fn line(reader: &mut BufReader<impl Read>) -> Option<String> {
    let mut raw = Vec::new();
    reader.read_until(b'\n', &mut raw).ok()?;
    let text = raw.strip_suffix(b"\r\n")?;
    Some(text.iter().map(|b| char::from(*b)).collect())
}

fn exactly(reader: &mut BufReader<impl Read>, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn chunks(reader: &mut BufReader<impl Read>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
        if size == 0 {
            while !line(reader)?.is_empty() {}
            return Some(body);
        }
        body.extend(exactly(reader, size)?);
        line(reader)?;
    }
}
