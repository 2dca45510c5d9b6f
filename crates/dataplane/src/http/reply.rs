//! Every answer that is not a backend's, in one table: cause, status, body, response flag, detail (§2.7).

use crate::log::HttpDate;
use bytes::Bytes;
use http::Response;
use ir::Abort;
use upstream::ConnectError;
use wire::edit::Edits;
use wire::grpc::Dialect;
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
    /// The host belongs to another TLS server of the listener (S-38).
    Misdirected,
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
    /// The time of the last attempt is over.
    TryTimeout,
    /// The client's head took too long.
    HeadTimeout,
    /// The client's body does not come.
    BodyTimeout,
    /// The client's body is malformed.
    ClientBody,
    /// The client's body is to be base64, and is not (S-119).
    NotBase64,
    /// The route says so (VS-44).
    Fault(Abort),
}

impl Reject {
    /// The status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::Refused(refusal) => refusal.status(),
            Self::NoRoute => 404,
            Self::Misdirected => 421,
            Self::NoCluster | Self::NoEndpoint | Self::Connect { .. } | Self::UpstreamClosed => 503,
            Self::UpstreamProtocol => 502,
            Self::Timeout | Self::TryTimeout => 504,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::ClientBody | Self::NotBase64 => 400,
            Self::Fault(Abort::Http(status)) => status,
            Self::Fault(Abort::Grpc(status)) => wire::grpc::http_status_of(status),
        }
    }

    /// gRPC's status (S-119).
    pub(crate) fn grpc_status(self) -> u8 {
        match self {
            Self::Timeout | Self::TryTimeout => wire::grpc::DEADLINE_EXCEEDED,
            Self::Fault(Abort::Grpc(status)) => status,
            _ => wire::grpc::status_of(self.status()),
        }
    }

    /// Istio's response flag (TE-05).
    pub(crate) fn flags(self) -> &'static str {
        match self {
            Self::Head(_) | Self::ClientBody => "DPE",
            Self::Refused(routing::Refusal::Connect) | Self::NoRoute => "NR",
            Self::Refused(_) | Self::NotBase64 => "-",
            Self::Misdirected => "NR",
            Self::NoCluster => "NC",
            Self::NoEndpoint => "UH",
            Self::Connect { .. } => "UF",
            Self::UpstreamClosed => "UC",
            Self::UpstreamProtocol => "UPE",
            Self::Timeout | Self::TryTimeout => "UT",
            Self::HeadTimeout => "DPE",
            Self::BodyTimeout => "SI",
            Self::Fault(_) => "FI",
        }
    }

    /// Istio's detail of the status.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Head(error) => error.detail(),
            Self::Refused(refusal) => refusal.detail(),
            Self::NoRoute => "route_not_found",
            Self::Misdirected => "misdirected_request",
            Self::NoCluster => "cluster_not_found",
            Self::NoEndpoint => "no_healthy_upstream",
            Self::Connect { timeout: false } => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::Connect { timeout: true } => "upstream_reset_before_response_started{connection_timeout}",
            Self::UpstreamClosed => "upstream_reset_before_response_started{connection_termination}",
            Self::UpstreamProtocol => "upstream_reset_before_response_started{protocol_error}",
            Self::Timeout => "response_timeout",
            Self::TryTimeout => "upstream_per_try_timeout",
            Self::HeadTimeout => "request_header_timeout",
            Self::BodyTimeout => "stream_idle_timeout",
            Self::ClientBody => "http1.codec_error",
            Self::NotBase64 => "grpc_base_64_decode_failed",
            Self::Fault(_) => "fault_filter_abort",
        }
    }

    /// The body, for people (S-126); empty where Istio's is.
    pub(crate) fn body(self) -> &'static str {
        match self {
            Self::NoRoute | Self::NoCluster => "",
            Self::Misdirected => "misdirected request: ask for this host over a connection of its own",
            // Envoy's connection manager refuses these, not its codec, which would add words.
            Self::Head(HeadError::Http10 | HeadError::Host) | Self::Refused(_) => "",
            Self::Head(_) | Self::ClientBody => wire::h1::write::reason(self.status()),
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
            Self::Timeout | Self::TryTimeout => "upstream request timeout",
            Self::HeadTimeout => "request header timeout",
            Self::BodyTimeout => "stream timeout",
            Self::Fault(_) => "fault filter abort",
            Self::NotBase64 => "a body of application/grpc-web-text has to be base64",
        }
    }

    /// Whether nothing more of the connection is to be believed or had: the rest of the body does not come, or the request is
    /// one that no sound client sends.
    pub(crate) fn ends_connection(self) -> bool {
        match self {
            Self::ClientBody | Self::BodyTimeout => true,
            Self::Refused(refusal) => refusal.status() == 400,
            _ => false,
        }
    }

    /// The answer.
    pub(crate) fn answer(self, date: &HttpDate, head_only: bool, close: bool) -> Local<'_> {
        Local {
            status: self.status(),
            location: None,
            body: self.body().as_bytes(),
            date,
            head_only,
            close,
            grpc: None,
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
    pub(crate) date: &'a HttpDate,
    pub(crate) head_only: bool,
    pub(crate) close: bool,
    /// What the client speaks, where that is gRPC, and gRPC's status: it is told in the head, and there is no body.
    pub(crate) grpc: Option<(Dialect, u8)>,
}

/// Appends an answer of the gateway's own; `edits` come from the route, where there is one. Returns the length of the body written.
pub(crate) fn write<'a>(out: &mut Vec<u8>, local: &Local<'a>, edits: &mut Edits<'a>) -> u64 {
    let own = headers(local, edits);
    write_response(out, &local.parts(), &own);
    let body = local.sent_body();
    out.extend_from_slice(body);
    body.len() as u64
}

/// The same for a stream of HTTP/2: its head, and its body, which may be empty.
pub(crate) fn message<'a>(local: &Local<'a>, edits: &mut Edits<'a>) -> (Response<()>, Bytes) {
    let own = headers(local, edits);
    (wire::h2::response(&local.parts(), &own), Bytes::copy_from_slice(local.sent_body()))
}

fn headers<'a>(local: &Local<'a>, edits: &mut Edits<'a>) -> Edits<'a> {
    let mut own = Edits::default();
    if let Some(location) = local.location {
        own.set("location", location);
    }
    if let Some((dialect, status)) = local.grpc {
        own.set("content-type", dialect.content_type().as_bytes());
        own.set("grpc-status", status.to_string().into_bytes());
        if !local.body.is_empty() {
            own.set("grpc-message", wire::grpc::message(local.body).into_bytes());
        }
    } else if !local.body.is_empty() {
        own.set("content-type", &b"text/plain"[..]);
    }
    own.set("date", local.date.as_slice());
    own.set("server", &b"istio-envoy"[..]);
    // What the route says comes last, so that it may say otherwise.
    own.fields.append(&mut edits.fields);
    own
}

impl<'a> Local<'a> {
    /// The status as the client sees it: gRPC has its own elsewhere.
    pub(crate) fn sent_status(&self) -> u16 {
        self.grpc.map_or(self.status, |(dialect, _)| dialect.status(self.status))
    }

    fn is_bodiless(&self) -> bool {
        matches!(self.sent_status(), 204 | 304)
    }

    fn sent_body(&self) -> &'a [u8] {
        if self.head_only || self.is_bodiless() || self.grpc.is_some() { &[] } else { self.body }
    }

    fn parts(&self) -> ResponseParts<'static> {
        let length = OutFraming::Length(if self.grpc.is_some() { 0 } else { self.body.len() as u64 });
        ResponseParts {
            status: self.sent_status(),
            fields: Fields::new(&[], &[]),
            nominates: false,
            framing: if self.is_bodiless() { OutFraming::None } else { length },
            upgrade: None,
            close: self.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_2_7_causes_have_istios_status_flag_and_detail() {
        let told = |reject: Reject| (reject.status(), reject.flags(), reject.detail());
        assert_eq!(told(Reject::NoRoute), (404, "NR", "route_not_found"));
        assert_eq!(told(Reject::NoCluster), (503, "NC", "cluster_not_found"));
        assert_eq!(told(Reject::NoEndpoint), (503, "UH", "no_healthy_upstream"));
        assert_eq!(told(Reject::Timeout), (504, "UT", "response_timeout"));
        let (status, flags, detail) = told(Reject::UpstreamClosed);
        assert_eq!((status, flags), (503, "UC"));
        assert_eq!(detail, "upstream_reset_before_response_started{connection_termination}");
    }

    #[test]
    fn s_126_bodies_are_plain_text_and_told_only_where_there_is_one() {
        let date = crate::log::http_date(0);
        let written = |reject: Reject, head_only| {
            let mut out = Vec::new();
            let length = write(&mut out, &reject.answer(&date, head_only, false), &mut Edits::default());
            (String::from_utf8(out).unwrap(), length)
        };
        let (text, length) = written(Reject::NoEndpoint, false);
        assert!(
            text.ends_with("\r\n\r\nno healthy upstream") && text.contains("content-type: text/plain\r\n"),
            "{text}"
        );
        assert_eq!(length, 19);
        let (text, length) = written(Reject::NoEndpoint, true);
        assert!(text.ends_with("\r\n\r\n") && text.contains("content-length: 19\r\n"), "{text}");
        assert_eq!(length, 0);
        assert!(!written(Reject::NoRoute, false).0.contains("content-type"));
    }
}
