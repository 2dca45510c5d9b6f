//! A request of the gateway's own to a service of the configuration, over the pools of the worker: it is sent whole, and its response is read
//! whole within a bound.

use crate::codec::read;
use crate::conn::{Worker, choose};
use crate::limits::INTERIM_RESPONSES;
use bytes::Bytes;
use http::{HeaderMap, Request};
use ir::UpstreamProtocol;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{
    ClusterState, ConnectContext, ConnectError, ConnectTimeouts, Connection, EndpointState, H2Stream, Outcome,
    PickContext, is_unprocessed,
};
use wire::edit::Edits;
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, RequestParts, ResponseHead, write_request};
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
    pub(super) trailers: Option<HeaderMap>,
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

/// Whether the request may be sent again: a connection that was idle turned out to be closed, or the service did not begin with it.
enum Failed {
    Stale,
    Final(CallError),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Final(error)
    }
}

impl ServiceResponse {
    /// The header lines.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.index)
    }

    fn set_head<'a>(&mut self, status: u16, lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.status = status;
        for (name, value) in lines {
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

async fn send(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    request: ServiceRequest<'_, '_>,
) -> Result<ServiceResponse, CallError> {
    let http2 = matches!(cluster.config.protocol, UpstreamProtocol::Http2 { .. });
    if request.is_grpc && !http2 {
        return Err(CallError::NotHttp2);
    }
    let picked = choose(worker, cluster, PickContext::default()).await;
    let (endpoint, _in_flight) = picked.map_err(|_| CallError::NoEndpoint)?;
    let mut may_reuse = true;
    loop {
        let sent = match http2 {
            true => over_http2(worker, cluster, &endpoint, request).await,
            false => over_http1(worker, cluster, &endpoint, request, may_reuse).await,
        };
        match sent {
            Ok(response) => {
                worker.report(cluster, &endpoint, Outcome::Answered(response.status));
                return Ok(response);
            }
            Err(Failed::Stale) if may_reuse => may_reuse = false,
            Err(Failed::Stale) => return Err(CallError::Closed),
            Err(Failed::Final(error)) => {
                let is_own = match &error {
                    CallError::Connect(error) => error.is_own(),
                    CallError::Closed | CallError::Malformed => false,
                    _ => true,
                };
                if !is_own {
                    worker.report(cluster, &endpoint, Outcome::Disconnected);
                }
                return Err(error);
            }
        }
    }
}

async fn over_http1(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    endpoint: &Arc<EndpointState>,
    request: ServiceRequest<'_, '_>,
    may_reuse: bool,
) -> Result<ServiceResponse, Failed> {
    let sender = ConnectContext { host: Some(request.host), ends: None };
    let connect = || cluster.config.timeouts.connect;
    let timeouts = ConnectTimeouts { idle: may_reuse, wait: None, connect };
    let found = upstream::h1_connection(&worker.pool, cluster, endpoint, sender, timeouts).await;
    let mut connection = found.map_err(CallError::from)?;
    let _counted = cluster.begin_request().ok_or(CallError::Overflow)?;
    let mut out = Vec::with_capacity(1024 + request.body.len());
    write_request(&mut out, request.parts, request.edits);
    out.extend_from_slice(request.body);
    // A service may respond before it has read everything.
    let is_sent = write(&mut connection, &out).await;
    let is_head = request.parts.method == b"HEAD";
    let (response, may_reuse) = read_response(worker, &mut connection, is_head).await?;
    if is_sent && may_reuse {
        worker.pool.borrow_mut().put(connection, Instant::now());
    }
    Ok(response)
}

async fn write(connection: &mut Connection, bytes: &[u8]) -> bool {
    let mut written = 0;
    poll_fn(|context| {
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match std::task::ready!(connection.stream.poll_write(context, rest)) {
                Ok(count) if count > 0 => written += count,
                Ok(_) | Err(_) => return std::task::Poll::Ready(false),
            }
        }
        connection.stream.poll_flush(context).map(|flushed| flushed.is_ok())
    })
    .await
}

/// The response, and whether the connection can be used again.
async fn read_response(
    worker: &Worker,
    connection: &mut Connection,
    is_head: bool,
) -> Result<(ServiceResponse, bool), Failed> {
    let kind = if is_head { RequestKind::Head } else { RequestKind::Other };
    let mut response = ServiceResponse::default();
    let (mut head, mut body, mut interim) = (ResponseHead::default(), None, 0);
    let mut input = worker.buffer();
    let mut is_begun = false;
    loop {
        let (moved, done) = match &mut body {
            None => {
                let parsed = head.parse(input.filled(), kind, &worker.limits.head);
                let length = parsed.map_err(|_| CallError::Malformed)?;
                if let Some(length) = length {
                    if head.is_informational() {
                        interim += 1;
                        if interim > INTERIM_RESPONSES {
                            return Err(CallError::Malformed.into());
                        }
                    } else {
                        response.set_head(head.status, head.fields(input.filled()).iter());
                        body = Some(BodyReader::new(head.body));
                    }
                    input.consume(length);
                }
                (length.is_some(), false)
            }
            Some(reader) => {
                let step = reader.decode(input.filled()).map_err(|_| CallError::Malformed)?;
                response.put(input.filled().get(step.data.clone()).unwrap_or_default())?;
                input.consume(step.consumed);
                (step.consumed > 0, step.done)
            }
        };
        if done {
            return Ok((response, head.keep_alive && input.is_empty()));
        }
        if moved {
            continue;
        }
        if input.is_full() {
            input.grow();
            if input.is_full() {
                return Err(CallError::TooLarge.into());
            }
        }
        match poll_fn(|context| read(&mut connection.stream, &mut input, context)).await {
            Ok(0) if matches!(body, Some(BodyReader::UntilClose)) => return Ok((response, false)),
            Ok(0) | Err(_) if connection.reused && !is_begun => return Err(Failed::Stale),
            Ok(0) | Err(_) => return Err(CallError::Closed.into()),
            Ok(_) => is_begun = true,
        }
    }
}

async fn over_http2(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    endpoint: &Arc<EndpointState>,
    request: ServiceRequest<'_, '_>,
) -> Result<ServiceResponse, Failed> {
    let sender = ConnectContext { host: Some(request.host), ends: None };
    let limit = cluster.config.timeouts.connect;
    let found = upstream::h2_stream(&worker.streams, cluster, endpoint, sender, limit).await;
    let stream = found.map_err(CallError::from)?;
    let _counted = cluster.begin_request().ok_or(CallError::Overflow)?;
    let head = wire::h2::request(request.parts, request.edits, cluster.config.tls.is_some());
    let head = head.ok_or(CallError::Malformed)?;
    on_stream(stream, head, request.body).await.map_err(|error| match error {
        StreamError::H2(error) if is_unprocessed(&error) => Failed::Stale,
        StreamError::H2(_) => CallError::Closed.into(),
        StreamError::Response(error) => error.into(),
    })
}

enum StreamError {
    H2(h2::Error),
    Response(CallError),
}

impl From<h2::Error> for StreamError {
    fn from(error: h2::Error) -> Self {
        Self::H2(error)
    }
}

async fn on_stream(stream: H2Stream, head: Request<()>, body: &[u8]) -> Result<ServiceResponse, StreamError> {
    let H2Stream { mut send, permit: _permit, .. } = stream;
    let (response, mut sender) = send.send_request(head, body.is_empty())?;
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        sender.reserve_capacity(rest.len());
        let room = match poll_fn(|context| sender.poll_capacity(context)).await {
            Some(Ok(room)) => room,
            // A service may respond before it has read everything.
            Some(Err(_)) | None => break,
        };
        let piece = rest.split_to(room.min(rest.len()));
        if sender.send_data(piece.into(), rest.is_empty()).is_err() {
            break;
        }
    }
    let (head, mut receiver) = response.await?.into_parts();
    let mut response = ServiceResponse::default();
    let lines = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    response.set_head(head.status.as_u16(), lines);
    while let Some(data) = receiver.data().await {
        let data = data?;
        response.put(&data).map_err(StreamError::Response)?;
        let _ = receiver.flow_control().release_capacity(data.len());
    }
    response.trailers = receiver.trailers().await?;
    Ok(response)
}
