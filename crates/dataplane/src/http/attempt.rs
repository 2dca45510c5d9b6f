//! Both directions of one attempt, polled together: the request body keeps flowing while the response already arrives.
//!
//! Small pieces are copied behind the head, so that one system call writes both. Medium pieces are written from the read buffer. Large bodies
//! move between the sockets in the kernel. An attempt reads nothing further until what it read is written.
//!
//! `request` and `response` are the two directions, `head` passes on the head of the response, `timeouts` ends what takes too long, and
//! `outcome` says what a failure means for retries. What lasts over all attempts is an `OutgoingRequest`: the body of the request, and what of
//! it can be sent again.

mod client_watch;
mod deadlines;
mod failure;
mod finished;
mod head;
mod interim;
mod outcome;
mod replay;
mod request;
mod request_body;
mod response;
mod response_context;
mod response_head;
mod retries;
mod start;
mod timeouts;

use super::plan::Plan;
use crate::codec::{Downstream, Upstream};
use crate::conn::{Client, TableState, Worker};
use client_watch::ClientWatch;
use deadlines::Deadlines;
pub(super) use failure::Failure;
pub(super) use finished::Finished;
use ir::FieldName;
pub(super) use replay::Replay;
pub(super) use request::OutgoingRequest;
use request::RequestSide;
pub(super) use request_body::RequestBody;
use response::ResponseSide;
use retries::ResponseRetries;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

/// One attempt of an exchange: a request on its way to one endpoint, and the response on its way back.
pub(super) struct Attempt<'a> {
    worker: &'a Worker,
    plan: &'a Plan,
    down: &'a mut Downstream,
    up: &'a mut Upstream,
    request: RequestSide<'a>,
    response: ResponseSide<'a>,
    retries: ResponseRetries<'a>,
    deadlines: Deadlines<'a>,
    watch: ClientWatch,
    facts: AttemptFacts<'a>,
}

/// What the head of the response depends on besides the head that the backend sends.
struct AttemptFacts<'a> {
    client: &'a Client,
    table: &'a TableState,
    /// Captured headers of the request.
    captured_headers: &'a [(FieldName, Vec<u8>)],
    endpoint: Option<SocketAddr>,
    /// The start of the request.
    started: Instant,
}

impl Attempt<'_> {
    /// Makes progress in both directions; ready when the response is complete or the attempt has failed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let received = self.forward_request(context)? | self.receive_head(context)?;
            let sent = self.response.forward(self.worker, self.up, self.down, context)?;
            if self.response.is_complete() {
                return Poll::Ready(Ok(()));
            }
            if received || sent {
                self.deadlines.move_on();
            }
            // Each step goes as far as it can. Only the next head waits for what the client receives.
            if !sent || self.response.has_head() {
                break;
            }
        }
        self.watch_client(context)?;
        self.poll_timeout(context).map(Err)
    }

    /// Sends the request, and receives and sends more of its body.
    fn forward_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let was_complete = self.request.is_complete();
        let moved = self.request.forward(self.worker, self.down, self.up, context)?;
        if !was_complete && self.request.is_complete() {
            self.deadlines.complete(Instant::now());
        }
        Ok(moved)
    }

    /// Checks for a reset by the client while nothing is received from it.
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        if self.request.is_complete() {
            self.watch.check_waiting(self.down, context)?;
        } else if !self.request.awaits_body() {
            self.watch.check_sending(self.worker, self.down, context)?;
        }
        Ok(())
    }
}
