//! Mirroring (VS-45): copies of requests whose responses are read and dropped. Each mirror request is a task of its own. The original request
//! hands it the head at once and the body as it arrives, and never waits for it.

use super::body_queue::{BodyQueue, MirrorSinks, QueueItem};
use crate::codec::{Destination, OpenError, OwnHead, OwnResponse, SendBuffer, Trailers, Upstream};
use crate::conn::{Worker, choose};
use crate::metrics::add;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use upstream::{ClusterState, ConnectContext, Outcome, PickContext, PickedEndpoint};
use wire::h1::Style;
use wire::h1::response::RequestKind;
use wire::proxy_protocol::Ends;

/// A request to a mirror.
#[derive(Debug)]
pub(super) struct MirrorRequest {
    pub(super) cluster: Arc<ClusterState>,
    pub(super) head: OwnHead,
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
    let picked = choose(worker, &request.cluster, PickContext::default()).await;
    let PickedEndpoint { endpoint, in_flight: _in_flight } = picked.map_err(|_| MirrorFailed)?;
    let destination = Destination {
        worker,
        cluster: &request.cluster,
        endpoint: &endpoint,
        sender: ConnectContext { host: request.host.as_deref(), ends: request.ends.as_ref() },
        limit: request.cluster.config.timeouts.connect,
    };
    let is_bodiless = request.body == MirrorBody::None;
    let mut may_use_idle = true;
    loop {
        let up = destination.open(&request.head, is_bodiless, may_use_idle).await.map_err(|error| {
            if matches!(&error, OpenError::Connect(error) if !error.is_own()) {
                worker.report(&request.cluster, &endpoint, Outcome::Disconnected);
            }
            MirrorFailed
        })?;
        let _counted = request.cluster.begin_request().ok_or(MirrorFailed)?;
        let may_be_stale = up.is_reused() && !up.is_multiplexed() && is_bodiless;
        let mut out = request.head.clone().into_lines();
        let mut exchange = MirrorExchange::new(worker, request, queue, up, &mut out);
        match poll_fn(|context| exchange.poll(context)).await {
            Ok(()) => {
                worker.report(&request.cluster, &endpoint, Outcome::Answered(exchange.response.head.status));
                let MirrorExchange { up, send, response, is_complete, .. } = exchange;
                if let Some(connection) = response.reusable(up, &send).filter(|_| is_complete) {
                    worker.pool.borrow_mut().put(connection, Instant::now());
                }
                return Ok(());
            }
            Err(MirrorFailed) if may_be_stale && may_use_idle && !exchange.response.has_begun() => may_use_idle = false,
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
    queue: &'a BodyQueue,
    up: Upstream,
    send: SendBuffer<'a>,
    /// Whether all of the request is in the send buffer.
    is_complete: bool,
    response: OwnResponse,
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
            queue,
            send: up.send_buffer(out, chunks, false),
            up,
            is_complete: request.body == MirrorBody::None,
            response: OwnResponse::new(request.request_kind, worker.buffer()),
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
            ready!(self.up.poll_send(&mut self.send, &mut self.response.input, context)).map_err(|_| MirrorFailed)?;
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
        let Self { up, response, worker, .. } = self;
        let limits = &worker.limits.head;
        ready!(response.poll_head(up, limits, |_, _| {}, context)).map_err(|_| MirrorFailed)?;
        loop {
            let piece = ready!(response.poll_piece(up, limits, context)).map_err(|_| MirrorFailed)?;
            piece.consume(&mut response.input);
            if piece.is_last {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
