//! The destination that a client of a forward proxy asks for, parsed strictly: a text that different programs read as different destinations is
//! rejected, and never reinterpreted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;
/// The longest label of a name.
const LONGEST_LABEL: usize = 63;

/// A destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The host.
    pub host: DestinationHost<'a>,
    /// The port, where it is written.
    pub port: Option<u16>,
}

/// The host of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationHost<'a> {
    /// A name, as it was written; DNS compares names without regard to case.
    Name(&'a str),
    /// An address. An IPv6 address stands for no IPv4 address.
    Address(IpAddr),
}

/// Why a destination is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub enum InvalidDestination {
    /// There is no host.
    Empty,
    /// `user@host`
    UserInformation,
    /// Not ASCII.
    NotAscii,
    /// Percent-encoding, or the zone of an IPv6 address.
    Percent,
    /// A character that no host has.
    Character,
    /// `example.com.`
    TrailingDot,
    /// `a..b`, or a label that is too long or begins or ends with `-`.
    Label,
    /// More than 253 octets.
    Length,
    /// A number that is not an IPv4 address in four decimal parts.
    AmbiguousAddress,
    /// Not an IPv6 address, or one without brackets.
    InvalidIpv6,
    /// An IPv6 address that is not in its canonical text (RFC 5952).
    Spelling,
    /// An IPv6 address that stands for an IPv4 address.
    EmbeddedAddress,
    /// Not a port.
    Port,
}

impl InvalidDestination {
    /// The reason, as the end of a sentence about the destination.
    pub fn text(self) -> &'static str {
        match self {
            Self::Empty => "it has no host",
            Self::UserInformation => "it has user information (`@`)",
            Self::NotAscii => {
                "it has characters beyond ASCII: send an internationalized name in its ASCII form (`xn--`)"
            }
            Self::Percent => "it has a `%`: neither percent-encoding nor the zone of an address is accepted",
            Self::Character => "it has a character that no host has",
            Self::TrailingDot => "its name ends with a dot",
            Self::Label => "its name has a label that is empty, too long, or begins or ends with `-`",
            Self::Length => "its name is too long",
            Self::AmbiguousAddress => {
                "its host ends in a number, and is not an IPv4 address of four decimal numbers without leading zeros"
            }
            Self::InvalidIpv6 => "it has an IPv6 address that is not valid, or not in brackets",
            Self::Spelling => {
                "its IPv6 address is not in the canonical form of RFC 5952: lower case, and as short as possible"
            }
            Self::EmbeddedAddress => "its IPv6 address stands for an IPv4 address: send the IPv4 address",
            Self::Port => "its port is not a number from 1 to 65535 without leading zeros",
        }
    }
}

impl<'a> Destination<'a> {
    /// Parses `host` or `host:port`.
    pub fn parse(authority: &'a [u8]) -> Result<Self, InvalidDestination> {
        use InvalidDestination as Invalid;
        let text = std::str::from_utf8(authority).map_err(|_| Invalid::NotAscii)?;
        if let Some(bad) = text.bytes().find(|octet| !is_host_octet(*octet) && !matches!(octet, b'[' | b']' | b':')) {
            return Err(match bad {
                b'@' => Invalid::UserInformation,
                b'%' => Invalid::Percent,
                128.. => Invalid::NotAscii,
                _ => Invalid::Character,
            });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, behind) = rest.split_once(']').ok_or(Invalid::InvalidIpv6)?;
                (DestinationHost::Address(ipv6(inner)?.into()), behind)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                if port.bytes().filter(|octet| *octet == b':').count() > 1 || text.contains(']') {
                    return Err(Invalid::InvalidIpv6);
                }
                (name_or_ipv4(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(Invalid::Port),
            Some(digits) => Some(parse_port(digits).ok_or(Invalid::Port)?),
        };
        Ok(Self { host, port })
    }
}

/// A host that outlives the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedHost {
    /// A name.
    Name(Box<str>),
    /// An address.
    Address(IpAddr),
}

impl From<DestinationHost<'_>> for OwnedHost {
    fn from(host: DestinationHost<'_>) -> Self {
        match host {
            DestinationHost::Name(name) => Self::Name(name.into()),
            DestinationHost::Address(address) => Self::Address(address),
        }
    }
}

impl OwnedHost {
    /// The host.
    pub fn by_ref(&self) -> DestinationHost<'_> {
        match self {
            Self::Name(name) => DestinationHost::Name(name),
            Self::Address(address) => DestinationHost::Address(*address),
        }
    }
}

impl DestinationHost<'_> {
    /// Whether both are the same; names are compared without regard to case.
    pub fn is_same(&self, other: &DestinationHost<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), DestinationHost::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::Address(one), DestinationHost::Address(other)) => one == other,
            (Self::Name(_), DestinationHost::Address(_)) | (Self::Address(_), DestinationHost::Name(_)) => false,
        }
    }
}

impl fmt::Display for DestinationHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_')
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

fn ipv6(text: &str) -> Result<Ipv6Addr, InvalidDestination> {
    // A dotted end is an IPv4 address, whatever the prefix.
    if text.contains('.') && text.parse::<Ipv6Addr>().is_ok() {
        return Err(InvalidDestination::EmbeddedAddress);
    }
    let address: Ipv6Addr = text.parse().map_err(|_| InvalidDestination::InvalidIpv6)?;
    match crate::address::AddressClass::of(address.into()) {
        crate::address::AddressClass::Embedded(_) => Err(InvalidDestination::EmbeddedAddress),
        // Policies compare the text.
        _ if address.to_string() != text => Err(InvalidDestination::Spelling),
        _ => Ok(address),
    }
}

fn name_or_ipv4(text: &str) -> Result<DestinationHost<'_>, InvalidDestination> {
    use InvalidDestination as Invalid;
    if text.is_empty() {
        return Err(Invalid::Empty);
    }
    // Whoever reads numbers as addresses (inet_aton, WHATWG URL) does so by the last label.
    let stem = text.strip_suffix('.').unwrap_or(text);
    let last = stem.rsplit('.').next().unwrap_or_default();
    if is_number(last) {
        return ipv4(text).map(|address| DestinationHost::Address(address.into())).ok_or(Invalid::AmbiguousAddress);
    }
    if text.ends_with('.') {
        return Err(Invalid::TrailingDot);
    }
    if text.len() > LONGEST_NAME {
        return Err(Invalid::Length);
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= LONGEST_LABEL && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.split('.').all(is_label) { Ok(DestinationHost::Name(text)) } else { Err(Invalid::Label) }
}

/// Decimal, octal or hexadecimal digits.
fn is_number(label: &str) -> bool {
    let digits = |text: &str, is: fn(&u8) -> bool| text.bytes().all(|octet| is(&octet));
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(rest) => digits(rest, u8::is_ascii_hexdigit),
        None => !label.is_empty() && digits(label, u8::is_ascii_digit),
    }
}

/// Four decimal numbers without leading zeros.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let plain = |part: &str| part.len() <= 3 && (part == "0" || !part.starts_with('0'));
    text.parse().ok().filter(|_| text.split('.').all(plain))
}

#[cfg(test)]
mod tests;
