//! Every answer that is not a backend's, in one table: cause, status, body, response flag, detail (§2.7).

use upstream::ConnectError;
use wire::edit::Edits;
use wire::h1::{HeadError, OutFraming, ResponseParts, write_response};
use wire::view::Fields;

/// Why a request is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    /// The head is malformed.
    Head(HeadError),
    /// The host or the path is ambiguous.
    Refused(routing::Refusal),
    /// No host, or no rule that takes it.
    NoRoute,
    /// The destination does not exist (VS-32).
    NoCluster,
    /// The destination has no endpoints.
    NoEndpoint,
    /// No connection could be made.
    Connect { timeout: bool },
    /// The backend closed before it answered.
    UpstreamClosed,
    /// The backend's answer is malformed.
    UpstreamProtocol,
    /// The route's time is over.
    Timeout,
    /// The client's head or body took too long.
    ClientTimeout,
    /// The client's body is malformed.
    ClientBody,
}

impl Reject {
    /// The status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::Refused(refusal) => refusal.status(),
            Self::NoRoute => 404,
            Self::NoCluster | Self::NoEndpoint | Self::Connect { .. } | Self::UpstreamClosed => 503,
            Self::UpstreamProtocol => 502,
            Self::Timeout => 504,
            Self::ClientTimeout => 408,
            Self::ClientBody => 400,
        }
    }

    /// Istio's response flag (TE-05).
    pub(crate) fn flags(self) -> &'static str {
        match self {
            Self::Head(_) | Self::ClientBody => "DPE",
            Self::Refused(routing::Refusal::Connect) | Self::NoRoute => "NR",
            Self::Refused(_) => "-",
            Self::NoCluster => "NC",
            Self::NoEndpoint => "UH",
            Self::Connect { .. } => "UF",
            Self::UpstreamClosed => "UC",
            Self::UpstreamProtocol => "UPE",
            Self::Timeout => "UT",
            Self::ClientTimeout => "SI",
        }
    }

    /// Istio's detail of the status.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Head(error) => error.detail(),
            Self::Refused(refusal) => refusal.detail(),
            Self::NoRoute => "route_not_found",
            Self::NoCluster => "cluster_not_found",
            Self::NoEndpoint => "no_healthy_upstream",
            Self::Connect { timeout: false } => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::Connect { timeout: true } => "upstream_reset_before_response_started{connection_timeout}",
            Self::UpstreamClosed => "upstream_reset_before_response_started{connection_termination}",
            Self::UpstreamProtocol => "upstream_reset_before_response_started{protocol_error}",
            Self::Timeout => "response_timeout",
            Self::ClientTimeout => "request_header_timeout",
            Self::ClientBody => "http1.codec_error",
        }
    }

    /// The body, for people (S-126); empty where Istio's is.
    pub(crate) fn body(self) -> &'static str {
        match self {
            Self::NoRoute | Self::NoCluster | Self::Refused(routing::Refusal::Connect) => "",
            Self::Head(_) | Self::Refused(_) | Self::ClientBody => wire::h1::write::reason(self.status()),
            Self::NoEndpoint => "no healthy upstream",
            Self::Connect { timeout: false } => {
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
            }
            Self::Connect { timeout: true } => {
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
            }
            Self::UpstreamClosed => {
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
            }
            Self::UpstreamProtocol => {
                "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
            }
            Self::Timeout => "upstream request timeout",
            Self::ClientTimeout => "request timeout",
        }
    }
}

impl From<&ConnectError> for Reject {
    fn from(error: &ConnectError) -> Self {
        Self::Connect { timeout: matches!(error, ConnectError::Timeout) }
    }
}

/// What every answer of the gateway's own has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
    pub(crate) date: &'a str,
    pub(crate) head_only: bool,
    pub(crate) close: bool,
}

/// Appends an answer of the gateway's own; `edits` come from the route, where there is one.
pub(crate) fn write<'a>(out: &mut Vec<u8>, local: &Local<'a>, edits: &mut Edits<'a>) {
    let mut own = Edits::default();
    if let Some(location) = local.location {
        own.set("location", location);
    }
    if !local.body.is_empty() {
        own.set("content-type", &b"text/plain"[..]);
    }
    own.set("date", local.date.as_bytes());
    own.set("server", &b"istio-envoy"[..]);
    // What the route says comes last, so that it may say otherwise.
    own.fields.append(&mut edits.fields);
    let bodiless = matches!(local.status, 204 | 304);
    let framing = if bodiless { OutFraming::None } else { OutFraming::Length(local.body.len() as u64) };
    let parts = ResponseParts {
        status: local.status,
        fields: Fields::new(&[], &[]),
        nominates: false,
        framing,
        upgrade: None,
        close: local.close,
    };
    write_response(out, &parts, &own);
    if !local.head_only && !bodiless {
        out.extend_from_slice(local.body);
    }
}
