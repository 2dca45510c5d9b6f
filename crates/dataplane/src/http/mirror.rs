//! Mirroring (VS-45): copies of requests whose responses are read and dropped. Each mirror request is a task of its own. The original request
//! hands it the head at once and the body as it arrives, and never waits for it.

use super::body_queue::{BodyQueue, MirrorSinks, QueueItem};
use crate::codec::{H2Upstream, Piece, Receiver, UpstreamStream, chunks::end_chunks, read};
use crate::conn::{Buffer, Worker, choose};
use crate::limits::INTERIM_RESPONSES;
use crate::metrics::add;
use http::{HeaderMap, Request};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use upstream::{ClusterState, ConnectContext, ConnectError, ConnectTimeouts, Connection, Outcome, PickContext};
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, ChunkWriter, ResponseHead};
use wire::proxy_protocol::Ends;

/// A request to a mirror.
#[derive(Debug)]
pub(super) struct MirrorRequest {
    pub(super) cluster: Arc<ClusterState>,
    pub(super) head: MirrorHead,
    /// The host of the request, if connections to the cluster differ by host.
    pub(super) host: Option<Box<str>>,
    /// The addresses of the client's connection, if the backend gets a PROXY header (DR-51).
    pub(super) ends: Option<Ends>,
    pub(super) request_kind: RequestKind,
    /// How the body is sent.
    pub(super) body: MirrorBody,
    /// The timeout of the route.
    pub(super) timeout: Option<Duration>,
}

/// A head in the version that the backend speaks.
#[derive(Debug, Clone)]
pub(super) enum MirrorHead {
    Http1(Vec<u8>),
    Http2(Request<()>),
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MirrorBody {
    None,
    Length,
    Chunked,
}

/// A mirror request got no response.
struct MirrorFailed;

/// A slot within the worker's limit on mirror requests.
struct MirrorPermit<'a>(&'a Worker);

impl Drop for MirrorPermit<'_> {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get() - 1);
    }
}

/// Starts mirror requests within the worker's limit; the caller pushes the body into the returned sinks.
pub(super) fn start(worker: &Rc<Worker>, requests: Vec<MirrorRequest>) -> MirrorSinks {
    let mut sinks = MirrorSinks::default();
    for request in requests {
        if worker.mirrors.get() >= worker.limits.mirrors {
            add(&worker.metrics.mirrors_dropped);
            continue;
        }
        worker.mirrors.set(worker.mirrors.get() + 1);
        let queue = BodyQueue::new(worker.limits.mirror_bytes, &worker.mirror_bytes, worker.limits.mirror_bytes_of_all);
        sinks.add(Rc::clone(&queue));
        tokio::task::spawn_local(run(Rc::clone(worker), request, queue));
    }
    sinks
}

async fn run(worker: Rc<Worker>, request: MirrorRequest, queue: Rc<BodyQueue>) {
    let _permit = MirrorPermit(&worker);
    let limit = request.timeout.unwrap_or(worker.limits.mirror_timeout);
    let sent = tokio::time::timeout(limit, send(&worker, &request, &queue)).await;
    queue.close();
    add(if matches!(sent, Ok(Ok(()))) { &worker.metrics.mirrored } else { &worker.metrics.mirrors_failed });
}

/// Sends a mirror request; once more if an idle connection turned out to be closed.
async fn send(worker: &Worker, request: &MirrorRequest, queue: &BodyQueue) -> Result<(), MirrorFailed> {
    let (endpoint, _in_flight) =
        choose(worker, &request.cluster, PickContext::default()).await.map_err(|_| MirrorFailed)?;
    let limit = request.cluster.config.timeouts.connect;
    let failed = |error: &ConnectError| {
        if !error.is_own() {
            worker.report(&request.cluster, &endpoint, Outcome::Disconnected);
        }
        MirrorFailed
    };
    let mut trusting = true;
    loop {
        let sender = ConnectContext { host: request.host.as_deref(), ends: request.ends.as_ref() };
        let up = match &request.head {
            MirrorHead::Http1(_) => {
                let timeouts = ConnectTimeouts { idle: trusting, wait: None, connect: || limit };
                let found = upstream::h1_connection(&worker.pool, &request.cluster, &endpoint, sender, timeouts).await;
                UpstreamStream::H1(found.map_err(|error| failed(&error))?)
            }
            MirrorHead::Http2(head) => {
                let stream = upstream::h2_stream(&worker.streams, &request.cluster, &endpoint, sender, limit).await;
                let stream = stream.map_err(|error| failed(&error))?;
                let opened = H2Upstream::open(stream, head.clone(), request.body == MirrorBody::None);
                UpstreamStream::H2(Box::new(opened.map_err(|_| MirrorFailed)?))
            }
        };
        let _counted = request.cluster.begin_request().ok_or(MirrorFailed)?;
        let stale = up.is_reused() && matches!(up, UpstreamStream::H1(_)) && request.body == MirrorBody::None;
        let mut exchange = MirrorExchange::new(worker, request, queue, up);
        match poll_fn(|context| exchange.poll(context)).await {
            Ok(()) => {
                worker.report(&request.cluster, &endpoint, Outcome::Answered(exchange.head.status));
                if let Some(connection) = exchange.reusable_connection() {
                    worker.pool.borrow_mut().put(connection, Instant::now());
                }
                return Ok(());
            }
            Err(MirrorFailed) if stale && trusting && !exchange.is_answered() => trusting = false,
            Err(MirrorFailed) => {
                worker.report(&request.cluster, &endpoint, Outcome::Disconnected);
                return Err(MirrorFailed);
            }
        }
    }
}

/// A mirror request in progress.
struct MirrorExchange<'a> {
    worker: &'a Worker,
    request: &'a MirrorRequest,
    queue: &'a BodyQueue,
    up: UpstreamStream,
    out: Vec<u8>,
    written: usize,
    /// Whether TLS may still buffer written octets.
    unflushed: bool,
    /// Whether all of the body is in `out`, and its trailers for an HTTP/2 stream.
    complete: bool,
    trailers: Option<HeaderMap>,
    /// Whether the HTTP/2 stream still has to be ended.
    end_due: bool,
    input: Buffer,
    head: ResponseHead,
    /// Interim responses so far.
    interim: u32,
    /// Set once the head of the response was received.
    body: Option<BodyReader>,
}

impl<'a> MirrorExchange<'a> {
    fn new(worker: &'a Worker, request: &'a MirrorRequest, queue: &'a BodyQueue, up: UpstreamStream) -> Self {
        let out = match &request.head {
            MirrorHead::Http1(head) => head.clone(),
            MirrorHead::Http2(_) => Vec::new(),
        };
        let complete = request.body == MirrorBody::None;
        Self {
            worker,
            request,
            queue,
            out,
            written: 0,
            unflushed: false,
            complete,
            trailers: None,
            end_due: !complete && matches!(up, UpstreamStream::H2(_)),
            up,
            input: worker.buffer(),
            head: ResponseHead::default(),
            interim: 0,
            body: None,
        }
    }

    /// Ready when the response is complete, whatever its status.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        // A response counts even if the backend accepts no further octets.
        let sending = self.poll_send(context);
        let answered = match self.up {
            UpstreamStream::H1(_) => self.poll_response(context),
            UpstreamStream::H2(_) => self.poll_stream(context),
        };
        match (answered, sending) {
            (Poll::Ready(answered), _) => Poll::Ready(answered),
            (Poll::Pending, Poll::Ready(Err(MirrorFailed))) => Poll::Ready(Err(MirrorFailed)),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        loop {
            ready!(self.poll_flush(context))?;
            if self.complete {
                return Poll::Ready(Ok(()));
            }
            self.out.clear();
            self.written = 0;
            let chunked = self.request.body == MirrorBody::Chunked && matches!(self.up, UpstreamStream::H1(_));
            match ready!(self.queue.poll_next(context)) {
                QueueItem::Data(data) if chunked => ChunkWriter::data(&mut self.out, &data),
                QueueItem::Data(data) => self.out.extend_from_slice(&data),
                QueueItem::End(trailers) => {
                    self.complete = true;
                    if chunked {
                        end_chunks(&mut self.out, trailers.as_ref());
                    }
                    self.trailers = trailers;
                }
                QueueItem::Broken => return Poll::Ready(Err(MirrorFailed)),
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = match &mut self.up {
                UpstreamStream::H1(connection) => ready!(connection.stream.poll_write(context, rest)),
                UpstreamStream::H2(stream) => ready!(stream.sender.poll_send(rest, false, context)),
            };
            self.written += count.ok().filter(|count| *count > 0).ok_or(MirrorFailed)?;
            self.unflushed = true;
        }
        match &mut self.up {
            UpstreamStream::H1(connection) if self.unflushed => {
                ready!(connection.stream.poll_flush(context)).map_err(|_| MirrorFailed)?;
                self.unflushed = false;
            }
            UpstreamStream::H2(stream) if self.complete && self.end_due => {
                self.end_due = false;
                stream.sender.end(self.trailers.take()).map_err(|_| MirrorFailed)?;
            }
            UpstreamStream::H1(_) | UpstreamStream::H2(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        let UpstreamStream::H1(connection) = &mut self.up else { return Poll::Ready(Err(MirrorFailed)) };
        loop {
            let (moved, done) = match &mut self.body {
                Some(body) => {
                    let step = body.decode(self.input.filled()).map_err(|_| MirrorFailed)?;
                    self.input.consume(step.consumed);
                    (step.consumed > 0, step.done)
                }
                None => {
                    let limits = &self.worker.limits.head;
                    let length = self
                        .head
                        .parse(self.input.filled(), self.request.request_kind, limits)
                        .map_err(|_| MirrorFailed)?;
                    self.input.consume(length.unwrap_or(0));
                    if length.is_some() && !self.head.is_informational() {
                        self.body = Some(BodyReader::new(self.head.body));
                    } else if length.is_some() {
                        self.interim += 1;
                        if self.interim > INTERIM_RESPONSES {
                            return Poll::Ready(Err(MirrorFailed));
                        }
                    }
                    (length.is_some(), false)
                }
            };
            if done {
                return Poll::Ready(Ok(()));
            }
            if moved {
                continue;
            }
            if self.input.is_full() {
                self.input.grow();
                if self.input.is_full() {
                    return Poll::Ready(Err(MirrorFailed));
                }
            }
            match ready!(read(&mut connection.stream, &mut self.input, context)) {
                Ok(0) if matches!(self.body, Some(BodyReader::UntilClose)) => return Poll::Ready(Ok(())),
                Ok(0) | Err(_) => return Poll::Ready(Err(MirrorFailed)),
                Ok(_) => {}
            }
        }
    }

    fn poll_stream(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        let UpstreamStream::H2(up) = &mut self.up else { return Poll::Ready(Err(MirrorFailed)) };
        if self.body.is_none() {
            let answer = ready!(Pin::new(&mut up.response).poll(context)).map_err(|_| MirrorFailed)?;
            self.head.status = answer.status().as_u16();
            up.receiver = Receiver::new(answer.into_body());
            self.body = Some(BodyReader::UntilClose);
        }
        loop {
            match ready!(up.receiver.poll_piece(context)) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::End(_)) => return Poll::Ready(Ok(())),
                Err(_) => return Poll::Ready(Err(MirrorFailed)),
            }
        }
    }

    /// Whether any part of a response was received.
    fn is_answered(&self) -> bool {
        self.body.is_some() || !self.input.is_empty()
    }

    /// The connection, if it is reusable.
    fn reusable_connection(self) -> Option<Connection> {
        let sent = self.complete && self.written >= self.out.len() && !self.unflushed;
        match self.up {
            UpstreamStream::H1(connection) => {
                Some(connection).filter(|_| sent && self.head.keep_alive && self.input.is_empty())
            }
            UpstreamStream::H2(_) => None,
        }
    }
}
