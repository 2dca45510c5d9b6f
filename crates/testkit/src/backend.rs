//! Backends that answer with what they received, as JSON, each on a port of its own.

use crate::secured::BackendTls;
use rustls::server::Acceptor;
use rustls::{ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What an echo backend saw, as it tells in its answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// The name that was asked for in TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The protocols that were offered in TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// What came by TLS, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What a backend saw of a client in TLS, in the terms of Istio's recorded answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The server name that was asked for.
    pub sni: Option<String>,
    /// The name of the certificate that the client showed.
    pub client: Option<String>,
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
    pub fn start(number: u16, tls: Option<BackendTls>) -> std::io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), number, tls)
    }

    /// Starts one at an address of this machine.
    pub fn start_at(address: SocketAddr, number: u16, tls: Option<BackendTls>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
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
                        None => serve(stream, number, &Greeting::default()),
                        Some(tls) => {
                            if let Some((session, greeting)) = accept(&stream, &tls) {
                                serve(StreamOwned::new(session, stream), number, &greeting);
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

/// What a client of TLS said first.
#[derive(Debug, Default)]
struct Greeting {
    sni: Option<String>,
    alpn: Vec<String>,
    origin: Option<Origin>,
}

/// Begins TLS, and tells what the client asked for.
fn accept(mut stream: &TcpStream, tls: &BackendTls) -> Option<(ServerConnection, Greeting)> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if acceptor.read_tls(&mut stream).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            break accepted;
        }
    };
    let hello = accepted.client_hello();
    let alpn = hello.alpn().into_iter().flatten().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let sni = hello.server_name().map(str::to_owned);
    let mut session = accepted.into_connection(Arc::clone(&tls.config)).ok()?;
    // The client's certificate is known once the handshake is over.
    session.complete_io(&mut stream).ok()?;
    let client = tls.names.of(session.peer_certificates()).map(str::to_owned);
    let origin = Some(Origin { sni: sni.clone(), client });
    Some((session, Greeting { sni, alpn, origin }))
}

/// Answers requests until the peer is done.
fn serve(stream: impl Read + Write, number: u16, greeting: &Greeting) {
    let mut reader = BufReader::new(stream);
    let proxied = proxied(&mut reader);
    while let Some(mut seen) = read(&mut reader, number) {
        seen.headers.extend(proxied.iter().map(|line| ("x-proxied".to_owned(), line.clone())));
        (seen.sni, seen.alpn) = (greeting.sni.clone(), greeting.alpn.clone());
        seen.origin.clone_from(&greeting.origin);
        if seen.header("x-answer-at-end").is_some() {
            // Whoever asks for it has to end its half of the connection, and still be there for the answer.
            let _ = reader.read_to_end(&mut Vec::new());
        }
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
    // Bytes that are no request (a ClientHello, say) are never answered: such a connection is the client's to close.
    let _ = reader.read_to_end(&mut Vec::new());
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
    let mut seen = Seen { backend: number, method, path, headers, ..Seen::default() };
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
