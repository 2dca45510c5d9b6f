//! Values of headers that are made anew for each request: texts with `%NAME%`, as Envoy has them for custom headers (VS-47).

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use text::{HeaderName, HeaderValue, TextError};

/// What is written into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// Always the same.
    Fixed(HeaderValue),
    /// Made anew for each request; the header is left out where nothing comes of it.
    Made(Template),
}

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: Arc<str>,
    parts: Arc<[Part]>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Stands as it is.
    Text(HeaderValue),
    /// Stands for what it is of the request.
    Variable(Variable),
}

/// What a variable stands for. Where it is not known (of the backend in a request, of a client certificate without one) it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// A header of the request, as it is before the change (`REQ(name?other)`).
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
    /// An address.
    Address(AddressOf, AddressPart),
    /// When the request began, in the format of `strftime` (`START_TIME(format)`).
    StartTime(Arc<str>),
    /// A fact about the client's certificate.
    Peer(PeerFact),
    /// `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// The name that the client's TLS asked for.
    RequestedServerName,
    /// The name of the route.
    RouteName,
    /// The name of this machine.
    HostName,
    /// The status of the response.
    ResponseCode,
    /// Its detail.
    ResponseCodeDetails,
    /// Its flags.
    ResponseFlags,
    /// The cluster that the request goes to.
    UpstreamCluster,
    /// Why no connection could be made.
    UpstreamTransportFailure,
    /// The version of TLS that the client speaks.
    TlsVersion,
    /// The cipher suite of the client's TLS.
    TlsCipher,
    /// What is never known here.
    Nothing,
}

/// A header, or the one that is taken where it is not there.
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

/// Why a text cannot be written into a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// What stands between variables.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A `%` that begins nothing.
    #[error("`%` begins a variable that does not end")]
    Open,
    /// There is no such variable.
    #[error("there is no variable `{0}`")]
    Unknown(Box<str>),
    /// The variable wants an argument, or a better one.
    #[error("`{0}` wants {1}")]
    Argument(Box<str>, &'static str),
}

/// Variables of Envoy that tell of what is not here: metadata and states of its filters. They are always empty.
const NOTHING: &[&str] = &[
    "DYNAMIC_METADATA",
    "CLUSTER_METADATA",
    "UPSTREAM_METADATA",
    "METADATA",
    "FILTER_STATE",
    "UPSTREAM_FILTER_STATE",
    "PER_REQUEST_STATE",
    "VIRTUAL_CLUSTER_NAME",
    "TRACE_ID",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "TRAILER",
    "LOCAL_REPLY_BODY",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_TLS_SESSION_ID",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TLS_SESSION_ID",
];

impl HeaderText {
    /// Reads a text; `%%` is a per cent sign.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if !text.contains('%') {
            return Ok(Self::Fixed(HeaderValue::parse(text)?));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(behind) = behind.strip_prefix('%') {
                literal.push('%');
                rest = behind;
                continue;
            }
            let (name, argument, behind) = call(behind).ok_or(InvalidText::Open)?;
            if !literal.is_empty() {
                parts.push(Part::Text(HeaderValue::parse_part(&std::mem::take(&mut literal))?));
            }
            parts.push(Part::Variable(variable(name, argument)?));
            rest = behind;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Fixed(HeaderValue::parse(&literal)?));
        }
        if !literal.is_empty() {
            parts.push(Part::Text(HeaderValue::parse_part(&literal)?));
        }
        Ok(Self::Made(Template { source: text.into(), parts: parts.into() }))
    }

    /// Whether it is an empty text.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Fixed(value) if value.is_empty())
    }
}

impl Template {
    /// Its parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its variables.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => value.fmt(f),
            Self::Made(template) => f.write_str(&template.source),
        }
    }
}

/// As Envoy writes it, without the `%` around it.
impl fmt::Display for Variable {
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
                let of = match of {
                    AddressOf::Client => "DOWNSTREAM_REMOTE",
                    AddressOf::Peer => "DOWNSTREAM_DIRECT_REMOTE",
                    AddressOf::Local => "DOWNSTREAM_LOCAL",
                    AddressOf::Upstream => "UPSTREAM_REMOTE",
                    AddressOf::UpstreamLocal => "UPSTREAM_LOCAL",
                };
                let part = match part {
                    AddressPart::Whole => "ADDRESS",
                    AddressPart::Ip => "ADDRESS_WITHOUT_PORT",
                    AddressPart::Port => "PORT",
                };
                write!(f, "{of}_{part}")
            }
            Self::StartTime(format) => write!(f, "START_TIME({format})"),
            Self::Peer(fact) => f.write_str(match fact {
                PeerFact::UriSan => "DOWNSTREAM_PEER_URI_SAN",
                PeerFact::DnsSan => "DOWNSTREAM_PEER_DNS_SAN",
                PeerFact::Subject => "DOWNSTREAM_PEER_SUBJECT",
                PeerFact::Issuer => "DOWNSTREAM_PEER_ISSUER",
                PeerFact::Serial => "DOWNSTREAM_PEER_SERIAL",
                PeerFact::Fingerprint => "DOWNSTREAM_PEER_FINGERPRINT_256",
                PeerFact::Certificate => "DOWNSTREAM_PEER_CERT",
            }),
            Self::Protocol => f.write_str("PROTOCOL"),
            Self::RequestedServerName => f.write_str("REQUESTED_SERVER_NAME"),
            Self::RouteName => f.write_str("ROUTE_NAME"),
            Self::HostName => f.write_str("HOSTNAME"),
            Self::ResponseCode => f.write_str("RESPONSE_CODE"),
            Self::ResponseCodeDetails => f.write_str("RESPONSE_CODE_DETAILS"),
            Self::ResponseFlags => f.write_str("RESPONSE_FLAGS"),
            Self::UpstreamCluster => f.write_str("UPSTREAM_CLUSTER"),
            Self::UpstreamTransportFailure => f.write_str("UPSTREAM_TRANSPORT_FAILURE_REASON"),
            Self::TlsVersion => f.write_str("DOWNSTREAM_TLS_VERSION"),
            Self::TlsCipher => f.write_str("DOWNSTREAM_TLS_CIPHER"),
            // What these stand for is always empty, whichever of them was written.
            Self::Nothing => Ok(()),
        }
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

impl Serialize for HeaderText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Name and argument of a variable, and what is behind it.
fn call(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find(['%', '('])?;
    let (name, tail) = (text.get(..end)?, text.get(end + 1..)?);
    if text.get(end..)?.starts_with('%') {
        return Some((name, None, tail));
    }
    // The argument may have parentheses and per cent signs of its own: it ends where the variable does.
    let close = tail.find(")%").map(|at| (at, at + 2)).or_else(|| {
        let spaced = tail
            .match_indices(')')
            .find(|(at, _)| tail.get(at + 1..).is_some_and(|behind| behind.trim_start_matches(' ').starts_with('%')));
        spaced.and_then(|(at, _)| Some((at, at + 1 + tail.get(at + 1..)?.find('%')? + 1)))
    });
    let (argument, behind) = close?;
    Some((name, Some(tail.get(..argument)?.trim()), tail.get(behind..)?))
}

fn variable(name: &str, argument: Option<&str>) -> Result<Variable, InvalidText> {
    let wants = |what: &'static str| InvalidText::Argument(name.into(), what);
    if let Some(address) = address(name) {
        return Ok(address);
    }
    Ok(match name {
        "REQ" => Variable::Request(field(argument).ok_or_else(|| wants("the name of a header"))?),
        "RESP" => Variable::Response(field(argument).ok_or_else(|| wants("the name of a header"))?),
        "QUERY_PARAM" => {
            let named = argument.filter(|argument| !argument.is_empty());
            Variable::Query(named.ok_or_else(|| wants("the name of a query parameter"))?.into())
        }
        "PATH" => match argument.unwrap_or_default().split(':').next().unwrap_or_default() {
            "" | "WQ" => Variable::Path { query: true },
            "NQ" => Variable::Path { query: false },
            _ => return Err(wants("`WQ` or `NQ`")),
        },
        "START_TIME" => {
            Variable::StartTime(argument.filter(|text| !text.is_empty()).unwrap_or("%Y-%m-%dT%H:%M:%S.%3fZ").into())
        }
        "PROTOCOL" => Variable::Protocol,
        "REQUESTED_SERVER_NAME" => Variable::RequestedServerName,
        "ROUTE_NAME" => Variable::RouteName,
        "HOSTNAME" => Variable::HostName,
        "STREAM_ID" | "REQUEST_ID" => {
            Variable::Request(field(Some("x-request-id")).ok_or_else(|| wants("no argument"))?)
        }
        "RESPONSE_CODE" => Variable::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Variable::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Variable::ResponseFlags,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Variable::UpstreamCluster,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Variable::UpstreamTransportFailure,
        "DOWNSTREAM_TLS_VERSION" => Variable::TlsVersion,
        "DOWNSTREAM_TLS_CIPHER" => Variable::TlsCipher,
        "DOWNSTREAM_PEER_URI_SAN" => Variable::Peer(PeerFact::UriSan),
        "DOWNSTREAM_PEER_DNS_SAN" => Variable::Peer(PeerFact::DnsSan),
        "DOWNSTREAM_PEER_SUBJECT" => Variable::Peer(PeerFact::Subject),
        "DOWNSTREAM_PEER_ISSUER" => Variable::Peer(PeerFact::Issuer),
        "DOWNSTREAM_PEER_SERIAL" => Variable::Peer(PeerFact::Serial),
        "DOWNSTREAM_PEER_FINGERPRINT_256" => Variable::Peer(PeerFact::Fingerprint),
        "DOWNSTREAM_PEER_CERT" => Variable::Peer(PeerFact::Certificate),
        known if NOTHING.contains(&known) => Variable::Nothing,
        _ => return Err(InvalidText::Unknown(name.into())),
    })
}

/// `DOWNSTREAM_REMOTE_ADDRESS`, `…_WITHOUT_PORT` and `DOWNSTREAM_REMOTE_PORT`, and so on.
fn address(name: &str) -> Option<Variable> {
    let (stem, part) = if let Some(stem) = name.strip_suffix("_ADDRESS_WITHOUT_PORT") {
        (stem, AddressPart::Ip)
    } else if let Some(stem) = name.strip_suffix("_ADDRESS") {
        (stem, AddressPart::Whole)
    } else if name == "UPSTREAM_HOST" {
        ("UPSTREAM_REMOTE", AddressPart::Whole)
    } else {
        (name.strip_suffix("_PORT")?, AddressPart::Port)
    };
    let of = match stem {
        "DOWNSTREAM_REMOTE" => AddressOf::Client,
        "DOWNSTREAM_DIRECT_REMOTE" => AddressOf::Peer,
        "DOWNSTREAM_LOCAL" | "DOWNSTREAM_DIRECT_LOCAL" => AddressOf::Local,
        "UPSTREAM_REMOTE" => AddressOf::Upstream,
        "UPSTREAM_LOCAL" => AddressOf::UpstreamLocal,
        _ => return None,
    };
    Some(Variable::Address(of, part))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        match HeaderText::parse(text) {
            Ok(HeaderText::Fixed(value)) => vec![format!("={value}")],
            Ok(HeaderText::Made(template)) => template
                .parts()
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.to_string(),
                    Part::Variable(variable) => format!("{variable:?}"),
                })
                .collect(),
            Err(error) => vec![format!("!{error}")],
        }
    }

    #[test]
    fn vs_47_variables_are_shown_as_they_are_written() {
        for text in [
            "REQ(x-a?:path)",
            "RESP(:status)",
            "QUERY_PARAM(q)",
            "PATH(NQ)",
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
            "UPSTREAM_LOCAL_PORT",
            "START_TIME(%s)",
            "DOWNSTREAM_PEER_CERT",
            "HOSTNAME",
            "UPSTREAM_TRANSPORT_FAILURE_REASON",
            "DOWNSTREAM_TLS_CIPHER",
        ] {
            let HeaderText::Made(template) = HeaderText::parse(&format!("%{text}%")).unwrap() else { panic!("{text}") };
            assert_eq!(template.variables().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        }
    }

    #[test]
    fn vs_47_a_text_is_cut_into_parts() {
        assert_eq!(parts("plain"), ["=plain"]);
        assert_eq!(parts("100%% sure"), ["=100% sure"]);
        assert_eq!(parts("a %PROTOCOL% b%%c"), ["a ", "Protocol", " b%c"]);
        assert_eq!(parts("%ROUTE_NAME%%HOSTNAME%"), ["RouteName", "HostName"]);
        assert_eq!(parts("%START_TIME(%Y (%m))%!"), ["StartTime(\"%Y (%m)\")", "!"]);
        assert_eq!(parts("%START_TIME%"), ["StartTime(\"%Y-%m-%dT%H:%M:%S.%3fZ\")"]);
        assert_eq!(parts("%DYNAMIC_METADATA([\"a\", \"b\"])%"), ["Nothing"]);
    }

    #[test]
    fn vs_47_variables_are_those_of_envoy() {
        for (text, of, part) in [
            ("%DOWNSTREAM_REMOTE_ADDRESS%", AddressOf::Client, AddressPart::Whole),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", AddressOf::Client, AddressPart::Ip),
            ("%DOWNSTREAM_REMOTE_PORT%", AddressOf::Client, AddressPart::Port),
            ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", AddressOf::Peer, AddressPart::Whole),
            ("%DOWNSTREAM_LOCAL_PORT%", AddressOf::Local, AddressPart::Port),
            ("%UPSTREAM_HOST%", AddressOf::Upstream, AddressPart::Whole),
            ("%UPSTREAM_REMOTE_PORT%", AddressOf::Upstream, AddressPart::Port),
            ("%UPSTREAM_LOCAL_ADDRESS%", AddressOf::UpstreamLocal, AddressPart::Whole),
        ] {
            assert_eq!(parts(text), [format!("{:?}", Variable::Address(of, part))]);
        }
        let name = |name: &str| FieldName::Header(HeaderName::parse(name).unwrap());
        let choice = FieldChoice { first: name("x-a"), other: Some(FieldName::Path) };
        assert_eq!(parts("%REQ(X-A?:path)%"), [format!("{:?}", Variable::Request(choice))]);
    }

    #[test]
    fn vs_47_what_is_no_variable_is_told() {
        for (text, told) in [
            ("50%", "!`%` begins a variable that does not end"),
            ("%REQ(x", "!`%` begins a variable that does not end"),
            ("%NOBODY%", "!there is no variable `NOBODY`"),
            ("%SOME_PORT%", "!there is no variable `SOME_PORT`"),
            ("%REQ%", "!`REQ` wants the name of a header"),
            ("%REQ(a b)%", "!`REQ` wants the name of a header"),
            ("%QUERY_PARAM()%", "!`QUERY_PARAM` wants the name of a query parameter"),
            ("%ENVIRONMENT(HOME)%", "!there is no variable `ENVIRONMENT`"),
        ] {
            assert_eq!(parts(text), [told], "{text}");
        }
    }
}
