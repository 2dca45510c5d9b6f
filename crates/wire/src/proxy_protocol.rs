//! The PROXY protocol, versions 1 and 2: a header in front of a connection with the addresses of the client's connection, read from load
//! balancers (S-112) and written for backends (DR-51). The specification is HAProxy's `proxy-protocol.txt`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, including its line end.
pub const MAX_V1: usize = 107;
/// The longest header of version 2 that is accepted, including what follows the addresses.
pub const MAX_V2: usize = V2_HEAD + (4 << 10);

/// The beginning of a header of version 1.
const V1: &[u8] = b"PROXY ";
/// The signature of a header of version 2.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part of a header of version 2, which ends with the length of the rest.
const V2_HEAD: usize = 16;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The address of the side that opened it.
    pub source: SocketAddr,
    /// The address that it was opened to.
    pub destination: SocketAddr,
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes, after which the connection begins.
    pub length: usize,
    /// The client's connection; `None` if it is the sender's own (LOCAL, UNKNOWN), or has no IP addresses.
    pub ends: Option<Ends>,
}

/// The bytes are not a valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY header")]
pub struct NoHeader;

/// Reads a header from the start of a connection. `Ok(None)`: more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if begins_with(bytes, V1) {
        return parse_v1(bytes);
    }
    if begins_with(bytes, V2) {
        return parse_v2(bytes);
    }
    Err(NoHeader)
}

/// Whether the bytes begin with `start`, or may after more bytes.
fn begins_with(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes.get(..common) == start.get(..common)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let within = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < MAX_V1 { Ok(None) } else { Err(NoHeader) };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(NoHeader)?;
    let rest = line.strip_prefix(V1).and_then(|rest| std::str::from_utf8(rest).ok()).ok_or(NoHeader)?;
    let ends = match rest.strip_prefix("UNKNOWN") {
        Some(what) if what.is_empty() || what.starts_with(' ') => None,
        Some(_) => return Err(NoHeader),
        None => Some(ends_of_line(rest).ok_or(NoHeader)?),
    };
    Ok(Some(Header { length: end + 1, ends }))
}

/// `TCP4 1.2.3.4 5.6.7.8 1234 80`.
fn ends_of_line(line: &str) -> Option<Ends> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?.parse().ok();
    let ends = Ends { source: SocketAddr::new(source, port()?), destination: SocketAddr::new(destination, port()?) };
    words.next().is_none().then_some(ends)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some([command, family, high, low]) = bytes.get(V2.len()..V2_HEAD) else { return Ok(None) };
    let length = V2_HEAD + usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_V2 {
        return Err(NoHeader);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader),
    };
    let Some(rest) = bytes.get(V2_HEAD..length) else { return Ok(None) };
    let ends = match family {
        _ if is_local => None,
        0x11 | 0x12 => Some(ends_of::<4>(rest).ok_or(NoHeader)?),
        0x21 | 0x22 => Some(ends_of::<16>(rest).ok_or(NoHeader)?),
        // Unspecified, and unix sockets: there are no IP addresses.
        0x00 | 0x31 | 0x32 => None,
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { length, ends }))
}

/// Two addresses of `N` bytes and their ports. What follows is ignored.
fn ends_of<const N: usize>(rest: &[u8]) -> Option<Ends>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    let end = |address: &[u8; N], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes(*port));
    Some(Ends { source: end(source, from), destination: end(destination, to) })
}

/// Appends a header for a client's connection; `None` is for a connection of the gateway's own. Ends of different families are written as
/// IPv6.
pub fn write(version: Version, ends: Option<&Ends>, out: &mut Vec<u8>) {
    let Some(ends) = ends else {
        return match version {
            Version::V1 => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
            Version::V2 => {
                out.extend_from_slice(V2);
                out.extend_from_slice(&[0x20, 0, 0, 0]);
            }
        };
    };
    let (source, destination) = alike(ends);
    match version {
        Version::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (ends.source.port(), ends.destination.port());
            let line = format!("PROXY {family} {source} {destination} {from} {to}\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        Version::V2 => {
            out.extend_from_slice(V2);
            out.push(0x21);
            match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    out.extend_from_slice(&[0x11, 0, 12]);
                    out.extend_from_slice(&source.octets());
                    out.extend_from_slice(&destination.octets());
                }
                (source, destination) => {
                    out.extend_from_slice(&[0x21, 0, 36]);
                    out.extend_from_slice(&as_v6(source).octets());
                    out.extend_from_slice(&as_v6(destination).octets());
                }
            }
            out.extend_from_slice(&ends.source.port().to_be_bytes());
            out.extend_from_slice(&ends.destination.port().to_be_bytes());
        }
    }
}

/// Both addresses in one family: IPv4 if both are IPv4.
fn alike(ends: &Ends) -> (IpAddr, IpAddr) {
    let (source, destination) = (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical());
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (as_v6(source).into(), as_v6(destination).into())
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;
