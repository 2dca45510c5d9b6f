//! What an attempt has led to: for retries, for outlier detection, and for the record of the exchange.

use super::finished::Finished;
use super::response::ResponseState;
use super::{Attempt, Failure};
use crate::http::retry::{AttemptFailure, AttemptOutcome, NoRetryReason, ResponseProgress, RetryDecision};
use crate::stream_info::LoggedResponse;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use upstream::{Counted, Outcome};

impl Attempt<'_> {
    /// What a failure of the attempt means for retries. Takes the permit that was acquired for the next attempt.
    pub(in crate::http) fn take_outcome(&mut self, failure: Failure) -> AttemptOutcome<Counted> {
        let response = if self.has_answered() || self.response.send.any_written() {
            ResponseProgress::Begun
        } else if self.response.input.is_empty() {
            ResponseProgress::Nothing
        } else {
            ResponseProgress::PartialHead
        };
        AttemptOutcome {
            failure: match failure {
                Failure::UpstreamClosed => AttemptFailure::Closed,
                Failure::UpstreamUnprocessed => AttemptFailure::Unprocessed,
                Failure::UpstreamProtocol | Failure::HeadTimeout => AttemptFailure::Protocol,
                Failure::TryTimeout => AttemptFailure::TryTimeout,
                Failure::RetriableResponse => AttemptFailure::Response,
                _ => AttemptFailure::Final,
            },
            is_started: self.request.any_written(),
            is_replayable: self.request.is_replayable(),
            may_be_stale: self.may_be_stale(),
            response,
            permit: self.retries.permit.take(),
        }
    }

    /// Reports a failed attempt to outlier detection (DR-30). Failures of the client, and results reported with the head, do not count.
    fn report(&self, failure: Failure) {
        let outcome = match failure {
            Failure::UpstreamClosed
            | Failure::UpstreamIncomplete
            | Failure::UpstreamUnprocessed
            | Failure::UpstreamProtocol => Outcome::Disconnected,
            Failure::HeadTimeout => Outcome::TimedOut,
            Failure::Timeout | Failure::TryTimeout if !self.has_answered() => Outcome::TimedOut,
            _ => return,
        };
        self.worker.report(&self.plan.cluster, self.up.endpoint(), outcome);
    }

    /// Ends a failed attempt: reports it, and resets both directions if another attempt follows. A replay says nothing about the endpoint.
    pub(in crate::http) fn end(&mut self, failure: Failure, decision: RetryDecision) {
        if decision != RetryDecision::Replay {
            self.report(failure);
        }
        if decision.wait().is_some() {
            self.request.rewind();
            self.response.rewind();
        }
    }

    /// The result of a complete response.
    pub(in crate::http) fn finished(&self) -> Finished {
        if self.response.state == ResponseState::Tunnel {
            return Finished::Tunnel;
        }
        let is_clean = self.response.head.keep_alive && self.request.is_sent() && self.response.input.is_empty();
        Finished::Answered { is_clean, close: self.response.close }
    }

    /// Why a retriable response was sent to the client.
    pub(in crate::http) fn no_retry_reason(&self) -> NoRetryReason {
        self.retries.no_retry
    }

    /// When the end of the request was received, if it was.
    pub(in crate::http) fn complete_at(&self) -> Option<Instant> {
        self.deadlines.complete_at
    }

    /// What the access log states of the response.
    pub(in crate::http) fn take_logged(&mut self) -> LoggedResponse {
        std::mem::take(&mut self.response.logged)
    }

    pub(in crate::http) fn received(&self) -> u64 {
        self.request.received
    }

    pub(in crate::http) fn sent(&self) -> u64 {
        self.response.sent
    }

    pub(in crate::http) fn status(&self) -> u16 {
        self.response.status
    }

    pub(in crate::http) fn time_to_head(&self) -> Option<Duration> {
        self.response.time_to_head
    }

    /// Whether the head of the final response was received.
    pub(in crate::http) fn has_answered(&self) -> bool {
        self.response.has_head()
    }

    /// Whether the client has received a part of an interim response, behind which nothing else can follow.
    pub(in crate::http) fn is_cut(&self) -> bool {
        self.response.send.is_cut()
    }

    pub(in crate::http) fn local_address(&self) -> Option<SocketAddr> {
        self.up.local_address()
    }
}
