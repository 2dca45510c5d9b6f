//! Both directions of one exchange, polled together: the request's body keeps flowing while the answer already comes.
//!
//! It copies small pieces behind the head that is to be written anyway, so that one call of the system takes both, writes middling
//! ones from where they were read, and has the system move large bodies from socket to socket. It reads no further while what it
//! read is not written.

mod direct;
mod request;
mod response;

use super::decide::Plan;
use super::reply::Reject;
use super::server::{Downstream, read};
use crate::conn::{ListenerState, Space, Timer, Worker};
use request::RequestSide;
use response::ResponseSide;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use upstream::{Connection, Stream};
use wire::h1::BodyReader;
use wire::h1::response::Asked;

/// Why an exchange did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The backend closed, before or while it answered.
    UpstreamClosed,
    /// The backend's answer is malformed.
    UpstreamProtocol,
    /// The route's time is over.
    Timeout,
    /// The client closed.
    ClientClosed,
    /// The client does not take its answer.
    ClientStuck,
    /// The client's body is malformed.
    ClientBody,
    /// The client's body does not come.
    BodyTimeout,
}

impl Failure {
    /// The answer that tells it, where there is somebody to tell.
    pub(super) fn reject(self) -> Option<Reject> {
        match self {
            Self::UpstreamClosed => Some(Reject::UpstreamClosed),
            Self::UpstreamProtocol => Some(Reject::UpstreamProtocol),
            Self::Timeout => Some(Reject::Timeout),
            Self::ClientClosed | Self::ClientStuck => None,
            Self::ClientBody => Some(Reject::ClientBody),
            Self::BodyTimeout => Some(Reject::BodyTimeout),
        }
    }

    /// What the log tells of an answer that had begun.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::ClientClosed => "downstream_remote_disconnect",
            Self::ClientStuck => "stream_idle_timeout",
            Self::UpstreamClosed => "upstream_reset_after_response_started{connection_termination}",
            Self::UpstreamProtocol => "upstream_reset_after_response_started{protocol_error}",
            Self::Timeout | Self::ClientBody | Self::BodyTimeout => self.reject().map_or("", Reject::detail),
        }
    }
}

/// How an exchange ended that went well.
pub(super) enum Finished {
    /// Both sides switched protocols.
    Tunnel(Connection),
    /// The answer is complete.
    Answered {
        /// The backend's connection, if it can be used again.
        up: Option<Connection>,
        /// Whether the client was told that its connection ends.
        close: bool,
    },
}

/// One attempt of an exchange.
pub(super) struct Flow<'a> {
    worker: &'a Worker,
    listener: &'a ListenerState,
    down: &'a mut Stream,
    timer: &'a Timer,
    up: Connection,
    plan: &'a Plan,
    asked: Asked,
    request: RequestSide<'a>,
    response: ResponseSide<'a>,
    /// Whether a deadline has been set since something moved last.
    armed: bool,
    /// Whether it is still of use to look if the client has gone.
    watching: bool,
    /// From when the route's time counts (VS-39): the whole request has come.
    complete_at: Option<Instant>,
}

impl<'a> Flow<'a> {
    /// `body` is read on and `held` kept over attempts; a request without a body was complete when it `started`.
    pub(super) fn new(
        worker: &'a Worker,
        conn: &'a mut Downstream,
        space: &'a mut Space,
        plan: &'a Plan,
        up: Connection,
        (body, held): (&'a mut BodyReader, &'a mut Vec<u8>),
        started: Instant,
    ) -> Self {
        let asked = match (plan.upgrade, space.request.method.of(conn.input.filled()) == b"HEAD") {
            (true, _) => Asked::Upgrade,
            (false, true) => Asked::Head,
            (false, false) => Asked::Other,
        };
        let complete = body.is_done();
        let limit = if plan.idempotent && up.reused { worker.limits.replay_bytes } else { 0 };
        let request = RequestSide::new(&space.request, body, &mut space.body_in, &mut space.up_out, held, limit);
        let response = ResponseSide::new(&mut space.response, &mut space.up_in, &mut space.down_out);
        Self {
            worker,
            listener: &conn.listener,
            down: &mut conn.stream,
            timer: &conn.timer,
            up,
            plan,
            asked,
            request,
            response,
            armed: false,
            watching: true,
            complete_at: complete.then_some(started),
        }
    }

    /// Moves what can be moved; ready when the answer is complete or cannot become so.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let mut moved = self.send_request(context)?;
            moved |= self.receive_head(context)?;
            moved |= self.send_response(context)?;
            if self.response.is_complete() {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                break;
            }
            self.armed = false;
        }
        self.watch_client(context)?;
        self.wait(context)
    }

    /// Writes what is to be written to the backend, and takes more of the body when that is done.
    fn send_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.request.refused {
            match self.request.flush(&mut self.up.stream, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // It may have answered before it closed; what it said is read first.
                Poll::Ready(Err(_)) => {
                    self.request.refused = true;
                    return Ok(true);
                }
            }
            if self.request.complete {
                return Ok(moved);
            }
            match self.request.take_body(self.worker, self.down, &mut self.up.stream, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
            if self.request.complete {
                self.complete_at = Some(Instant::now());
            }
        }
        Ok(moved)
    }

    /// Reads the answer's head, once there is something to be answered.
    fn receive_head(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.response.head_seen {
            // Nothing is read while the client has not taken what was read before: a backend may send 1xx without end.
            if !(self.request.any_written || self.request.refused) || !self.response.is_flushed() {
                return Ok(moved);
            }
            if self.response.input.is_full() {
                self.response.input.grow();
            }
            match read(&mut self.up.stream, self.response.input, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count)) if count > 0 => moved = true,
                Poll::Ready(_) => return Err(Failure::UpstreamClosed),
            }
            self.read_heads()?;
        }
        Ok(moved)
    }

    /// Informational answers are passed on as they come; the final one ends the loop.
    fn read_heads(&mut self) -> Result<(), Failure> {
        while !self.response.head_seen {
            let limits = &self.worker.limits.head;
            let Some(length) = self.response.parse(self.asked, limits)? else { return Ok(()) };
            if self.response.head.is_informational() {
                self.response.pass_informational();
            } else if self.response.is_other_switch() {
                return Err(Failure::UpstreamProtocol);
            } else {
                let since = self.complete_at.unwrap_or_else(Instant::now);
                let date = self.worker.date();
                let close = self.is_last();
                self.response.pass_head(self.plan, self.asked, close, &date, since.elapsed());
            }
            self.response.input.consume(length);
        }
        Ok(())
    }

    /// Whether the client is told that its connection ends with this answer.
    fn is_last(&self) -> bool {
        let draining = self.worker.drain.has_begun() || self.listener.drain.has_begun();
        // A client that still waits for 100 may send its body after a final answer or not: what comes next cannot be told apart.
        let unwanted = self.request.head.expect_continue && self.request.received == 0;
        draining || unwanted || !self.request.head.keep_alive
    }

    /// Writes what is to be written to the client, and takes more of the body when that is done.
    fn send_response(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            // What is there already goes out with the head.
            moved |= self.response.take_body()?;
            match self.response.flush(self.down, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
            }
            if !self.response.head_seen || self.response.complete {
                return Ok(moved);
            }
            match self.response.more(self.worker, &mut self.up.stream, self.down, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// Looks whether the client has reset its connection while nothing moves. That it sends no more is no such sign (RULES).
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        if !self.watching || !self.request.complete {
            return Ok(());
        }
        match direct::poll_client(self.down, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.watching = false,
            Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
        }
        Ok(())
    }

    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let route_end = self.complete_at.zip(self.plan.timeout).and_then(|(from, after)| from.checked_add(after));
        let patience = self.patience();
        if !self.armed {
            self.armed = true;
            match patience {
                Some((limit, _)) => self.timer.set(limit),
                None => self.timer.clear(),
            }
            if let Some(end) = route_end {
                self.timer.set_no_later(end);
            }
        }
        if !self.timer.expired(context) {
            return Poll::Pending;
        }
        let over = route_end.is_some_and(|end| end <= Instant::now());
        let failure = patience.filter(|_| !over).map_or(Failure::Timeout, |(_, failure)| failure);
        Poll::Ready(Err(failure))
    }

    /// How long the client may do nothing, where it is the client that is waited for.
    fn patience(&self) -> Option<(Duration, Failure)> {
        let limits = &self.worker.limits;
        if !self.response.is_flushed() {
            Some((limits.write_timeout, Failure::ClientStuck))
        } else if !self.response.head_seen && self.request.awaits_body() {
            Some((limits.body_timeout, Failure::BodyTimeout))
        } else {
            None
        }
    }

    /// Whether the request may be sent once more (RULES on replay): nothing of it was written, or it went out on a connection that
    /// had been idle, may be repeated, and is still there as a whole, and no byte of an answer came.
    pub(super) fn may_replay(&self, failure: Failure) -> bool {
        let unanswered = !self.response.head_seen && self.response.input.is_empty() && !self.response.any_written;
        let safe = !self.request.any_written || (self.up.reused && self.plan.idempotent);
        failure == Failure::UpstreamClosed && unanswered && safe && self.request.is_whole()
    }

    /// Makes everything ready for another attempt.
    pub(super) fn rewind(self) {
        self.request.rewind();
        self.response.rewind();
    }

    /// After a complete answer: what becomes of the backend's connection.
    pub(super) fn finish(self) -> Finished {
        if self.response.tunnel {
            return Finished::Tunnel(self.up);
        }
        let clean = self.response.head.keep_alive && self.request.is_sent() && self.response.input.is_empty();
        Finished::Answered { up: clean.then_some(self.up), close: self.response.close }
    }

    pub(super) fn received(&self) -> u64 {
        self.request.received
    }

    pub(super) fn sent(&self) -> u64 {
        self.response.sent
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status
    }

    pub(super) fn time_to_head(&self) -> Option<Duration> {
        self.response.time_to_head
    }

    /// Whether the client has any byte of an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.response.head_seen
    }

    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.up.stream.local_address()
    }
}
