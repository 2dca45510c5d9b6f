//! Mirroring (VS-45): copies of requests whose responses are read and dropped. Each mirror request is a task of its own. The original request
//! hands it the head at once and the body as it arrives, and never waits for it.

use super::body_queue::{BodyQueue, MirrorSinks, QueueItem};
use crate::codec::{HeadInput, Piece, Received, SendBuffer, Trailers, Upstream};
use crate::conn::{Buffer, Worker, choose};
use crate::limits::INTERIM_RESPONSES;
use crate::metrics::add;
use http::Request;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use upstream::{ClusterState, ConnectContext, ConnectError, ConnectTimeouts, Connection, Outcome, PickContext};
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, ResponseHead, Style};
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
                Upstream::connection(found.map_err(|error| failed(&error))?)
            }
            MirrorHead::Http2(head) => {
                let stream = upstream::h2_stream(&worker.streams, &request.cluster, &endpoint, sender, limit).await;
                let stream = stream.map_err(|error| failed(&error))?;
                let is_bodiless = request.body == MirrorBody::None;
                Upstream::open(stream, head.clone(), is_bodiless).map_err(|_| MirrorFailed)?
            }
        };
        let _counted = request.cluster.begin_request().ok_or(MirrorFailed)?;
        let stale = up.is_reused() && !up.is_multiplexed() && request.body == MirrorBody::None;
        let mut out = match &request.head {
            MirrorHead::Http1(head) => head.clone(),
            MirrorHead::Http2(_) => Vec::new(),
        };
        let mut exchange = MirrorExchange::new(worker, request, queue, up, &mut out);
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
    up: Upstream,
    send: SendBuffer<'a>,
    /// Whether all of the request is in the send buffer.
    is_complete: bool,
    input: Buffer,
    head: ResponseHead,
    /// Interim responses so far.
    interim: u32,
    /// Set once the head of the response was received.
    body: Option<BodyReader>,
}

impl<'a> MirrorExchange<'a> {
    /// `out` has the head of the request, if the backend speaks HTTP/1.
    fn new(
        worker: &'a Worker,
        request: &'a MirrorRequest,
        queue: &'a BodyQueue,
        up: Upstream,
        out: &'a mut Vec<u8>,
    ) -> Self {
        let chunks = (request.body == MirrorBody::Chunked).then(Style::default);
        Self {
            worker,
            request,
            queue,
            send: up.send_buffer(out, chunks, false),
            up,
            is_complete: request.body == MirrorBody::None,
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
        match (self.poll_response(context), sending) {
            (Poll::Ready(answered), _) => Poll::Ready(answered),
            (Poll::Pending, Poll::Ready(Err(MirrorFailed))) => Poll::Ready(Err(MirrorFailed)),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        loop {
            ready!(self.up.poll_send(&mut self.send, &mut self.input, context)).map_err(|_| MirrorFailed)?;
            if self.is_complete {
                return Poll::Ready(Ok(()));
            }
            self.send.clear();
            match ready!(self.queue.poll_next(context)) {
                QueueItem::Data(data) => self.send.push(&data),
                QueueItem::End(trailers) => {
                    self.is_complete = true;
                    self.send.end(trailers.map_or(Trailers::None, |map| Trailers::Map(Box::new(map))));
                }
                QueueItem::Broken => return Poll::Ready(Err(MirrorFailed)),
            }
        }
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        while self.body.is_none() {
            ready!(self.poll_head(context))?;
        }
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(Err(MirrorFailed)) };
            while let Some(piece) = Piece::decode(body, &self.input).map_err(|_| MirrorFailed)? {
                piece.consume(&mut self.input);
                if piece.is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            let received = self.up.poll_data(&mut self.input, &self.worker.limits.head, context);
            match ready!(received).map_err(|_| MirrorFailed)? {
                Received::Octets => {}
                Received::Piece(piece) if piece.is_last => return Poll::Ready(Ok(())),
                Received::Piece(_) => {}
                Received::Closed if body.ends_with_connection() => return Poll::Ready(Ok(())),
                Received::Closed => return Poll::Ready(Err(MirrorFailed)),
            }
        }
    }

    /// Receives the next head; the final one sets the body.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MirrorFailed>> {
        let into = HeadInput {
            head: &mut self.head,
            input: &mut self.input,
            request_kind: self.request.request_kind,
            limits: &self.worker.limits.head,
            most: usize::MAX,
            may_read: true,
        };
        let Some(length) = ready!(self.up.poll_head(into, context)).map_err(|_| MirrorFailed)? else {
            return Poll::Ready(Ok(()));
        };
        self.up.consume_head(&mut self.input, length);
        if !self.head.is_informational() {
            self.body = Some(BodyReader::new(self.head.body));
            return Poll::Ready(Ok(()));
        }
        self.interim += 1;
        Poll::Ready(if self.interim > INTERIM_RESPONSES { Err(MirrorFailed) } else { Ok(()) })
    }

    /// Whether any part of a response was received.
    fn is_answered(&self) -> bool {
        self.body.is_some() || !self.input.is_empty()
    }

    /// The connection, if it is reusable.
    fn reusable_connection(self) -> Option<Connection> {
        let is_sent = self.is_complete && self.send.is_flushed();
        self.up.into_reusable().filter(|_| is_sent && self.head.keep_alive && self.input.is_empty())
    }
}
