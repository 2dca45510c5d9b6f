//! What begins a connection: the PROXY header of a load balancer, and the first message of a TLS client.

use crate::random::Random;
use rustls::server::Acceptor;
use std::net::IpAddr;
use wire::hello::{ClientHello, Hello, MAX_HELLO, peek};
use wire::proxy_protocol::{Ends, Header, MAX_V1, MAX_V2, NoHeader, Version, parse, write};

/// The first octets of a connection.
///
/// - What is known of a prefix stays, whatever follows.
/// - The same message in other records says the same.
/// - The name is visible ASCII in lower case, and the one that rustls finds; protocols likewise.
///
/// Returns whether the octets begin with a complete ClientHello.
pub fn client_hello(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let whole = peek(data);
    for end in random.cuts(data.len()) {
        let prefix = peek(data.get(..end).unwrap_or_default());
        assert!(prefix == Hello::Partial || prefix == whole, "{prefix:?} became {whole:?}");
    }
    assert!(whole != Hello::Partial || data.len() < MAX_HELLO);
    let rustls = read_by_rustls(data);
    let Hello::Tls(hello) = whole else {
        // rustls accepts lists of names with octets behind the last one.
        assert!(rustls.is_none() || whole == Hello::Malformed, "rustls accepts what is {whole:?}");
        return false;
    };
    if let Some(name) = &hello.server_name {
        assert!(!name.is_empty() && name.len() <= 255, "{name}");
        assert!(name.bytes().all(|octet| octet.is_ascii_graphic() && !octet.is_ascii_uppercase()), "{name}");
    }
    if let Some((name, protocols)) = rustls {
        // rustls leaves out the dot of a name's root; servers are chosen by the name as it was sent.
        let name = name.map(|name| name.to_ascii_lowercase());
        let sent = hello.server_name.as_deref().map(|name| name.strip_suffix('.').unwrap_or(name));
        assert!(name.is_none() || name.as_deref() == sent, "{name:?} {hello:?}");
        assert_eq!(protocols.iter().any(|protocol| protocol.starts_with(b"istio")), hello.istio_alpn);
    }
    check_records(data, &hello, &mut random);
    true
}

/// The name and the protocols that rustls finds, where it accepts the message.
fn read_by_rustls(mut data: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    while !data.is_empty() {
        acceptor.read_tls(&mut data).ok().filter(|count| *count > 0)?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let protocols = hello.alpn().map(|all| all.map(<[u8]>::to_vec).collect());
            return Some((hello.server_name().map(str::to_owned), protocols.unwrap_or_default()));
        }
    }
    None
}

/// Puts the message into records of other sizes.
fn check_records(data: &[u8], hello: &ClientHello, random: &mut Random) {
    let (mut message, mut rest) = (Vec::new(), data);
    while let [22, 3, _, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (piece, behind) = behind.split_at(length);
        message.extend_from_slice(piece);
        rest = behind;
    }
    let mut records = Vec::new();
    let mut begin = 0;
    for end in random.cuts(message.len()) {
        let piece = message.get(begin..end).unwrap_or_default();
        records.extend_from_slice(&[22, 3, 1]);
        records.extend_from_slice(&u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes());
        records.extend_from_slice(piece);
        begin = end;
    }
    if records.len() < MAX_HELLO {
        assert_eq!(peek(&records), Hello::Tls(hello.clone()), "the records say something else");
    }
}

/// A PROXY header of either version.
///
/// - What is known of a prefix stays, and no more octets are asked for than the bound.
/// - The addresses of an accepted header, written in either version, are read as they were.
///
/// Returns whether the octets begin with a complete header.
pub fn proxy_header(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let whole = parse(data);
    for end in random.cuts(data.len()) {
        let prefix = parse(data.get(..end).unwrap_or_default());
        assert!(prefix == Ok(None) || prefix == whole, "{prefix:?} became {whole:?}");
    }
    let header = match whole {
        Err(NoHeader) => return false,
        Ok(None) => {
            let most = if data.starts_with(b"PROXY ") { MAX_V1 } else { MAX_V2 };
            assert!(data.len() < most, "more octets are asked for than the bound");
            return false;
        }
        Ok(Some(header)) => header,
    };
    assert!(header.length <= data.len() && header.length <= MAX_V2);
    for version in [Version::V1, Version::V2] {
        let mut written = Vec::new();
        write(version, header.ends.as_ref(), &mut written);
        assert!(version == Version::V2 || written.len() <= MAX_V1);
        let length = written.len();
        for end in random.cuts(length - 1) {
            assert_eq!(parse(written.get(..end).unwrap_or_default()), Ok(None));
        }
        written.extend_from_slice(data);
        let again = parse(&written);
        assert_eq!(again.map(|again| again.map(canonical)), Ok(Some(canonical(Header { length, ..header }))));
    }
    true
}

/// The header with IPv4 addresses as such: those mapped into IPv6 are the same address.
fn canonical(header: Header) -> (usize, Option<(IpAddr, u16, IpAddr, u16)>) {
    let ends = header.ends.map(|Ends { source, destination }| {
        (source.ip().to_canonical(), source.port(), destination.ip().to_canonical(), destination.port())
    });
    (header.length, ends)
}
