//! One operator: its name, its argument and what it stands for.

use super::time_format::TimeFormat;
use crate::HeaderName;
use std::fmt;
use std::sync::Arc;

/// What an operator stands for. Where that is not known (the endpoint in a request, a client certificate without one), the value is empty in a
/// header, `-` in a line of text and `null` in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// A header of the request (`REQ(name?other)`): in a header, as it is before the change; in a log, as it was sent to the endpoint.
    Request(FieldChoice),
    /// A header of the response (`RESP(name?other)`).
    Response(FieldChoice),
    /// The first value of a query parameter (`QUERY_PARAM(name)`).
    Query(Arc<str>),
    /// The path of the request, with its query or without (`PATH(WQ)`, `PATH(NQ)`).
    Path {
        /// Whether the query belongs to it.
        query: bool,
    },
    /// An address (`UPSTREAM_HOST`, `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`, `DOWNSTREAM_LOCAL_PORT`).
    Address(AddressOf, AddressPart),
    /// When the request began (`START_TIME(format)`).
    StartTime(TimeFormat),
    /// When the line is written (`EMIT_TIME(format)`).
    EmitTime(TimeFormat),
    /// The time between two events (`DURATION`, `COMMON_DURATION(begin:end:unit)`).
    Duration(Span),
    /// A fact whose operator has no argument.
    Fact(Fact),
    /// An operator of Envoy that tells of something that the gateway does not have. It has no value.
    Absent(Box<str>),
}

/// A header, or the one that is taken where the first is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChoice {
    /// The first choice.
    pub first: FieldName,
    /// The other.
    pub other: Option<FieldName>,
}

/// A header or what HTTP/2 has in place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldName {
    /// A header.
    Header(HeaderName),
    /// `:method`
    Method,
    /// `:path`, with the query
    Path,
    /// `:authority`
    Authority,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
}

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// The client's, as far as proxies in front of the gateway are trusted.
    Client,
    /// The peer's of the connection.
    Peer,
    /// The gateway's towards the client.
    Local,
    /// The endpoint's.
    Upstream,
    /// The gateway's towards the endpoint.
    UpstreamLocal,
}

/// What of an address is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPart {
    /// IP and port.
    Whole,
    /// The IP.
    Ip,
    /// The port.
    Port,
}

/// A fact about the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFact {
    /// URIs among its names.
    UriSan,
    /// DNS names among its names.
    DnsSan,
    /// Its subject, as in RFC 2253.
    Subject,
    /// Its issuer.
    Issuer,
    /// Its serial number, in hexadecimal.
    Serial,
    /// The SHA-256 of it, in hexadecimal.
    Fingerprint,
    /// It itself as PEM, URL-encoded.
    Certificate,
}

/// A time between two events, in whole units; without a value where one of them did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first event.
    pub from: Clock,
    /// The second event.
    pub to: Clock,
    /// The unit.
    pub unit: DurationUnit,
}

/// An event of an exchange whose time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The head of the request was received (`DS_RX_BEG`).
    RequestBegin,
    /// The end of the request was received (`DS_RX_END`).
    RequestEnd,
    /// The head of the endpoint's response was received (`US_RX_BEG`).
    ResponseBegin,
    /// The last octet was sent to the client (`DS_TX_END`).
    ResponseEnd,
}

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationUnit {
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $variant:ident $name:literal)*) => {
        /// A fact whose operator has no argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fact {
            $($(#[$doc])* $variant,)*
        }

        /// The operators of facts.
        const FACTS: &[(&str, Operator)] = &[$(($name, Operator::Fact(Fact::$variant)),)*];
    };
}

facts! {
    /// `HTTP/1.1`, `HTTP/2`.
    Protocol "PROTOCOL"
    /// The protocol that the endpoint speaks.
    UpstreamProtocol "UPSTREAM_PROTOCOL"
    /// The name that the client's TLS asked for.
    RequestedServerName "REQUESTED_SERVER_NAME"
    /// The name of the route.
    RouteName "ROUTE_NAME"
    /// The name of this machine.
    HostName "HOSTNAME"
    /// The status of the response; 0 without a response.
    ResponseCode "RESPONSE_CODE"
    /// The detail of the status.
    ResponseCodeDetails "RESPONSE_CODE_DETAILS"
    /// The response flags.
    ResponseFlags "RESPONSE_FLAGS"
    /// The response flags by their long names.
    ResponseFlagsLong "RESPONSE_FLAGS_LONG"
    /// Why the client's connection was ended early; always without a value for now, and part of Istio's default format.
    ConnectionTerminationDetails "CONNECTION_TERMINATION_DETAILS"
    /// The name of the cluster in statistics: Istio's name of it with a `;`.
    UpstreamCluster "UPSTREAM_CLUSTER"
    /// The name of the cluster.
    UpstreamClusterRaw "UPSTREAM_CLUSTER_RAW"
    /// Why no connection could be made to the endpoint.
    UpstreamTransportFailure "UPSTREAM_TRANSPORT_FAILURE_REASON"
    /// How often the request was sent.
    UpstreamAttempts "UPSTREAM_REQUEST_ATTEMPT_COUNT"
    /// The version of TLS that the client speaks.
    TlsVersion "DOWNSTREAM_TLS_VERSION"
    /// The cipher suite of the client's TLS.
    TlsCipher "DOWNSTREAM_TLS_CIPHER"
    /// The octets of the request's body, or all that a client of TCP sent.
    BytesReceived "BYTES_RECEIVED"
    /// The octets of the response's body, or all that a client of TCP received.
    BytesSent "BYTES_SENT"
    /// `DownstreamEnd`, `TcpConnectionEnd` or `NotSet`: what the line is about.
    AccessLogType "ACCESS_LOG_TYPE"
    /// URIs of the client's certificate.
    PeerUriSan "DOWNSTREAM_PEER_URI_SAN"
    /// DNS names of the client's certificate.
    PeerDnsSan "DOWNSTREAM_PEER_DNS_SAN"
    /// The subject of the client's certificate.
    PeerSubject "DOWNSTREAM_PEER_SUBJECT"
    /// The issuer of the client's certificate.
    PeerIssuer "DOWNSTREAM_PEER_ISSUER"
    /// The serial number of the client's certificate.
    PeerSerial "DOWNSTREAM_PEER_SERIAL"
    /// The SHA-256 of the client's certificate.
    PeerFingerprint "DOWNSTREAM_PEER_FINGERPRINT_256"
    /// The client's certificate as PEM, URL-encoded.
    PeerCertificate "DOWNSTREAM_PEER_CERT"
}

/// Operators with arguments, and those that are another spelling of one; the table suggests them.
const OTHERS: &[&str] = &[
    "REQ",
    "RESP",
    "QUERY_PARAM",
    "PATH",
    "START_TIME",
    "EMIT_TIME",
    "STREAM_ID",
    "REQUEST_ID",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "COMMON_DURATION",
    "UPSTREAM_HOST",
];

const ADDRESSES: &[(&str, AddressOf)] = &[
    ("DOWNSTREAM_REMOTE", AddressOf::Client),
    ("DOWNSTREAM_DIRECT_REMOTE", AddressOf::Peer),
    ("DOWNSTREAM_LOCAL", AddressOf::Local),
    ("DOWNSTREAM_DIRECT_LOCAL", AddressOf::Local),
    ("UPSTREAM_REMOTE", AddressOf::Upstream),
    ("UPSTREAM_LOCAL", AddressOf::UpstreamLocal),
];

/// Operators of Envoy 1.40 that have no value here: of its metadata, filter states and connections, and of things that are not recorded.
const ABSENT: &[&str] = &[
    "ACCESS_LOG_TIMEOUT",
    "BYTES_RETRANSMITTED",
    "CEL",
    "CLUSTER_METADATA",
    "CONNECTION_ID",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER_CN",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DYNAMIC_METADATA",
    "EMIT_TIME_LOCAL",
    "ENVIRONMENT",
    "FILTER_CHAIN_NAME",
    "FILTER_STATE",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "LOCAL_REPLY_BODY",
    "METADATA",
    "PACKETS_RETRANSMITTED",
    "PER_REQUEST_STATE",
    "QUERY_PARAMS",
    "REQUEST_HEADERS_BYTES",
    "REQUEST_TX_DURATION",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "ROUNDTRIP_DURATION",
    "SPAN_ID",
    "START_TIME_LOCAL",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "TRAILER",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_SUBJECT",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

/// Why there is no such operator.
pub(super) enum InvalidOperator {
    Unknown,
    /// What the operator takes.
    Argument(&'static str),
}

const NO_ARGUMENT: InvalidOperator = InvalidOperator::Argument("takes no argument");

impl Operator {
    /// From a name and an argument.
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, InvalidOperator> {
        use InvalidOperator::Argument;
        const HEADER: InvalidOperator = Argument("takes the name of a header");
        let alone = |operator| if argument.is_none() { Ok(operator) } else { Err(NO_ARGUMENT) };
        if let Some((_, operator)) = FACTS.iter().find(|(fact, _)| *fact == name) {
            let detail = matches!(operator, Self::Fact(Fact::ResponseCodeDetails | Fact::RequestedServerName));
            // `ALLOW_WHITESPACES`, and where the name is looked for, change nothing here.
            return if detail { Ok(operator.clone()) } else { alone(operator.clone()) };
        }
        if let Some(address) = address(name) {
            return alone(address);
        }
        let whole = |from, to| alone(Self::Duration(Span { from, to, unit: DurationUnit::Milliseconds }));
        match name {
            "REQ" => Ok(Self::Request(field(argument).ok_or(HEADER)?)),
            "RESP" => Ok(Self::Response(field(argument).ok_or(HEADER)?)),
            "STREAM_ID" | "REQUEST_ID" => {
                let id = field(Some("x-request-id")).ok_or(InvalidOperator::Unknown)?;
                alone(Self::Request(id))
            }
            "QUERY_PARAM" => match argument {
                Some(parameter) if !parameter.is_empty() => Ok(Self::Query(parameter.into())),
                _ => Err(Argument("takes the name of a query parameter")),
            },
            "PATH" => match argument.unwrap_or_default().split(':').next().unwrap_or_default() {
                "" | "WQ" => Ok(Self::Path { query: true }),
                "NQ" => Ok(Self::Path { query: false }),
                _ => Err(Argument("takes `WQ` or `NQ`")),
            },
            "START_TIME" => Ok(Self::StartTime(time(argument)?)),
            "EMIT_TIME" => Ok(Self::EmitTime(time(argument)?)),
            "DURATION" => whole(Clock::RequestBegin, Clock::ResponseEnd),
            "REQUEST_DURATION" => whole(Clock::RequestBegin, Clock::RequestEnd),
            "RESPONSE_DURATION" => whole(Clock::RequestBegin, Clock::ResponseBegin),
            "RESPONSE_TX_DURATION" => whole(Clock::ResponseBegin, Clock::ResponseEnd),
            "COMMON_DURATION" => duration(argument.unwrap_or_default()),
            absent if ABSENT.contains(&absent) => Ok(Self::Absent(absent.into())),
            _ => Err(InvalidOperator::Unknown),
        }
    }

    /// Whether its value is a number, which JSON writes without quotes.
    pub fn is_number(&self) -> bool {
        match self {
            Self::Duration(_) | Self::Address(_, AddressPart::Port) => true,
            Self::Fact(fact) => {
                matches!(fact, Fact::ResponseCode | Fact::BytesReceived | Fact::BytesSent | Fact::UpstreamAttempts)
            }
            _ => false,
        }
    }
}

impl Fact {
    /// The fact about the client's certificate, if it is one.
    pub fn of_peer(self) -> Option<PeerFact> {
        Some(match self {
            Self::PeerUriSan => PeerFact::UriSan,
            Self::PeerDnsSan => PeerFact::DnsSan,
            Self::PeerSubject => PeerFact::Subject,
            Self::PeerIssuer => PeerFact::Issuer,
            Self::PeerSerial => PeerFact::Serial,
            Self::PeerFingerprint => PeerFact::Fingerprint,
            Self::PeerCertificate => PeerFact::Certificate,
            _ => return None,
        })
    }

    /// The name of its operator.
    pub fn name(self) -> &'static str {
        FACTS.iter().find(|(_, operator)| *operator == Operator::Fact(self)).map_or("", |(name, _)| name)
    }
}

/// The name of the operator that is nearest to one that does not exist.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // The distance is quadratic in the length; no name is as long as that.
    if name.len() > 60 {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let known = FACTS.iter().map(|(name, _)| *name).chain(OTHERS.iter().copied()).chain(ADDRESS_NAMES.iter().copied());
    let (distance, known) = known.map(|known| (strsim::damerau_levenshtein(&upper, known), known)).min()?;
    (distance <= 1 + known.len() / 4).then_some(known)
}

/// Every operator of an address.
const ADDRESS_NAMES: &[&str] = &[
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
];

/// `DOWNSTREAM_REMOTE_ADDRESS`, `…_WITHOUT_PORT` and `DOWNSTREAM_REMOTE_PORT`, and so on.
fn address(name: &str) -> Option<Operator> {
    let (stem, part) = if let Some(stem) = name.strip_suffix("_ADDRESS_WITHOUT_PORT") {
        (stem, AddressPart::Ip)
    } else if let Some(stem) = name.strip_suffix("_ADDRESS") {
        (stem, AddressPart::Whole)
    } else if name == "UPSTREAM_HOST" {
        ("UPSTREAM_REMOTE", AddressPart::Whole)
    } else {
        (name.strip_suffix("_PORT")?, AddressPart::Port)
    };
    let (_, of) = ADDRESSES.iter().find(|(known, _)| *known == stem)?;
    Some(Operator::Address(*of, part))
}

fn time(argument: Option<&str>) -> Result<TimeFormat, InvalidOperator> {
    let invalid = InvalidOperator::Argument("takes a valid `strftime` format");
    match argument.filter(|text| !text.is_empty()) {
        None => Ok(TimeFormat::default()),
        Some(text) => TimeFormat::parse(text).ok_or(invalid),
    }
}

/// `begin:end` or `begin:end:unit`. Events whose time is not known make the operator absent.
fn duration(argument: &str) -> Result<Operator, InvalidOperator> {
    const POINTS: [&str; 12] = [
        "DS_RX_BEG",
        "DS_RX_END",
        "US_CX_BEG",
        "US_CX_END",
        "US_HS_END",
        "US_TX_BEG",
        "US_TX_END",
        "US_RX_BEG",
        "US_RX_BODY_BEG",
        "US_RX_END",
        "DS_TX_BEG",
        "DS_TX_END",
    ];
    let invalid = || InvalidOperator::Argument("takes two points of time and a unit, as in `DS_RX_BEG:DS_TX_END:ms`");
    let mut pieces = argument.split(':');
    let (Some(from), Some(to)) = (pieces.next(), pieces.next()) else { return Err(invalid()) };
    let unit = match pieces.next() {
        None | Some("ms") => DurationUnit::Milliseconds,
        Some("us") => DurationUnit::Microseconds,
        Some("ns") => DurationUnit::Nanoseconds,
        Some(_) => return Err(invalid()),
    };
    if pieces.next().is_some() || !POINTS.contains(&from) || !POINTS.contains(&to) {
        return Err(invalid());
    }
    Ok(match (clock(from), clock(to)) {
        (Some(from), Some(to)) => Operator::Duration(Span { from, to, unit }),
        _ => Operator::Absent(format!("COMMON_DURATION({argument})").into()),
    })
}

fn clock(point: &str) -> Option<Clock> {
    Some(match point {
        "DS_RX_BEG" => Clock::RequestBegin,
        "DS_RX_END" => Clock::RequestEnd,
        "US_RX_BEG" => Clock::ResponseBegin,
        "DS_TX_END" => Clock::ResponseEnd,
        _ => return None,
    })
}

/// `name` or `name?other`.
fn field(argument: Option<&str>) -> Option<FieldChoice> {
    let argument = argument?;
    let (first, other) = argument.split_once('?').map_or((argument, None), |(first, other)| (first, Some(other)));
    let other = match other {
        Some(other) => Some(field_name(other)?),
        None => None,
    };
    Some(FieldChoice { first: field_name(first)?, other })
}

fn field_name(name: &str) -> Option<FieldName> {
    Some(match name.to_ascii_lowercase().as_str() {
        ":method" => FieldName::Method,
        ":path" => FieldName::Path,
        ":authority" | "host" => FieldName::Authority,
        ":scheme" => FieldName::Scheme,
        ":status" => FieldName::Status,
        name => FieldName::Header(HeaderName::parse(name).ok()?),
    })
}

/// As Envoy writes it, without the `%` around it.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = |f: &mut fmt::Formatter<'_>, name: &str, choice: &FieldChoice| match &choice.other {
            None => write!(f, "{name}({})", choice.first),
            Some(other) => write!(f, "{name}({}?{other})", choice.first),
        };
        match self {
            Self::Request(choice) => call(f, "REQ", choice),
            Self::Response(choice) => call(f, "RESP", choice),
            Self::Query(name) => write!(f, "QUERY_PARAM({name})"),
            Self::Path { query } => f.write_str(if *query { "PATH(WQ)" } else { "PATH(NQ)" }),
            Self::Address(of, part) => {
                let of = ADDRESSES.iter().find(|(_, known)| known == of).map_or("", |(name, _)| name);
                let part = match part {
                    AddressPart::Whole => "ADDRESS",
                    AddressPart::Ip => "ADDRESS_WITHOUT_PORT",
                    AddressPart::Port => "PORT",
                };
                write!(f, "{of}_{part}")
            }
            Self::StartTime(format) => write!(f, "START_TIME({format})"),
            Self::EmitTime(format) => write!(f, "EMIT_TIME({format})"),
            Self::Duration(span) => write!(f, "COMMON_DURATION({span})"),
            Self::Fact(fact) => f.write_str(fact.name()),
            Self::Absent(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |clock| match clock {
            Clock::RequestBegin => "DS_RX_BEG",
            Clock::RequestEnd => "DS_RX_END",
            Clock::ResponseBegin => "US_RX_BEG",
            Clock::ResponseEnd => "DS_TX_END",
        };
        let unit = match self.unit {
            DurationUnit::Milliseconds => "ms",
            DurationUnit::Microseconds => "us",
            DurationUnit::Nanoseconds => "ns",
        };
        write!(f, "{}:{}:{unit}", name(self.from), name(self.to))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => name.fmt(f),
            Self::Method => f.write_str(":method"),
            Self::Path => f.write_str(":path"),
            Self::Authority => f.write_str(":authority"),
            Self::Scheme => f.write_str(":scheme"),
            Self::Status => f.write_str(":status"),
        }
    }
}

/// Every operator with a value and no argument, by its name.
#[cfg(test)]
pub(super) fn every() -> Vec<(&'static str, Operator)> {
    let parse = |name: &'static str| (name, Operator::parse(name, None).unwrap_or_else(|_| panic!("{name}")));
    let names = FACTS.iter().map(|(name, _)| *name).chain(ADDRESS_NAMES.iter().copied());
    let others =
        OTHERS.iter().copied().filter(|name| !matches!(*name, "REQ" | "RESP" | "QUERY_PARAM" | "COMMON_DURATION"));
    names.chain(others).chain(ABSENT.iter().copied()).map(parse).collect()
}
