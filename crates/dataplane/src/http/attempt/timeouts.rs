//! The timeouts of an attempt: of the route, the attempt and the request, and idle timeouts.

use super::{Attempt, Failure};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

impl Attempt<'_> {
    /// Polls for the first deadline; the failure names the one that passed.
    pub(super) fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let complete_at = self.deadlines.complete_at;
        let route_end = complete_at.zip(self.plan.timeout).and_then(|(from, after)| from.checked_add(after));
        let route_end = route_end.into_iter().chain(self.deadlines.response_end).min();
        let (try_end, idle_limit, section) = (self.try_end(), self.idle_limit(), self.update_section());
        let section_end = section.map(|(end, _)| end);
        let is_awaited = !self.request.is_complete() && !self.response.has_head();
        let request_end = self.deadlines.request_end.filter(|_| is_awaited);
        if !self.deadlines.is_armed {
            self.deadlines.is_armed = true;
            match idle_limit {
                Some((limit, _)) => self.deadlines.timer.set(limit),
                None => self.deadlines.timer.clear(),
            }
            if let Some(end) = route_end.into_iter().chain(try_end).chain(request_end).chain(section_end).min() {
                self.deadlines.timer.set_no_later(end);
            }
        }
        if !self.deadlines.timer.expired(context) {
            return Poll::Pending;
        }
        let now = Instant::now();
        let over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        let failure = match (idle_limit, section) {
            _ if over(route_end) => Failure::Timeout,
            _ if over(try_end) => Failure::TryTimeout,
            _ if over(request_end) => Failure::RequestTimeout,
            (_, Some((_, failure))) if over(section_end) => failure,
            (Some((_, failure)), _) => failure,
            (None, _) => Failure::Timeout,
        };
        Poll::Ready(failure)
    }

    /// The deadline of the per-try timeout.
    fn try_end(&self) -> Option<Instant> {
        let (policy, _) = self.retries.policy.filter(|_| !self.response.has_head())?;
        self.deadlines.try_from?.checked_add(policy.per_try_timeout?)
    }

    /// Starts or clears the clock of an incomplete head or trailer section; its deadline and failure. The idle timeout does not cover this: a peer may send one octet
    /// at a time.
    fn update_section(&mut self) -> Option<(Instant, Failure)> {
        let (limit, failure) = if self.response.has_partial_section() {
            (Some(self.worker.limits.head_timeout).filter(|limit| !limit.is_zero()), Failure::HeadTimeout)
        } else if self.request.is_in_trailers() {
            (self.facts.client.head_limit(self.worker), Failure::BodyTimeout)
        } else {
            self.deadlines.section_begun = None;
            return None;
        };
        let begun = *self.deadlines.section_begun.get_or_insert_with(Instant::now);
        begun.checked_add(limit?).map(|end| (end, failure))
    }

    /// The current idle timeout, and its failure.
    fn idle_limit(&self) -> Option<(Duration, Failure)> {
        let limits = &self.worker.limits;
        let (usual, failure) = match () {
            () if !self.response.is_flushed() => (limits.write_timeout, Failure::ClientStuck),
            // Only the mesh sets an idle timeout for what follows the head of a response (S-121).
            () if self.response.has_head() => (Duration::ZERO, self.idle_failure()),
            () if self.request.awaits_body() => (limits.body_timeout, self.idle_failure()),
            () if self.request.awaits_backend() => (limits.write_timeout, self.idle_failure()),
            // The same holds while a backend with the whole request has not answered.
            () => (Duration::ZERO, self.idle_failure()),
        };
        self.facts.client.stream_idle_timeout(usual).map(|limit| (limit, failure))
    }

    /// The failure of a stream that is idle for too long. As in Envoy, the status is 408 until the end of the request is received, and 504 then.
    fn idle_failure(&self) -> Failure {
        if self.request.is_complete() { Failure::StreamIdle } else { Failure::BodyTimeout }
    }
}
