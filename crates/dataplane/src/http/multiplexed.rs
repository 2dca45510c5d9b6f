//! An HTTP/2 connection of a client: accepts streams, each of which is one task, and ends by the client, a limit or a drain. The library `h2`
//! handles frames; [`Watched`] bounds what it does not.

mod tasks;

use super::client::{ClientConnection, head_limits};
use super::exchange;
use super::record;
use super::reply::{self, LocalReply};
use crate::codec::{ClientAccounts, ClientReset, Downstream, Receiver, ResetCode, UnreadTrailers};
use crate::conn::{BudgetExceeded, Charge, Client, ExchangeBuffers, Stage, TableState, Timer, Worker};
use crate::metrics::add;
use crate::reasons::Reject;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::HeaderValue;
use http::Request;
use ir::ConnectionSettings;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use upstream::{Coalesced, FrameBounds, Outgoing, Replay, Stream, Turn, Watched};
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h2::FlatError;

type Io = Coalesced<Watched<Replay<Stream>>>;

/// The connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection begins with the HTTP/2 preface; `None` while there are too few octets.
pub(super) fn is_preface(begun: &[u8]) -> Option<bool> {
    let common = begun.iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
    match () {
        () if common == PREFACE.len() => Some(true),
        () if common == begun.len() => None,
        () => Some(false),
    }
}

/// State that all streams of a connection share.
struct ConnectionState {
    worker: Rc<Worker>,
    client: Rc<Client>,
    table: Arc<TableState>,
    /// Open streams.
    streams: Cell<usize>,
    /// What they are charged to.
    accounts: ClientAccounts,
    /// Their unread trailers.
    trailers: Rc<UnreadTrailers>,
    /// Streams refused in a row.
    refusals: Cell<u32>,
}

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, conn: ClientConnection) {
    let turn = Turn::default();
    turn.clone().of(serve_in(worker, conn, turn)).await;
}

async fn serve_in(worker: Rc<Worker>, conn: ClientConnection, turn: Turn) {
    let ClientConnection { downstream, input, timer, client, table } = conn;
    let Some(stream) = downstream.into_connection() else { return };
    let limits = &worker.limits;
    let heads = worker.heads.account();
    let trailers = UnreadTrailers::new(&heads);
    let bounds = FrameBounds { section_timeout: client.head_limit(&worker), ..limits.frames() };
    let watched =
        Watched::of_client(Replay::new(stream, input.filled()), bounds, Rc::<UnreadTrailers>::clone(&trailers));
    drop(input);
    timer.set(limits.handshake_timeout);
    let Some(connection) =
        handshake(&builder(&worker, &client.mesh_settings.connections), Coalesced::new(watched, &turn), &timer).await
    else {
        return;
    };
    let accounts = ClientAccounts {
        heads,
        responses: worker.responses.account(),
        ahead: worker.ahead.account(),
        bodies: worker.bodies.account(),
    };
    let shared = Rc::new(ConnectionState {
        accounts,
        trailers,
        worker: Rc::clone(&worker),
        client,
        table,
        streams: Cell::new(0),
        refusals: Cell::new(0),
    });
    shared.client.set_idle(&worker, &timer);
    run(connection, &shared, &timer).await;
}

fn builder(worker: &Worker, own: &ConnectionSettings) -> Builder {
    let limits = &worker.limits.http2;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(own.streams.unwrap_or(limits.streams))
        .initial_window_size(own.stream_window.unwrap_or(limits.stream_window))
        .initial_connection_window_size(own.connection_window.unwrap_or(limits.connection_window))
        .max_header_list_size(u32::try_from(worker.limits.head.bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(limits.send_buffer)
        .max_concurrent_reset_streams(limits.resets)
        .max_pending_accept_reset_streams(limits.resets)
        .enable_connect_protocol();
    builder
}

async fn handshake(builder: &Builder, io: Io, timer: &Timer) -> Option<Connection<Io, Outgoing>> {
    let mut handshake = pin!(builder.handshake::<_, Outgoing>(io));
    poll_fn(|context| match handshake.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result.ok()),
        Poll::Pending if timer.expired(context) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Accepts streams until the connection ends, and waits for the open ones.
async fn run(mut connection: Connection<Io, Outgoing>, shared: &Rc<ConnectionState>, timer: &Timer) {
    let (mut is_ending, mut used) = (false, false);
    let end = poll_fn(|context| {
        loop {
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    used = true;
                    shared.accept(request, respond);
                }
                // An error is a protocol violation, which the library has already reported to the client.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(AcceptEnd::Closed),
                Poll::Pending if shared.is_over() => return Poll::Ready(AcceptEnd::BudgetExceeded),
                Poll::Pending if !is_ending && shared.is_draining() => {
                    is_ending = true;
                    connection.graceful_shutdown();
                }
                Poll::Pending => return shared.poll_idle(&mut used, timer, context).map(|()| AcceptEnd::Idle),
            }
        }
    });
    match end.await {
        AcceptEnd::Closed => {}
        AcceptEnd::Idle => close_gracefully(connection).await,
        AcceptEnd::BudgetExceeded => abort(connection, shared, timer).await,
    }
}

/// Why no further stream is accepted.
enum AcceptEnd {
    /// The connection has ended.
    Closed,
    /// It was idle for too long, or is evicted.
    Idle,
    /// It is aborted because it exceeds its budget.
    BudgetExceeded,
}

/// Aborts a connection that exceeds its budget, with all of its streams.
async fn abort(mut connection: Connection<Io, Outgoing>, shared: &ConnectionState, timer: &Timer) {
    shared.worker.metrics.streams.end();
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    // A client that does not read cannot hold the connection open.
    timer.set(shared.worker.limits.linger_timeout);
    poll_fn(|context| match connection.poll_closed(context) {
        Poll::Pending if timer.expired(context) => Poll::Ready(()),
        polled => polled.map(drop),
    })
    .await;
}

/// Closes an idle connection with GOAWAY, so that the client knows that no request was lost (RFC 9113 §6.8). Does not wait for a client that
/// does not read.
async fn close_gracefully(mut connection: Connection<Io, Outgoing>) {
    /// Frames are written in the turn after they were flushed.
    const TURNS: usize = 3;
    connection.abrupt_shutdown(Reason::NO_ERROR);
    for _ in 0..TURNS {
        let is_over = poll_fn(|context| Poll::Ready(connection.poll_accept(context).is_ready())).await;
        if is_over {
            return;
        }
        tokio::task::yield_now().await;
    }
}

impl ConnectionState {
    fn is_draining(&self) -> bool {
        self.client.is_draining(&self.worker, &self.table)
    }

    /// Whether the client exceeds the budget of its connection.
    fn is_over(&self) -> bool {
        self.refusals.get() > self.worker.limits.http2.refusals || self.trailers.is_over()
    }

    /// Ready when the connection was idle for too long, or is evicted.
    fn poll_idle(&self, used: &mut bool, timer: &Timer, context: &mut Context<'_>) -> Poll<()> {
        if self.streams.get() > 0 || std::mem::take(used) {
            self.client.set_idle(&self.worker, timer);
        }
        if self.streams.get() == 0 {
            self.client.tracked.wait(Stage::Idle);
        }
        let over = timer.expired(context) || self.client.is_to_close(&self.worker);
        let over = over && self.streams.get() == 0;
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Accepts a stream if its head is within the budget, and drops the library's copy of the head. If the server would reject this client now,
    /// or the connection is evicted, the stream is refused, so that the client may retry it on a new connection (RFC 9113 §8.7).
    fn accept(self: &Rc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Outgoing>) {
        if self.client.is_outdated() || !self.client.tracked.begin() {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let (parts, body) = request.into_parts();
        match self.flatten(&parts, body.is_end_stream()) {
            Ok(head) => {
                self.refusals.set(0);
                self.streams.set(self.streams.get() + 1);
                tasks::begin(&self.worker, StreamJob { shared: Rc::clone(self), head, body, respond });
            }
            Err(over) => {
                self.refusals.set(self.refusals.get() + 1);
                self.worker.refuse_stream(over);
                // The request was not processed, so the client may retry it (RFC 9113 §8.7).
                respond.send_reset(Reason::REFUSED_STREAM);
            }
        }
    }

    fn flatten(&self, parts: &http::request::Parts, ended: bool) -> Result<ReceivedHead, BudgetExceeded> {
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        let limits = &head_limits(&self.worker, &self.client, &self.table);
        let mut buffers = self.worker.acquire_buffers();
        match wire::h2::flatten_request(parts, protocol, ended, limits, &mut buffers.request, &mut buffers.flat) {
            Ok(()) => match self.accounts.heads.charge(buffers.head_octets()) {
                Ok(charge) => Ok(ReceivedHead::Taken(buffers, charge)),
                Err(over) => {
                    self.worker.release_buffers(buffers);
                    Err(over)
                }
            },
            Err(error) => {
                self.worker.release_buffers(buffers);
                let web = self.table.version().http.settings.grpc_web;
                let dialect = Dialect::of(|name| parts.headers.get(name).map(HeaderValue::as_bytes), web);
                Ok(ReceivedHead::Refused(error, dialect))
            }
        }
    }
}

/// The head of a stream.
enum ReceivedHead {
    /// The head is in the buffers of its exchange, and charged to the connection.
    Taken(Box<ExchangeBuffers>, Charge),
    /// The head is invalid; with the client's dialect of gRPC, if it speaks gRPC.
    Refused(FlatError, Option<Dialect>),
}

/// A stream to serve.
struct StreamJob {
    shared: Rc<ConnectionState>,
    head: ReceivedHead,
    body: RecvStream,
    respond: SendResponse<Outgoing>,
}

impl tasks::Job for StreamJob {
    fn worker(&self) -> &Rc<Worker> {
        &self.shared.worker
    }

    // Not `async`: a future inside another one would be copied once more.
    fn run(self, timer: Timer) -> impl Future<Output = ()> {
        answer(self, timer)
    }
}

/// An open stream.
struct UnderWay(Rc<ConnectionState>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        if self.0.streams.get() == 0 {
            self.0.trailers.clear();
            self.0.client.tracked.wait(Stage::Idle);
        }
    }
}

async fn answer(job: StreamJob, timer: Timer) {
    let StreamJob { shared, head, body, respond } = job;
    let _under_way = UnderWay(Rc::clone(&shared));
    let worker = &shared.worker;
    let receiver = Receiver::of_client(body, shared.trailers.of(respond.stream_id().as_u32()));
    let mut conn = ClientConnection {
        downstream: Downstream::stream(receiver, respond, shared.accounts.clone()),
        input: worker.buffer(),
        timer,
        client: Rc::clone(&shared.client),
        table: Arc::clone(&shared.table),
    };
    match head {
        ReceivedHead::Taken(mut buffers, charge) => {
            let length = buffers.flat.len();
            conn.input.lend(std::mem::take(&mut buffers.flat));
            exchange::exchange(worker, &mut conn, &mut buffers, length).await;
            buffers.flat = conn.input.take_back();
            worker.release_buffers(buffers);
            drop(charge);
        }
        ReceivedHead::Refused(error, dialect) => refuse(worker, &mut conn, error, dialect),
    }
}

/// Rejects an invalid head.
fn refuse(worker: &Worker, conn: &mut ClientConnection, error: FlatError, dialect: Option<Dialect>) {
    let reject = match error {
        FlatError::Host => Reject::Refused(routing::Refusal::Host),
        FlatError::TooLarge => Reject::Head(wire::h1::HeadError::TooLarge),
        FlatError::ContentLength => Reject::Head(wire::h1::HeadError::ContentLength),
        FlatError::Underscore => Reject::Head(wire::h1::HeadError::Underscore),
        FlatError::Protocol => Reject::Head(wire::h1::HeadError::UnknownProtocol),
        FlatError::Malformed => Reject::Head(wire::h1::HeadError::Malformed),
        FlatError::Expectation => Reject::Head(wire::h1::HeadError::Expectation),
    };
    record::record_rejected_head(worker, conn, reject);
    if let FlatError::Malformed = error {
        // RFC 9113 §8.1.1.
        add(&worker.metrics.streams.malformed);
        return conn.downstream.reset(ResetCode::Protocol);
    }
    let date = worker.date();
    let local = LocalReply {
        grpc: dialect.map(|dialect| (dialect, reject.grpc_status())),
        ..LocalReply::refusal(reject, &date, &conn.client.mesh_settings, false, false)
    };
    let message = || reply::message(&local, &reply::headers(&local, Edits::default()));
    if let Some(Err(ClientReset)) = conn.downstream.send_message(message) {
        conn.downstream.reset(ResetCode::Internal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9113_3_4_a_preface_is_told_from_a_request_at_the_first_byte_that_differs() {
        assert_eq!(is_preface(PREFACE), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n"), None);
        assert_eq!(is_preface(b"P"), None);
        assert_eq!(is_preface(b"POST / HTTP/1.1\r\n"), Some(false));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\nHost: a\r\n"), Some(false));
        assert_eq!(is_preface(b"GET"), Some(false));
    }
}
