//! A client that sends exactly the bytes it is told to, and reads one answer without forgiving anything.

use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for a connection and for each read; reached only if something is broken.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    static PEERS: RefCell<Vec<SocketAddr>> = const { RefCell::new(Vec::new()) };
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, values as they came, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, with chunks put together.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens.
    Refused,
    /// The connection ended before a whole answer.
    Closed,
    /// TLS was not agreed on, or broke.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// Something that is no HTTP/1.1 answer.
    Malformed(String),
}

/// The two ends of a connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Where it goes.
    pub to: SocketAddr,
    /// The client's own address; any unless given.
    pub from: Option<IpAddr>,
    /// The longest wait for the connection and for each read.
    pub timeout: Duration,
}

impl From<SocketAddr> for Ends {
    fn from(to: SocketAddr) -> Self {
        Self { to, from: None, timeout: CLIENT_TIMEOUT }
    }
}

impl Answer {
    /// The values of a name, joined by `,`.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

/// One request of the common kind, with `Connection: close`.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target as it is written.
    pub target: &'a str,
    /// Header lines, `Host` among them.
    pub headers: &'a [(String, String)],
    /// The body; sent with `Content-Length` when not empty.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The bytes that are sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in self.headers {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            // Values are Latin-1 on the wire: one character, one byte.
            out.extend(value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
            out.extend_from_slice(b"\r\n");
        }
        if !self.body.is_empty() {
            out.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"connection: close\r\n\r\n");
        out.extend_from_slice(self.body);
        out
    }
}

/// Sends a request over a connection of its own.
pub fn send(ends: impl Into<Ends>, request: &Request<'_>) -> Result<Answer, NoAnswer> {
    let raw = exchange(ends, &request.to_bytes())?;
    parse(&raw, request.method == "HEAD")
}

/// The answer to a GET with no header but `Host`.
pub fn get(ends: impl Into<Ends>, host: &str, target: &str) -> Result<Answer, NoAnswer> {
    let headers = [("Host".to_owned(), host.to_owned())];
    send(ends, &Request { method: "GET", target, headers: &headers, body: b"" })
}

/// The same, where the client ends its half of the connection behind the request.
pub fn send_and_end(ends: impl Into<Ends>, request: &Request<'_>) -> Result<Answer, NoAnswer> {
    let mut stream = connect(ends)?;
    let _ = stream.write_all(&request.to_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
    parse(&read_all(&mut stream)?, request.method == "HEAD")
}

/// The same, where an answer whose body breaks off is one with what there is of it, as the recordings have it.
pub fn send_and_take_part(ends: impl Into<Ends>, request: &Request<'_>) -> Result<Answer, NoAnswer> {
    let raw = exchange(ends, &request.to_bytes())?;
    let head_only = request.method == "HEAD";
    match parse(&raw, head_only) {
        Err(NoAnswer::Closed) => {
            let at = find(&raw, b"\r\n\r\n").ok_or(NoAnswer::Closed)?;
            let mut answer = parse_head(raw.get(..at).unwrap_or_default())?;
            answer.body = raw.get(at + 4..).unwrap_or_default().to_vec();
            Ok(answer)
        }
        parsed => parsed,
    }
}

/// Sends bytes, and reads until the peer closes.
pub fn exchange(ends: impl Into<Ends>, bytes: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let mut stream = connect(ends)?;
    // A peer that answers early and closes makes the writing fail; its answer is still to be read.
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

/// Opens a connection.
pub(crate) fn connect(ends: impl Into<Ends>) -> Result<TcpStream, NoAnswer> {
    let ends = ends.into();
    let open = || {
        let socket = Socket::new(Domain::for_address(ends.to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(from) = ends.from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        socket.connect_timeout(&ends.to.into(), ends.timeout)?;
        Ok::<_, std::io::Error>(TcpStream::from(socket))
    };
    let stream = open().map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => NoAnswer::Refused,
        std::io::ErrorKind::TimedOut => NoAnswer::Timeout,
        _ => NoAnswer::Closed,
    })?;
    let _ = stream.set_read_timeout(Some(ends.timeout));
    if let Ok(address) = stream.local_addr() {
        PEERS.with_borrow_mut(|peers| peers.push(address));
    }
    Ok(stream)
}

/// The addresses of the connections that this thread has opened since the last call: a gateway's peers.
pub fn take_peers() -> Vec<SocketAddr> {
    PEERS.take()
}

fn read_all(stream: &mut TcpStream) -> Result<Vec<u8>, NoAnswer> {
    let mut raw = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => raw.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Err(NoAnswer::Timeout);
            }
            Err(_) => break,
        }
    }
    if raw.is_empty() { Err(NoAnswer::Closed) } else { Ok(raw) }
}

/// Reads the one final answer in `raw`; informational ones before it are skipped.
pub fn parse(raw: &[u8], head_only: bool) -> Result<Answer, NoAnswer> {
    let mut rest = raw;
    loop {
        let at = find(rest, b"\r\n\r\n").ok_or(NoAnswer::Closed)?;
        let (head, body) = (rest.get(..at).unwrap_or_default(), rest.get(at + 4..).unwrap_or_default());
        let mut answer = parse_head(head)?;
        if (100..200).contains(&answer.status) && answer.status != 101 {
            rest = body;
            continue;
        }
        let bodiless = head_only || matches!(answer.status, 204 | 304);
        answer.body = if bodiless { Vec::new() } else { read_body(&answer, body)? };
        return Ok(answer);
    }
}

fn parse_head(head: &[u8]) -> Result<Answer, NoAnswer> {
    let text: String = head.iter().map(|b| char::from(*b)).collect();
    let malformed = || NoAnswer::Malformed(text.clone());
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
    let status = status.and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Answer { status, headers, body: Vec::new() })
}

fn read_body(answer: &Answer, raw: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    if answer.header("transfer-encoding").is_some() {
        return unchunk(raw);
    }
    match answer.header("content-length").map(|text| text.parse::<usize>()) {
        Some(Ok(length)) if raw.len() == length => Ok(raw.to_vec()),
        Some(Ok(length)) if raw.len() < length => Err(NoAnswer::Closed),
        Some(_) => Err(NoAnswer::Malformed("bytes behind the body, or a bad Content-Length".into())),
        None => Ok(raw.to_vec()),
    }
}

fn unchunk(mut raw: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    loop {
        let at = find(raw, b"\r\n").ok_or(NoAnswer::Closed)?;
        let line = std::str::from_utf8(raw.get(..at).unwrap_or_default()).unwrap_or_default();
        let size = usize::from_str_radix(line, 16).map_err(|_| NoAnswer::Malformed(format!("chunk size {line:?}")))?;
        raw = raw.get(at + 2..).unwrap_or_default();
        if size == 0 {
            return Ok(body);
        }
        let chunk = raw.get(..size).ok_or(NoAnswer::Closed)?;
        body.extend_from_slice(chunk);
        raw = raw.get(size + 2..).ok_or(NoAnswer::Closed)?;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_informational_answer_is_skipped_and_chunks_are_joined() {
        let raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let answer = parse(raw, false).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"abc".as_slice()));
    }

    #[test]
    fn a_short_body_is_no_answer() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", false), Err(NoAnswer::Closed));
    }
}
