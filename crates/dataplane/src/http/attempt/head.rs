//! The head of the response in an attempt: received, checked, and passed on or dropped for a retry.

use super::response_context::ResponseContext;
use super::{Attempt, Failure};
use crate::http::facts;
use crate::http::retry::NoRetryReason;
use crate::stream_info::OutcomeFacts;
use std::task::{Context, Poll};
use std::time::Instant;
use upstream::Outcome;

impl Attempt<'_> {
    /// Receives the head of the response, once a part of the request was sent. Interim responses are forwarded as they arrive.
    pub(super) fn receive_head(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.response.has_head() && (self.request.any_written() || self.request.is_refused()) {
            let limits = &self.worker.limits.head;
            match self.response.poll_head(&mut self.up, self.down, self.plan.request_kind, limits, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(None) => {}
                Poll::Ready(Some(length)) => self.take_head(length)?,
            }
            moved = true;
        }
        Ok(moved)
    }

    /// Passes on a head of `length` octets.
    fn take_head(&mut self, length: usize) -> Result<(), Failure> {
        if self.response.head.is_informational() {
            self.response.take_interim(length, self.down)?;
        } else {
            self.pass_head(length)?;
        }
        self.up.consume_head(self.response.input, length);
        // The next head began later.
        self.deadlines.end_section();
        Ok(())
    }

    fn pass_head(&mut self, length: usize) -> Result<(), Failure> {
        let backend = self.response.backend_head(self.plan.request_kind);
        let client = self.down.framing(self.response.style.http10);
        if !backend.is_valid(client) || !self.response.may_begin_body(length) {
            return Err(Failure::UpstreamProtocol);
        }
        if self.plan.cluster.config.outlier.is_some() {
            let status = backend.effective_status(self.plan.dialect.is_some());
            self.worker.report(&self.plan.cluster, self.up.endpoint(), Outcome::Answered(status));
        }
        self.check_retry()?;
        let since = self.deadlines.complete_at.unwrap_or_else(Instant::now);
        let (date, log) = (self.worker.date(), self.worker.log());
        let (protocol, route) = (facts::protocol(self.down, self.request.head.version), &*self.plan.route);
        let cluster = self.plan.cluster.config.id.as_str();
        let outcome = OutcomeFacts {
            started: self.begun,
            flags: self.retries.no_retry.flags(),
            detail: "via_upstream",
            transport_failure: "",
            upstream: self.endpoint,
            upstream_local: &|| self.up.local_address(),
        };
        let context = ResponseContext {
            plan: self.plan,
            is_last: self.is_last(),
            date: &date,
            elapsed: since.elapsed(),
            stream: facts::stream_facts(self.client, protocol, Some(route), cluster),
            outcome,
            captured_headers: self.captured_headers,
            log: log.as_ref().map(|log| log.demands()),
        };
        self.response.pass_head(self.down, &context)
    }

    /// Whether the response is sent to the client; an error if the request is retried.
    fn check_retry(&mut self) -> Result<(), Failure> {
        let Some((policy, left)) = self.retries.policy else { return Ok(()) };
        if !self.response.backend_head(self.plan.request_kind).is_retriable(policy, self.plan.dialect.is_some()) {
            return Ok(());
        }
        if left == 0 {
            self.retries.no_retry = NoRetryReason::Exhausted;
            return Ok(());
        }
        if !self.request.is_whole() || self.response.send.any_written() {
            return Ok(());
        }
        if !self.retries.has_permit {
            // Acquired before the response is dropped.
            self.retries.permit = self.plan.cluster.begin_retry();
            if self.retries.permit.is_none() {
                self.retries.no_retry = NoRetryReason::Overflow;
                return Ok(());
            }
        }
        Err(Failure::Answer)
    }

    /// Whether the response closes the client's connection.
    fn is_last(&self) -> bool {
        let draining = self.client.is_draining(self.worker, self.table);
        // A client that still waits for 100 may or may not send its body after a final response, so the next octets are ambiguous.
        let unwanted = self.request.head.expect_continue && self.request.received == 0 && !self.request.is_complete();
        draining || unwanted || !self.request.head.keep_alive
    }
}
