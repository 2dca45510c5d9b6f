//! The head of the response in an attempt: received, checked, and passed on or dropped for a retry.

use super::response_context::HeadFacts;
use super::{Attempt, AttemptFacts, Failure};
use crate::http::facts;
use crate::reasons::VIA_UPSTREAM;
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
            match self.response.poll_head(self.up, self.down, self.plan.request_kind, limits, context)? {
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
        let is_grpc = self.plan.dialect.is_some();
        if self.plan.cluster.config.outlier.is_some() {
            let outcome = Outcome::Answered(backend.effective_status(is_grpc));
            self.worker.report(&self.plan.cluster, self.up.endpoint(), outcome);
        }
        let is_retriable = self.retries.policy.is_some_and(|(policy, _)| backend.is_retriable(policy, is_grpc));
        // Set whether the client receives the response or not: a 401 rejects the credential of the request in both cases.
        self.response.status = self.response.head.status;
        if is_retriable {
            let can_repeat = self.request.is_replayable() && !self.response.send.any_written();
            if self.retries.admit(self.plan, can_repeat) {
                return Err(Failure::RetriableResponse);
            }
        }
        self.send_head()
    }

    /// Sends the head of the response to the client.
    fn send_head(&mut self) -> Result<(), Failure> {
        let AttemptFacts { client, captured_headers, endpoint, started, .. } = self.facts;
        let since = self.deadlines.complete_at.unwrap_or_else(Instant::now);
        let (date, log) = (self.worker.date(), self.worker.log());
        let protocol = facts::protocol(self.down, self.request.head.version);
        let cluster = self.plan.cluster.config.id.as_str();
        let context = HeadFacts {
            plan: self.plan,
            is_last: self.is_last(),
            date: &date,
            elapsed: since.elapsed(),
            stream: facts::stream_facts(client, protocol, Some(&self.plan.route), cluster),
            outcome: OutcomeFacts {
                started,
                flags: self.retries.no_retry.flags(),
                detail: VIA_UPSTREAM,
                transport_failure: "",
                upstream: endpoint,
                upstream_local: &|| self.up.local_address(),
            },
            captured_headers,
            log: log.as_ref().map(|log| log.demands()),
        };
        self.response.pass_head(self.down, &context)
    }

    /// Whether the response closes the client's connection.
    fn is_last(&self) -> bool {
        let draining = self.facts.client.is_draining(self.worker, self.facts.table);
        // A client that still waits for 100 may or may not send its body after a final response, so the next octets are ambiguous.
        let unwanted = self.request.head.expect_continue && self.request.received == 0 && !self.request.is_complete();
        draining || unwanted || !self.request.head.keep_alive
    }
}
