//! The ClientHello of a TLS client, read without answering it: whether there is one, and its server name (RFC 8446 §4.1.2, RFC 6066 §3).
//! Servers are selected by the name as it was sent; TLS libraries hide names that they consider invalid.

use std::borrow::Cow;

/// The longest ClientHello that is read, with the headers of its records; common ones have about 2 KiB.
pub const MAX_HELLO: usize = 16 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;
/// The prefix of the ALPN protocols of a mesh: `istio`, `istio-peer-exchange`, `istio-h2`, …
const ISTIO_ALPN_PREFIX: &[u8] = b"istio";
const HOST_NAME: u8 = 0;
const RECORD_HEADER: usize = 5;

/// The kind of a connection, by its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// More bytes are needed.
    Partial,
    /// Not TLS.
    Plaintext,
    /// TLS, but not a valid ClientHello.
    Malformed,
    /// TLS.
    Tls(ClientHello),
}

/// The parts of a ClientHello that select a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The server name, in lower case, if there is one.
    pub server_name: Option<Box<str>>,
    /// Whether it offers an ALPN protocol of Istio, as workloads of a mesh do among each other (DR-47).
    pub istio_alpn: bool,
}

/// Inspects the first bytes of a connection.
pub fn peek(bytes: &[u8]) -> Hello {
    match bytes {
        [] | [HANDSHAKE] => return Hello::Partial,
        [HANDSHAKE, 3, ..] => {}
        _ => return Hello::Plaintext,
    }
    match message(bytes) {
        Ok(Some(body)) => parse_client_hello(&mut Reader(&body)).map_or(Hello::Malformed, Hello::Tls),
        Ok(None) if bytes.len() < MAX_HELLO => Hello::Partial,
        Ok(None) | Err(()) => Hello::Malformed,
    }
}

/// The body of the first handshake message, which may span several records; `None` while it is incomplete.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, ()> {
    let mut rest = bytes;
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let [kind, major, _, high, low, ..] = rest else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind != HANDSHAKE || *major != 3 || length == 0 {
            return Err(());
        }
        let piece = rest.get(RECORD_HEADER..).unwrap_or_default();
        let whole = piece.len() >= length;
        let piece = piece.get(..length).unwrap_or(piece);
        if joined.is_empty() {
            joined = Cow::Borrowed(piece);
        } else {
            joined.to_mut().extend_from_slice(piece);
        }
        if let [kind, a, b, c, ..] = *joined {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != CLIENT_HELLO || length > MAX_HELLO {
                return Err(());
            }
            if joined.len() >= 4 + length {
                return Ok(Some(match joined {
                    Cow::Borrowed(all) => Cow::Borrowed(all.get(4..4 + length).unwrap_or_default()),
                    Cow::Owned(all) => Cow::Owned(all.get(4..4 + length).unwrap_or_default().to_vec()),
                }));
            }
        }
        if !whole {
            return Ok(None);
        }
        rest = rest.get(RECORD_HEADER + length..).unwrap_or_default();
    }
}

/// Parses the body of a ClientHello; `None` if it is malformed.
fn parse_client_hello(body: &mut Reader<'_>) -> Option<ClientHello> {
    body.take(2 + 32)?;
    body.with_length(1)?;
    body.with_length(2)?;
    body.with_length(1)?;
    if body.0.is_empty() {
        return Some(ClientHello::default());
    }
    let mut extensions = Reader(body.with_length(2)?);
    let mut hello = ClientHello::default();
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = Reader(extensions.with_length(2)?);
        if kind == usize::from(PROTOCOLS) {
            let mut protocols = Reader(extension.with_length(2)?);
            while !protocols.0.is_empty() {
                hello.istio_alpn |= protocols.with_length(1)?.starts_with(ISTIO_ALPN_PREFIX);
            }
        }
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut names = Reader(extension.with_length(2)?);
        while !names.0.is_empty() {
            let kind = names.number(1)?;
            let name = names.with_length(2)?;
            // Two names of one type are not allowed: others could use the other one.
            if kind == usize::from(HOST_NAME) && hello.server_name.replace(text(name)?).is_some() {
                return None;
            }
        }
    }
    Some(hello)
}

/// A name is visible ASCII; other characters could match another name.
fn text(name: &[u8]) -> Option<Box<str>> {
    let sound = !name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
    sound.then(|| String::from_utf8_lossy(name).to_ascii_lowercase().into())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn with_length(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use testkit::client_hello::{self, records};

    /// The message of a ClientHello with these names, and with ALPN.
    fn hello(names: &[&[u8]]) -> Vec<u8> {
        let hello = client_hello::ClientHello::default().alpn(b"h2");
        if names.is_empty() { hello.message() } else { hello.server_name(names).message() }
    }

    fn tls(name: Option<&str>) -> Hello {
        Hello::Tls(ClientHello { server_name: name.map(Into::into), istio_alpn: false })
    }

    #[test]
    fn a_name_is_found_in_lower_case_or_is_not_there() {
        assert_eq!(peek(&records(&hello(&[b"Dev.Example.com"]), 4000)), tls(Some("dev.example.com")));
        assert_eq!(peek(&records(&hello(&[]), 4000)), tls(None));
        assert_eq!(peek(&records(&hello(&[b"10.0.0.1"]), 4000)), tls(Some("10.0.0.1")));
    }

    #[test]
    fn dr_47_mesh_clients_are_recognised_by_alpn() {
        for (protocol, istio_alpn) in
            [(&b"istio"[..], true), (b"istio-peer-exchange", true), (b"h2", false), (b"http/1.1", false)]
        {
            let hello = ClientHello { server_name: Some("a.test".into()), istio_alpn };
            let sent = client_hello::ClientHello::default().alpn(protocol).server_name(&[b"a.test"]);
            assert_eq!(peek(&sent.records(4000)), Hello::Tls(hello));
        }
    }

    #[test]
    fn a_message_may_be_spread_over_records_and_come_byte_by_byte() {
        let whole = records(&hello(&[b"a.test"]), 7);
        for end in 0..whole.len() {
            assert_eq!(peek(&whole[..end]), Hello::Partial, "{end}");
        }
        assert_eq!(peek(&whole), tls(Some("a.test")));
    }

    #[test]
    fn other_protocols_than_tls_are_recognised_at_once() {
        for text in [&b"G"[..], b"GET / HTTP/1.1", b"PRI * HTTP/2.0", &[22, 4, 0], &[0]] {
            assert_eq!(peek(text), Hello::Plaintext, "{text:?}");
        }
    }

    #[test]
    fn ambiguous_and_broken_messages_are_refused() {
        assert_eq!(peek(&records(&hello(&[b"a.test", b"b.test"]), 4000)), Hello::Malformed);
        assert_eq!(peek(&records(&hello(&[b"a\0.test"]), 4000)), Hello::Malformed);
        assert_eq!(peek(&records(&hello(&[b""]), 4000)), Hello::Malformed);
        assert_eq!(peek(&[22, 3, 1, 0, 0, 1]), Hello::Malformed);
        let mut not_hello = hello(&[b"a.test"]);
        not_hello[0] = 2;
        assert_eq!(peek(&records(&not_hello, 4000)), Hello::Malformed);
        assert_eq!(peek(&[&[22, 3, 1, 0x40, 0][..], &[1, 0, 0x40, 1], &[0; MAX_HELLO]].concat()), Hello::Malformed);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_fault_of_ours(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..200usize, by in any::<u8>()) {
            let _ = peek(&bytes);
            let _ = peek(&[&[22, 3, 1][..], &bytes].concat());
            let mut changed = records(&hello(&[b"a.test"]), 50);
            if let Some(byte) = changed.get_mut(at) {
                *byte = by;
            }
            let _ = peek(&changed);
        }
    }
}
