//! Why the gateway answers by itself, in one table: from each cause to the status, the response flag, the detail of the code, and the body
//! (TE-05). The access log, the metrics and `x-moongate-reason` use the same words, which are Envoy's.

mod destination;
mod flags;
mod handshake;

pub(crate) use destination::DestinationReason;
pub(crate) use flags::Flags;
pub(crate) use handshake::HandshakeFailure;

use ir::{Abort, Lacking};
use upstream::{ConnectError, NoEndpoint};
use wire::h1::HeadError;

/// The detail of a response that a backend sent.
pub(crate) const VIA_UPSTREAM: &str = "via_upstream";

/// Whether the gateway's own answers tell their flags and detail in `x-moongate-reason`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReasonHeader {
    /// Never: clients learn what the status says.
    #[default]
    Off,
    /// Where the request has the header, whatever it says.
    OnRequest,
    /// Always.
    Always,
}

/// Why the gateway rejects a request.
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
    /// The TLS that the destination demands cannot be had, and nothing is sent without it (DR-44, DR-46).
    UpstreamTlsUnavailable,
    /// The credential that requests to the destination get cannot be had, and nothing is sent without it.
    UpstreamCredentialUnavailable,
    /// The response to TRACE would show the client the credential of the destination.
    TraceWithCredential,
    /// No connection could be made.
    Connect { timeout: bool },
    /// The destination has as many connections, or requests, as it may have (DR-20, DR-21).
    Overflow,
    /// The backend closed before it answered.
    UpstreamClosed,
    /// The backend's answer is malformed.
    UpstreamProtocol,
    /// The head of the backend's answer took too long.
    ResponseHeadTimeout,
    /// The route's time is over.
    Timeout,
    /// The time of the last attempt is over.
    TryTimeout,
    /// The client's head took too long.
    HeadTimeout,
    /// The client's body does not come.
    BodyTimeout,
    /// The request does not come as a whole in its time (PC-04).
    RequestTimeout,
    /// Nothing has happened for too long, and it is not the client that is waited for (S-121).
    StreamIdle,
    /// The client's body is malformed.
    ClientBody,
    /// The client's body is larger than what a service for authorization checks (AP-13).
    BodyTooLarge,
    /// The gateway holds as many octets of bodies as it may.
    BodyBudget,
    /// The client's body is to be base64, and is not (S-119).
    NotBase64,
    /// The policies of the workload do not allow it (AP-03).
    Denied,
    /// The route says so (VS-44).
    Fault(Abort),
}

/// What is reported for a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    /// Envoy's detail of the status.
    pub(crate) detail: &'static str,
    /// The body, for people (S-126); empty where Istio's is.
    pub(crate) body: &'static str,
    /// The body where the request was sent again (VS-40).
    pub(crate) retried: &'static str,
}

const fn row(status: u16, flags: Flags, detail: &'static str, body: &'static str) -> Reason {
    Reason { status, flags, detail, body, retried: body }
}

macro_rules! reset {
    ($detail:literal, $words:literal) => {
        (
            concat!("upstream_reset_before_response_started{", $detail, "}"),
            concat!("upstream connect error or disconnect/reset before headers. reset reason: ", $words),
            concat!(
                "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ",
                $words
            ),
        )
    };
}

impl Reject {
    /// The table of causes.
    #[rustfmt::skip]
    pub(crate) fn reason(self) -> Reason {
        let reset = |status, flags, (detail, body, retried)| Reason { status, flags, detail, body, retried };
        match self {
            // Envoy's connection manager refuses these, not its codec, which would add words.
            Self::Head(error @ (HeadError::Http10 | HeadError::Host)) => row(error.status(), Flags::DPE, error.detail(), ""),
            Self::Head(error) => row(error.status(), Flags::DPE, error.detail(), wire::h1::write::reason(error.status())),
            Self::Refused(refusal @ routing::Refusal::Connect) => row(refusal.status(), Flags::NR, refusal.detail(), ""),
            Self::Refused(refusal) => row(refusal.status(), Flags::NONE, refusal.detail(), refusal.body()),
            Self::NoRoute => row(404, Flags::NR, "route_not_found", ""),
            Self::Misdirected => row(421, Flags::NR, "misdirected_request", "misdirected request: ask for this host over a connection of its own"),
            Self::NoCluster => row(503, Flags::NC, "cluster_not_found", ""),
            Self::NoEndpoint => row(503, Flags::UH, "no_healthy_upstream", "no healthy upstream"),
            Self::UpstreamTlsUnavailable => row(503, Flags::UF, "upstream_tls_unavailable", "upstream TLS is not available"),
            Self::UpstreamCredentialUnavailable => row(503, Flags::UF, "upstream_credential_unavailable", "the credential for the destination is not available"),
            Self::TraceWithCredential => row(405, Flags::NONE, "trace_with_credential", "TRACE is not sent to a destination with a credential of the gateway: the response would show it"),
            Self::Connect { timeout: false } => reset(503, Flags::UF, reset!("remote_connection_failure", "remote connection failure")),
            Self::Connect { timeout: true } => reset(503, Flags::UF, reset!("connection_timeout", "connection timeout")),
            Self::Overflow => reset(503, Flags::UO, reset!("overflow", "overflow")),
            Self::UpstreamClosed => reset(503, Flags::UC, reset!("connection_termination", "connection termination")),
            Self::UpstreamProtocol => reset(502, Flags::UPE, reset!("protocol_error", "protocol error")),
            Self::ResponseHeadTimeout => row(504, Flags::UT, "upstream_response_header_timeout", "upstream response header timeout"),
            Self::Timeout => row(504, Flags::UT, "response_timeout", "upstream request timeout"),
            Self::TryTimeout => row(504, Flags::UT, "upstream_per_try_timeout", "upstream request timeout"),
            Self::HeadTimeout => row(408, Flags::DPE, "request_header_timeout", "request header timeout"),
            Self::BodyTimeout => row(408, Flags::SI, "stream_idle_timeout", "stream timeout"),
            Self::RequestTimeout => row(408, Flags::NONE, "request_overall_timeout", "request timeout"),
            Self::StreamIdle => row(504, Flags::SI, "stream_idle_timeout", "stream timeout"),
            Self::ClientBody => row(400, Flags::DPE, "http1.codec_error", "Bad Request"),
            Self::BodyTooLarge => row(413, Flags::NONE, "request_payload_too_large", "Payload Too Large"),
            Self::BodyBudget => row(503, Flags::NONE, "request_body_budget_exceeded", "too many request bodies wait for a decision"),
            Self::NotBase64 => row(400, Flags::NONE, "grpc_base_64_decode_failed", "a body of application/grpc-web-text has to be base64"),
            Self::Denied => row(403, Flags::NONE, "rbac_access_denied", "RBAC: access denied"),
            Self::Fault(Abort::Http(status)) => row(status, Flags::FI, "fault_filter_abort", "fault filter abort"),
            Self::Fault(Abort::Grpc(status)) => row(wire::grpc::http_status_of(status), Flags::FI, "fault_filter_abort", "fault filter abort"),
        }
    }

    /// Whether it denies what was asked for: a policy, the route table or the forward proxy does not allow it.
    pub(crate) fn is_denial(self) -> bool {
        match self {
            Self::Denied | Self::NoRoute | Self::Misdirected | Self::TraceWithCredential => true,
            Self::Refused(refusal) => refusal.is_denial() || refusal == routing::Refusal::Connect,
            _ => false,
        }
    }

    /// gRPC's status (S-119).
    pub(crate) fn grpc_status(self) -> u8 {
        match self {
            Self::ResponseHeadTimeout | Self::Timeout | Self::TryTimeout => wire::grpc::DEADLINE_EXCEEDED,
            Self::Fault(Abort::Grpc(status)) => status,
            _ => wire::grpc::status_of(self.reason().status),
        }
    }

    /// Whether the connection has to be closed: the rest of the body does not arrive, or the request is one that no valid client sends.
    pub(crate) fn ends_connection(self) -> bool {
        match self {
            Self::ClientBody | Self::BodyTimeout | Self::RequestTimeout => true,
            Self::Refused(refusal) => refusal.status() == 400,
            _ => false,
        }
    }
}

impl From<&NoEndpoint> for Reject {
    fn from(none: &NoEndpoint) -> Self {
        match none {
            NoEndpoint::Withheld(Lacking::Tls, _) => Self::UpstreamTlsUnavailable,
            NoEndpoint::Withheld(Lacking::Credential, _) => Self::UpstreamCredentialUnavailable,
            NoEndpoint::Empty | NoEndpoint::Unresolved | NoEndpoint::TableNotReady | NoEndpoint::Never(_) => {
                Self::NoEndpoint
            }
        }
    }
}

impl From<&ConnectError> for Reject {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Overflow => Self::Overflow,
            error => Self::Connect { timeout: matches!(error, ConnectError::Timeout | ConnectError::Busy) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_istios_status_flag_and_detail() {
        let told = |reject: Reject| {
            let Reason { status, flags, detail, .. } = reject.reason();
            (status, flags.to_string(), detail)
        };
        assert_eq!(told(Reject::NoRoute), (404, "NR".into(), "route_not_found"));
        assert_eq!(told(Reject::NoCluster), (503, "NC".into(), "cluster_not_found"));
        assert_eq!(told(Reject::NoEndpoint), (503, "UH".into(), "no_healthy_upstream"));
        assert_eq!(told(Reject::Timeout), (504, "UT".into(), "response_timeout"));
        assert_eq!(told(Reject::UpstreamTlsUnavailable), (503, "UF".into(), "upstream_tls_unavailable"));
        let detail = "upstream_reset_before_response_started{overflow}";
        assert_eq!(told(Reject::Overflow), (503, "UO".into(), detail));
        let (status, flags, detail) = told(Reject::UpstreamClosed);
        assert_eq!((status, flags.as_str()), (503, "UC"));
        assert_eq!(detail, "upstream_reset_before_response_started{connection_termination}");
    }
}
