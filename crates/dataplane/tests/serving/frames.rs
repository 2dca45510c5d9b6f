//! HTTP/2 frame by frame, for clients that violate the protocol.

use crate::gateway::TIMEOUT;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    out.extend_from_slice(&(content.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(content);
}

/// A string of HPACK, not compressed.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    let Some(mut rest) = text.len().checked_sub(127) else {
        out.push(text.len() as u8);
        return out.extend_from_slice(text);
    };
    out.push(127);
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
    out.extend_from_slice(text);
}

/// A header as HPACK writes it without a table.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    text(&mut out, name.as_bytes());
    text(&mut out, value.as_bytes());
    out
}

/// A header that is added to the dynamic table as its first entry.
pub(crate) fn entry(name: &str, value: &str) -> Vec<u8> {
    let mut out = field(name, value);
    out[0] = 0x40;
    out
}

/// The head of a request for the host `a.test`, without a table.
pub(crate) fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A usual request.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    head(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test")])
}

/// A client that sends given frames.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) seen: Seen,
    /// The number of the next stream.
    next: u32,
}

/// The received frames.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The codes of RST_STREAM by stream.
    pub(crate) resets: HashMap<u32, u32>,
    pub(crate) goaway: Option<u32>,
    /// Heads, as HPACK has them, by stream.
    pub(crate) heads: HashMap<u32, Vec<u8>>,
    /// Octets of bodies by stream.
    pub(crate) data: HashMap<u32, usize>,
    /// Whether the gateway has closed the connection.
    pub(crate) closed: bool,
}

impl Seen {
    pub(crate) fn resets(&self, code: u32) -> usize {
        self.resets.values().filter(|seen| **seen == code).count()
    }

    /// The status of a head, for the statuses of these tests: HPACK's static table has the usual ones, others are Huffman-encoded.
    pub(crate) fn status(&self, stream: u32) -> Option<u16> {
        match **self.heads.get(&stream)? {
            [0x88, ..] => Some(200),
            [0x8c, ..] => Some(400),
            [0x48, 0x82, 0x6c, 0x01, ..] => Some(501),
            [0x48, 0x82, 0x6c, 0x02, ..] => Some(502),
            _ => Some(0),
        }
    }

    pub(crate) fn is_ok(&self, stream: u32) -> bool {
        self.status(stream) == Some(200)
    }

    fn take(&mut self, kind: u8, stream: u32, content: &[u8]) {
        let code = |at: usize| u32::from_be_bytes(content[at..at + 4].try_into().unwrap());
        match kind {
            DATA => *self.data.entry(stream).or_default() += content.len(),
            HEADERS => drop(self.heads.insert(stream, content.to_vec())),
            RESET => drop(self.resets.insert(stream, code(0))),
            GOAWAY => self.goaway = Some(code(4)),
            _ => {}
        }
    }
}

impl Peer {
    /// Begins with a window for each stream.
    pub(crate) fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut peer = Self { stream, unread: Vec::new(), seen: Seen::default(), next: 1 };
        let mut bytes = PREFACE.to_vec();
        frame(&mut bytes, SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
        peer.send(&bytes);
        peer
    }

    /// Sends bytes. It is no error if the gateway has closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, flags, stream, content);
        self.send(&bytes);
    }

    /// Opens a stream, and returns its number.
    pub(crate) fn open(&mut self, flags: u8, head: &[u8]) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.frame(HEADERS, flags | END_HEADERS, stream, head);
        stream
    }

    /// Reads until a condition holds.
    pub(crate) fn until(&mut self, what: &str, so: impl Fn(&Seen) -> bool) {
        let begun = Instant::now();
        let mut room = vec![0; 1 << 16];
        while !so(&self.seen) {
            assert!(begun.elapsed() < TIMEOUT && !self.seen.closed, "not seen: {what}: {:?}", self.seen);
            match self.stream.read(&mut room) {
                Ok(0) => self.seen.closed = true,
                Ok(count) => self.take(&room[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.seen.closed = true,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let Some((header, rest)) = self.unread.split_at_checked(9) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let Some(content) = rest.get(..length) else { return };
            let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
            self.seen.take(header[3], stream, content);
            self.unread.drain(..9 + length);
        }
    }
}
