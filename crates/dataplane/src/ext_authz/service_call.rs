//! A request of the gateway's own to a service of the configuration, over the pools of the worker: it is sent whole, and its response is read
//! whole within a bound.

use crate::codec::{Destination, OpenError, OwnHead, OwnResponse, ReceiveError, Trailers, Upstream};
use crate::conn::{Worker, choose};
use crate::credentials::CredentialUnavailable;
use http::HeaderMap;
use ir::UpstreamProtocol;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use upstream::{ClusterState, ConnectContext, ConnectError, Outcome, PickContext, PickedEndpoint};
use wire::edit::Edits;
use wire::h1::{BodyReader, HeadLimits, RequestParts, ResponseHead, write_request};
use wire::view::{Field, Fields, Span};

/// The largest body of a response, in octets.
pub(super) const MAX_RESPONSE: usize = 1 << 20;

/// A request. The framing of the head is that of the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceRequest<'a, 'h> {
    /// The head.
    pub(super) parts: &'a RequestParts<'h>,
    /// The header lines.
    pub(super) edits: &'a Edits<'h>,
    /// The body.
    pub(super) body: &'a [u8],
    /// The name of the service, which TLS asks for if its settings have none.
    pub(super) host: &'a str,
    /// Whether it needs HTTP/2.
    pub(super) is_grpc: bool,
}

/// A response.
#[derive(Debug, Default)]
pub(super) struct ServiceResponse {
    /// The status.
    pub(super) status: u16,
    head: Vec<u8>,
    index: Vec<Field>,
    /// The body.
    pub(super) body: Vec<u8>,
    /// The trailers, in HTTP/2.
    pub(super) trailers: Option<Box<HeaderMap>>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The time was over.
    #[error("timeout")]
    Timeout,
    /// The configuration has no such cluster now, or it has no endpoint.
    #[error("no endpoint")]
    NoEndpoint,
    /// No connection could be made.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The cluster has as many requests as it may have (DR-21).
    #[error("overflow")]
    Overflow,
    /// The cluster speaks HTTP/1, and the request is gRPC.
    #[error("the port of the service does not speak HTTP/2")]
    NotHttp2,
    /// The credential for the service cannot be had.
    #[error("the credential for the service is not available: {0}")]
    Credential(#[from] CredentialUnavailable),
    /// The service did not begin with the request: an idle connection turned out to be closed, or the stream was refused.
    #[error("the service closed before the end of its response")]
    Stale,
    /// The service closed or reset before the end of its response.
    #[error("the service closed before the end of its response")]
    Closed,
    /// The response is malformed.
    #[error("malformed response")]
    Malformed,
    /// The response is larger than [`MAX_RESPONSE`].
    #[error("the response is too large")]
    TooLarge,
}

impl From<OpenError> for CallError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connect(error) => Self::Connect(error),
            // Nothing was sent.
            OpenError::Stream(_) => Self::Stale,
        }
    }
}

impl From<ReceiveError> for CallError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Unprocessed => Self::Stale,
            ReceiveError::Closed | ReceiveError::Incomplete | ReceiveError::TimedOut => Self::Closed,
            ReceiveError::Malformed | ReceiveError::MalformedTrailers => Self::Malformed,
        }
    }
}

impl ServiceResponse {
    /// The header lines.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.index)
    }

    /// Receives it to its end.
    fn poll(
        &mut self,
        receiving: &mut OwnResponse,
        up: &mut Upstream,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        ready!(receiving.poll_head(up, limits, |head, octets| self.set_head(head, octets), context))?;
        loop {
            let piece = ready!(receiving.poll_piece(up, limits, context))?;
            self.put(piece.data(&receiving.input))?;
            piece.consume(&mut receiving.input);
            if piece.is_last {
                if let Trailers::Map(trailers) = piece.into_trailers(&BodyReader::Done) {
                    self.trailers = Some(trailers);
                }
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn set_head(&mut self, head: &ResponseHead, octets: &[u8]) {
        self.status = head.status;
        for (name, value) in head.fields(octets).iter() {
            let mut put = |octets: &[u8]| {
                let start = self.head.len() as u32;
                self.head.extend_from_slice(octets);
                Span { start, end: self.head.len() as u32 }
            };
            self.index.push(Field { name: put(name), value: put(value) });
        }
    }

    fn put(&mut self, data: &[u8]) -> Result<(), CallError> {
        if self.body.len() + data.len() > MAX_RESPONSE {
            return Err(CallError::TooLarge);
        }
        self.body.extend_from_slice(data);
        Ok(())
    }
}

/// Sends a request, and reads its response within `limit`, connecting included. Dropping the future cancels the request.
pub(super) async fn call(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    request: ServiceRequest<'_, '_>,
    limit: Duration,
) -> Result<ServiceResponse, CallError> {
    tokio::time::timeout(limit, send(worker, cluster, request)).await.unwrap_or(Err(CallError::Timeout))
}

/// Sends a request, once more if it turned out that the service did not begin with it.
async fn send(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    request: ServiceRequest<'_, '_>,
) -> Result<ServiceResponse, CallError> {
    let picked = choose(worker, cluster, PickContext::default()).await;
    let PickedEndpoint { endpoint, in_flight: _in_flight } = picked.map_err(|_| CallError::NoEndpoint)?;
    let sender = ConnectContext { host: Some(request.host), ends: None };
    let limit = cluster.config.timeouts.connect;
    let destination = Destination { worker, cluster, endpoint: &endpoint, sender, limit };
    worker.credentials.wait(cluster).await?;
    let head = worker
        .credentials
        .inject(cluster, request.parts.fields, request.edits, |edits| request.head(cluster, edits))??;
    let mut may_use_idle = true;
    loop {
        match exchange(destination, &request, head.clone(), may_use_idle).await {
            Ok(response) => {
                worker.report(cluster, &endpoint, Outcome::Answered(response.status));
                return Ok(response);
            }
            Err(CallError::Stale) if may_use_idle => may_use_idle = false,
            Err(error) => {
                let is_of_endpoint = match &error {
                    CallError::Connect(error) => !error.is_own(),
                    CallError::Closed | CallError::Malformed => true,
                    _ => false,
                };
                if is_of_endpoint {
                    worker.report(cluster, &endpoint, Outcome::Disconnected);
                }
                return Err(error);
            }
        }
    }
}

impl ServiceRequest<'_, '_> {
    /// Its head, in the version that the cluster speaks.
    fn head(&self, cluster: &ClusterState, edits: &Edits<'_>) -> Result<OwnHead, CallError> {
        let is_http2 = matches!(cluster.config.protocol, UpstreamProtocol::Http2 { .. });
        if is_http2 {
            let head = wire::h2::request(self.parts, edits, cluster.config.tls.is_some());
            return head.map(OwnHead::Frame).ok_or(CallError::Malformed);
        }
        if self.is_grpc {
            return Err(CallError::NotHttp2);
        }
        let mut lines = Vec::with_capacity(1024 + self.body.len());
        write_request(&mut lines, self.parts, edits);
        Ok(OwnHead::Lines(lines))
    }
}

/// One exchange: both directions are polled together, since a service may respond before it has read everything.
async fn exchange(
    destination: Destination<'_>,
    request: &ServiceRequest<'_, '_>,
    head: OwnHead,
    may_use_idle: bool,
) -> Result<ServiceResponse, CallError> {
    let worker = destination.worker;
    let mut up = destination.open(&head, request.body.is_empty(), may_use_idle).await?;
    let _counted = destination.cluster.begin_request().ok_or(CallError::Overflow)?;
    let mut out = head.into_lines();
    let mut send = up.send_buffer(&mut out, None, false);
    send.push(request.body);
    send.end(Trailers::None);
    let mut receiving = OwnResponse::new(request.parts.kind(), worker.buffer());
    let mut response = ServiceResponse::default();
    let received = poll_fn(|context| {
        // That the service takes no more of the request is no failure, if it responds.
        let _ = up.poll_send(&mut send, &mut receiving.input, context);
        response.poll(&mut receiving, &mut up, &worker.limits.head, context)
    });
    match received.await {
        Ok(()) => {}
        Err(CallError::Closed) if up.is_reused() && !up.is_multiplexed() && !receiving.has_begun() => {
            return Err(CallError::Stale);
        }
        Err(error) => return Err(error),
    }
    if let Some(connection) = receiving.reusable(up, &send) {
        worker.pool.borrow_mut().put(connection, Instant::now());
    }
    Ok(response)
}
