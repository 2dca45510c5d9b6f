//! What the mesh's settings say of all connections of clients and their requests (PC-02 to PC-04).

use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use text::{Authority, HeaderValue};

/// The settings of a listener and of the tables behind it that come from the mesh, not from an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MeshConnectionSettings {
    /// Set where every connection begins with a PROXY header (S-112).
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How many proxies in front are trusted (`numTrustedProxies`); above 0, connections come from them and not from clients.
    pub trusted_proxies: u32,
    /// What `x-forwarded-client-cert` says of a client's certificate (S-113).
    pub certificate_details: CertificateDetails,
    /// Which headers are written (PC-03).
    pub headers: HeaderSettings,
    /// Set where HTTP/1.0 is served (S-120).
    pub http10: Option<Http10>,
    /// Limits of connections (PC-04), which override those of the process.
    pub connections: ConnectionSettings,
}

/// Limits of client connections. A time of zero is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ConnectionSettings {
    /// Of all listeners and workers together.
    pub most: Option<u64>,
    /// Without a request (S-121).
    pub idle_timeout: Option<Duration>,
    /// From the start of a connection until it accepts no further request.
    pub max_age: Option<Duration>,
    /// From the first byte of a head to its end.
    pub headers_timeout: Option<Duration>,
    /// From the head of a request to its end.
    pub request_timeout: Option<Duration>,
    /// Without a byte in either direction of an exchange.
    pub stream_idle_timeout: Option<Duration>,
    /// From the head of a request to the end of the answer.
    pub max_stream_duration: Option<Duration>,
    /// Streams of HTTP/2 at once.
    pub streams: Option<u32>,
    /// Bytes of a body that may be under way on a stream.
    pub stream_window: Option<u32>,
    /// Bytes of all bodies that may be under way on a connection.
    pub connection_window: Option<u32>,
    /// What becomes of header names with underscores.
    pub underscores: Underscores,
}

/// What becomes of header names with underscores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Underscores {
    /// They are passed on.
    #[default]
    Allow,
    /// The request is refused.
    Reject,
    /// The header is left out.
    Drop,
}

/// Which headers are written, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderSettings {
    /// Requests get an `x-request-id`.
    pub request_id: bool,
    /// The `server` of answers; `None` leaves it as the backend wrote it (S-124).
    pub server: Option<HeaderValue>,
    /// Whether requests get `x-envoy-attempt-count`, with the number of the attempt.
    pub attempt_count: bool,
    /// `x-envoy-upstream-service-time` and the like.
    pub debug: bool,
    /// Names keep their case where both sides speak HTTP/1 (S-115).
    pub keep_case: bool,
    /// `x-forwarded-host`, where the host is rewritten (S-114).
    pub forwarded_host: bool,
    /// `x-forwarded-port`.
    pub forwarded_port: bool,
}

impl Default for HeaderSettings {
    /// What Istio's gateways do.
    fn default() -> Self {
        Self {
            request_id: true,
            server: HeaderValue::parse("istio-envoy").ok(),
            attempt_count: true,
            debug: true,
            keep_case: false,
            forwarded_host: false,
            forwarded_port: false,
        }
    }
}

/// How HTTP/1.0 is served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Http10 {
    /// The host of requests that name none; without it they are refused.
    pub default_host: Option<Authority>,
}

/// What is said of a client's certificate beside its hash; Istio's gateways say all but the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CertificateDetails {
    /// Who it is for.
    pub subject: bool,
    /// The certificate itself.
    pub cert: bool,
    /// All that the client showed.
    pub chain: bool,
    /// Its names.
    pub dns: bool,
    /// Its URIs.
    pub uri: bool,
}

impl Default for CertificateDetails {
    fn default() -> Self {
        Self { subject: true, cert: true, chain: false, dns: true, uri: true }
    }
}

/// That connections begin with a PROXY header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ProxyProtocol {
    /// Who may say whose connection it is; none is everybody.
    pub from: Vec<IpRange>,
}

impl ProxyProtocol {
    /// Whether the sender is trusted.
    pub fn trusts(&self, sender: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|range| range.contains(sender))
    }
}

/// A version of the PROXY protocol (DR-51).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Addresses that begin alike (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    address: IpAddr,
    length: u8,
}

/// The text is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a range such as 10.0.0.0/8")]
pub struct InvalidIpRange;

impl IpRange {
    /// The address, of which the first bits count.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether it has the address. An IPv4 address is the same in its IPv6 form.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.length)
    }
}

impl FromStr for IpRange {
    type Err = InvalidIpRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidIpRange)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let length = match length {
            None => whole,
            Some(text) => text.parse().ok().filter(|_| is_number(text)).ok_or(InvalidIpRange)?,
        };
        if length > whole { Err(InvalidIpRange) } else { Ok(Self { address, length }) }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for IpRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_112_a_range_has_the_addresses_that_begin_as_it_does() {
        let has = |range: &str, address: &str| range.parse::<IpRange>().unwrap().contains(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.1.2.3", "10.1.2.3") && !has("10.1.2.3", "10.1.2.4"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.1.1") && !has("10.0.0.0/8", "::1"));
        assert!(has("0.0.0.0/0", "9.9.9.9") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:ffff::1") && !has("2001:db8::/32", "2001:db9::1"));
        for bad in ["10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "a", ""] {
            assert_eq!(bad.parse::<IpRange>(), Err(InvalidIpRange), "{bad}");
        }
    }
}
