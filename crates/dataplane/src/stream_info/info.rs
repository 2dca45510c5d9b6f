//! What is known of a stream while it lasts.

use super::facts::OutcomeFacts;
use super::policies::{CheckResult, PolicyResult};
use crate::reasons::Flags;
use http::HeaderMap;
use ir::FieldName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use upstream::{EndpointState, Resolution};

/// What is known of a stream.
#[derive(Debug)]
pub(crate) struct StreamInfo {
    pub(crate) started: Instant,
    /// The start of deadlines that count from the head.
    pub(crate) counted: Instant,
    /// The start of the route's timeout (VS-39): the end of the request, or the start of the exchange before that.
    pub(crate) timeout_start: Instant,
    /// When the end of the request was received.
    pub(crate) request_end: Option<Instant>,
    /// When the head of the endpoint's response was received.
    pub(crate) response_begin: Option<Instant>,
    /// The status that the client received; 0 without a response.
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    /// Envoy's detail of the status; empty for none.
    pub(crate) detail: &'static str,
    /// Whether what was asked for was denied; otherwise it was served, or failed.
    pub(crate) is_denied: bool,
    /// Which policy denied it, in place of the detail.
    pub(crate) denied: Option<Box<str>>,
    /// The object that decided, where neither a policy nor a route did.
    pub(crate) rule: Option<Box<str>>,
    /// What the policies of the workload decided, if there are any, and what the service for external authorization decided, if it was asked.
    pub(crate) policies: Option<PolicyResult>,
    pub(crate) check: Option<CheckResult>,
    /// What DNS answered for the name that the client asked for, where the gateway resolved it.
    pub(crate) resolution: Option<Arc<Resolution>>,
    /// When the credential of the destination was there, where that was waited for.
    pub(crate) credential_at: Option<Instant>,
    /// Why there is no connection to the endpoint; empty for none.
    pub(crate) transport_failure: String,
    /// How often an endpoint was chosen.
    pub(crate) attempts: u32,
    /// Whether the route's policy retried it.
    pub(crate) retried: bool,
    /// The endpoint of the last attempt, and the gateway's address towards it where a sink uses it.
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Whether the client has received a part of a response.
    pub(crate) answered: bool,
    /// Octets of bodies, or of a connection: received from the client, and sent to it.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// What the access log states of the response.
    pub(crate) response: LoggedResponse,
}

/// What the access log states of a response, as far as its format uses it.
#[derive(Debug, Default)]
pub(crate) struct LoggedResponse {
    /// Headers, as the client received them.
    pub(crate) headers: Vec<(FieldName, Vec<u8>)>,
    /// The octets of the names and values of the head.
    pub(crate) head_bytes: u64,
    /// The endpoint's trailers.
    pub(crate) trailers: Option<Box<HeaderMap>>,
}

impl StreamInfo {
    /// A stream that starts now.
    pub(crate) fn new() -> Self {
        Self::since(Instant::now())
    }

    /// A stream that started before.
    pub(crate) fn since(started: Instant) -> Self {
        Self {
            started,
            counted: started,
            timeout_start: started,
            request_end: None,
            response_begin: None,
            status: 0,
            flags: Flags::NONE,
            detail: "",
            is_denied: false,
            denied: None,
            rule: None,
            resolution: None,
            policies: None,
            check: None,
            credential_at: None,
            transport_failure: String::new(),
            attempts: 0,
            retried: false,
            endpoint: None,
            upstream_local: None,
            answered: false,
            received: 0,
            sent: 0,
            response: LoggedResponse::default(),
        }
    }

    /// Begins an attempt at an endpoint.
    pub(crate) fn begin_attempt(&mut self, endpoint: &Arc<EndpointState>) {
        self.endpoint = Some(Arc::clone(endpoint));
        self.attempts += 1;
        self.transport_failure.clear();
    }

    /// The endpoint that the attempt is connected to, which may be another address of the destination than the one that was chosen.
    pub(crate) fn set_endpoint(&mut self, endpoint: &Arc<EndpointState>) {
        if self.endpoint.as_ref().is_some_and(|chosen| chosen.id != endpoint.id) {
            self.endpoint = Some(Arc::clone(endpoint));
        }
    }

    /// The facts of the outcome; `upstream_local` is a function, because it may cost a system call.
    pub(crate) fn outcome<'a>(&'a self, upstream_local: &'a dyn Fn() -> Option<SocketAddr>) -> OutcomeFacts<'a> {
        OutcomeFacts {
            started: self.started,
            flags: self.flags,
            // A connection has no status; its denial is logged separately.
            detail: self.denied.as_deref().filter(|_| self.status != 0).unwrap_or(self.detail),
            transport_failure: &self.transport_failure,
            upstream: self.endpoint.as_ref().and_then(|endpoint| endpoint.address.ip()),
            upstream_local,
        }
    }
}

impl LoggedResponse {
    /// The first value of a trailer.
    pub(crate) fn trailer(&self, name: &FieldName) -> Option<&[u8]> {
        let FieldName::Header(name) = name else { return None };
        Some(self.trailers.as_ref()?.get(name.as_str())?.as_bytes())
    }

    /// The octets of the names and values of the trailers.
    pub(crate) fn trailer_bytes(&self) -> u64 {
        let trailers = self.trailers.iter().flat_map(|trailers| trailers.iter());
        trailers.map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
    }
}
