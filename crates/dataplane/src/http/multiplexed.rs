//! A connection of a client in HTTP/2: it takes streams, each of which is one task, and ends when the client, a limit or a drain
//! says so. Frames are the library's; what it does not bound is counted by [`Watched`].

mod tasks;

use super::exchange;
use super::record;
use super::reply::{self, Local};
use super::server::Downstream;
use super::side::{H2Side, Side};
use super::streams::Receiver;
use crate::conn::{Client, Space, TableState, Timer, Worker};
use crate::reasons::Reject;
use bytes::Bytes;
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
use tasks::Job;
use upstream::{Coalesced, FrameBounds, Replay, Stream, Turn, Watched};
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h2::FlatError;

type Io = Coalesced<Watched<Replay<Stream>>>;

/// What begins every connection of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection in clear text begins as HTTP/2 does; `None` while it cannot be told.
pub(super) fn is_preface(begun: &[u8]) -> Option<bool> {
    let common = begun.iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
    match () {
        () if common == PREFACE.len() => Some(true),
        () if common == begun.len() => None,
        () => Some(false),
    }
}

/// What all streams of a connection share.
struct Shared {
    worker: Rc<Worker>,
    client: Rc<Client>,
    table: Arc<TableState>,
    /// Streams under way.
    streams: Cell<usize>,
}

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, conn: Downstream) {
    let turn = Turn::default();
    turn.clone().of(serve_in(worker, conn, turn)).await;
}

async fn serve_in(worker: Rc<Worker>, conn: Downstream, turn: Turn) {
    let Downstream { side: Side::H1(stream), input, timer, client, table } = conn else { return };
    let limits = &worker.limits;
    let bounds = FrameBounds { section_timeout: client.head_limit(&worker), ..limits.frames() };
    let watched = Watched::of_client(Replay::new(stream, input.filled()), bounds);
    drop(input);
    timer.set(limits.handshake_timeout);
    let Some(connection) =
        handshake(&builder(&worker, &client.edge.connections), Coalesced::new(watched, &turn), &timer).await
    else {
        return;
    };
    let shared = Rc::new(Shared { worker: Rc::clone(&worker), client, table, streams: Cell::new(0) });
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

async fn handshake(builder: &Builder, io: Io, timer: &Timer) -> Option<Connection<Io, Bytes>> {
    let mut handshake = pin!(builder.handshake(io));
    poll_fn(|context| match handshake.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result.ok()),
        Poll::Pending if timer.expired(context) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Takes streams until there are to be no more, and waits for those under way.
async fn run(mut connection: Connection<Io, Bytes>, shared: &Rc<Shared>, timer: &Timer) {
    let mut ending = false;
    let mut used = false;
    loop {
        let accepted = poll_fn(|context| {
            let polled = connection.poll_accept(context);
            if polled.is_ready() {
                return polled;
            }
            if !ending && shared.is_ending() {
                ending = true;
                connection.graceful_shutdown();
                return connection.poll_accept(context);
            }
            shared.poll_idle(&mut used, timer, context)
        });
        match accepted.await {
            Some(Ok((request, respond))) => {
                used = true;
                shared.take(request, respond);
            }
            // It is over, or the client does not keep to the protocol: the library has said so already.
            Some(Err(_)) | None => return,
        }
    }
}

impl Shared {
    fn is_ending(&self) -> bool {
        self.client.is_draining(&self.worker, &self.table)
    }

    /// Ready with the end when the connection has been idle for too long.
    fn poll_idle<T>(&self, used: &mut bool, timer: &Timer, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.streams.get() > 0 || std::mem::take(used) {
            self.client.set_idle(&self.worker, timer);
        }
        let over = timer.expired(context) || self.client.is_to_close(&self.worker);
        let over = over && self.streams.get() == 0;
        if over { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Begins with a stream.
    fn take(self: &Rc<Self>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.streams.set(self.streams.get() + 1);
        let (parts, body) = request.into_parts();
        let head = self.flatten(&parts, body.is_end_stream());
        tasks::begin(&self.worker, Job { shared: Rc::clone(self), head, body, respond });
    }

    fn flatten(&self, parts: &http::request::Parts, ended: bool) -> Head {
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        let limits = &routing::head_limits(&self.client.edge, self.worker.limits.head);
        let mut space = self.worker.take_space();
        match wire::h2::flatten_request(parts, protocol, ended, limits, &mut space.request, &mut space.flat) {
            Ok(()) => Head::Taken(space),
            Err(error) => {
                self.worker.give_space(space);
                let web = self.table.version().http.grpc_web;
                Head::Refused(error, Dialect::of(|name| parts.headers.get(name).map(HeaderValue::as_bytes), web))
            }
        }
    }
}

/// The head of a stream.
enum Head {
    /// It stands flat in the space of its exchange.
    Taken(Box<Space>),
    /// It is not taken; what the client speaks, where that is gRPC.
    Refused(FlatError, Option<Dialect>),
}

async fn answer(job: Job, timer: Timer) {
    let Job { shared, head, body, respond } = job;
    let worker = &shared.worker;
    let mut conn = Downstream {
        side: Side::H2(Box::new(H2Side::new(Receiver::new(body), respond))),
        input: worker.buffer(),
        timer,
        client: Rc::clone(&shared.client),
        table: Arc::clone(&shared.table),
    };
    match head {
        Head::Taken(mut space) => {
            conn.input.put(&space.flat);
            let length = space.flat.len();
            exchange::exchange(worker, &mut conn, &mut space, length).await;
            worker.give_space(space);
        }
        Head::Refused(error, dialect) => refuse(worker, &mut conn, error, dialect),
    }
}

/// Answers a head that is not taken.
fn refuse(worker: &Worker, conn: &mut Downstream, error: FlatError, dialect: Option<Dialect>) {
    let reject = match error {
        FlatError::Host => Reject::Refused(routing::Refusal::Host),
        FlatError::TooLarge => Reject::Head(wire::h1::HeadError::TooLarge),
        FlatError::ContentLength => Reject::Head(wire::h1::HeadError::ContentLength),
        FlatError::Underscore => Reject::Head(wire::h1::HeadError::Underscore),
        FlatError::Expectation => Reject::Head(wire::h1::HeadError::Expectation),
        FlatError::Malformed => Reject::Head(wire::h1::HeadError::Malformed),
    };
    record::refused(worker, conn, reject);
    if let (FlatError::Malformed, Side::H2(stream)) = (error, &mut conn.side) {
        // RFC 9113 §8.1.1
        return stream.reset(Reason::PROTOCOL_ERROR);
    }
    let date = worker.date();
    let local = Local {
        grpc: dialect.map(|dialect| (dialect, reject.grpc_status())),
        ..Local::refusal(reject, (&date, &conn.client.edge), false, false)
    };
    let (head, body) = reply::message(&local, &mut Edits::default());
    if let Side::H2(stream) = &mut conn.side
        && stream.send_whole(head, body).is_err()
    {
        stream.reset(Reason::INTERNAL_ERROR);
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
