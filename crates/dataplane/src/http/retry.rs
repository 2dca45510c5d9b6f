//! How often a request was sent, and whether it is sent again: for a route's policy (VS-40, VS-41), and once for nothing, when a connection
//! that had been idle turned out to be closed (RULES on replay).

use super::decide::Plan;
use super::flow::{Failure, Flow};
use crate::conn::{ExchangeBuffers, Worker};
use crate::metrics::add;
use crate::reasons::Flags;
use ir::{Broken, Retries};
use smallvec::SmallVec;
use std::time::Duration;
use upstream::Counted;

/// The header that tells the backend which attempt it sees.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
/// The longest wait, in first ones.
const MAX_BACKOFF_FACTOR: u32 = 10;

/// Disposition so many attempts the priorities that they went to are left out.
const PER_PRIORITY: usize = 2;

/// The attempts of one request.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    /// Those of the policy that were begun after the first.
    retries: u32,
    /// Whether the one for nothing was made.
    replayed: bool,
    /// The place of the one under way among all those of the cluster.
    slot: Option<Counted>,
    /// Endpoints that were tried.
    tried: SmallVec<[u64; 2]>,
    /// Priorities of the cluster that are left out (VS-41), and those of attempts since they were last counted.
    excluded: u32,
    since: (u32, usize),
}

/// What comes after an attempt that failed.
pub(super) enum RetryDecision {
    /// Another one, after a while.
    Retry(Duration),
    /// None.
    Stop(NoRetryReason),
}

impl RetryDecision {
    /// What marks what comes of it.
    pub(super) fn flags(&self) -> Flags {
        match self {
            Self::Retry(_) => Flags::NONE,
            Self::Stop(reason) => reason.flags(),
        }
    }
}

/// Why there is no other attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRetryReason {
    /// Nobody wants one.
    NotRetriable,
    /// There were enough.
    Exhausted,
    /// The cluster has as many as it may have at one time (DR-21).
    Overflow,
}

impl RetryState {
    /// Endpoints that are not to be tried again while there are others.
    pub(super) fn avoid(&self, plan: &Plan) -> &[u64] {
        let asked = policy(plan).and_then(|policy| policy.avoid_tried);
        // VS-40: what belongs to one endpoint goes there again, unless somebody says otherwise.
        if asked.unwrap_or_else(|| plan.cluster.config.balance.hash().is_none()) { &self.tried } else { &[] }
    }

    /// An attempt at an endpoint begins.
    pub(super) fn begin(&mut self, plan: &Plan, endpoint: u64) {
        self.tried.push(endpoint);
        if policy(plan).is_some_and(|policy| policy.remote_localities) {
            let (priorities, count) = self.since;
            self.since = (priorities | plan.cluster.priority_bit(endpoint), count + 1);
            // Envoy's previous priorities, as often as Istio asks for them.
            if self.since.1 == PER_PRIORITY {
                (self.excluded, self.since) = (self.excluded | self.since.0, (0, 0));
            }
        }
    }

    /// Priorities of the cluster that are left out.
    pub(super) fn excluded(&self) -> u32 {
        self.excluded
    }

    /// Whether a connection that waited may be taken. Disposition a failure none is trusted.
    pub(super) fn may_use_idle(&self) -> bool {
        self.retries == 0 && !self.replayed
    }

    /// Whether it has a place among those that are sent again.
    pub(super) fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// How many attempts of the policy are left.
    pub(super) fn remaining(&self, plan: &Plan) -> u32 {
        policy(plan).map_or(0, |policy| policy.attempts.saturating_sub(self.retries))
    }

    /// Disposition an endpoint could not be reached: nothing was written, so that every request may be sent elsewhere.
    pub(super) fn after_connect(&mut self, worker: &Worker, plan: &Plan, tried: bool) -> RetryDecision {
        let Some(policy) = policy(plan).filter(|policy| tried && policy.on.broken(Broken::Connect)) else {
            return RetryDecision::Stop(NoRetryReason::NotRetriable);
        };
        // Another endpoint is asked at once.
        let others = plan
            .cluster
            .endpoints()
            .is_some_and(|all| all.iter().any(|one| !one.is_ejected() && !self.tried.contains(&one.id)));
        let avoids = !self.avoid(plan).is_empty();
        self.schedule(worker, (plan, policy), others && avoids)
    }

    /// Disposition an attempt failed on its connection.
    pub(super) fn after_failure(
        &mut self,
        worker: &Worker,
        plan: &Plan,
        flow: &mut Flow<'_>,
        failure: Failure,
    ) -> RetryDecision {
        if !self.replayed && flow.may_replay(failure) {
            self.replayed = true;
            self.tried.clear();
            add(&worker.metrics.replayed);
            // That a connection was closed while it was idle says nothing of the endpoint.
            return RetryDecision::Retry(Duration::ZERO);
        }
        flow.report(failure);
        let how = match failure {
            Failure::UpstreamClosed | Failure::UpstreamProtocol | Failure::HeadTimeout => {
                Broken::Reset { written: flow.is_begun() }
            }
            Failure::UpstreamUnprocessed => Broken::Refused,
            Failure::TryTimeout => Broken::Timeout,
            Failure::Answer => {
                self.slot = self.slot.take().or(flow.take_retry_slot());
                return policy(plan).map_or(RetryDecision::Stop(NoRetryReason::NotRetriable), |policy| {
                    self.schedule(worker, (plan, policy), false)
                });
            }
            _ => return RetryDecision::Stop(NoRetryReason::NotRetriable),
        };
        let wanted = policy(plan).filter(|policy| policy.on.broken(how) && flow.is_repeatable());
        wanted.map_or(RetryDecision::Stop(NoRetryReason::NotRetriable), |policy| {
            self.schedule(worker, (plan, policy), false)
        })
    }

    fn schedule(&mut self, worker: &Worker, (plan, policy): (&Plan, &Retries), at_once: bool) -> RetryDecision {
        if self.retries >= policy.attempts {
            return RetryDecision::Stop(NoRetryReason::Exhausted);
        }
        // The place of the attempt before is this one's.
        self.slot = self.slot.take().or_else(|| plan.cluster.begin_retry());
        if self.slot.is_none() {
            return RetryDecision::Stop(NoRetryReason::Overflow);
        }
        self.retries += 1;
        add(&worker.metrics.retried);
        RetryDecision::Retry(if at_once { Duration::ZERO } else { self.backoff(policy, worker.random()) })
    }

    /// Somewhere below a bound that doubles, so that not all come at the same time.
    fn backoff(&self, policy: &Retries, random: u64) -> Duration {
        let bounds = 2_u32.saturating_pow(self.retries).saturating_sub(1).min(MAX_BACKOFF_FACTOR);
        let bound = policy.backoff.saturating_mul(bounds.max(1)).as_micros();
        Duration::from_micros(u64::try_from(u128::from(random) % bound.max(1)).unwrap_or(0))
    }

    /// The number of the attempt, counted from 1, where it is not the first.
    pub(super) fn attempt_number(&self) -> Option<u32> {
        (self.retries > 0).then(|| self.retries + 1)
    }

    /// Tells the backend in a head that is sent again which attempt it sees.
    pub(super) fn write_attempt_count(&self, buffers: &mut ExchangeBuffers) {
        let Some(attempt_number) = self.attempt_number() else { return };
        // In whatever case the name is written (S-115).
        let named = [b"\r\n", ATTEMPT_COUNT.as_bytes(), b": "].concat();
        let head = memchr::memmem::find(&buffers.up_out, b"\r\n\r\n").unwrap_or(buffers.up_out.len());
        let mut lines = buffers.up_out.get(..head).unwrap_or_default().windows(named.len());
        let Some(start) = lines.position(|line| line.eq_ignore_ascii_case(&named)).map(|at| at + named.len()) else {
            return;
        };
        let rest = buffers.up_out.get(start..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        buffers.up_out.splice(start..start + digits, attempt_number.to_string().into_bytes());
    }

    /// The same for a stream's head.
    pub(super) fn write_stream_attempt_count(&self, head: &mut http::Request<()>) {
        if let (Some(attempt_number), Some(value)) = (self.attempt_number(), head.headers_mut().get_mut(ATTEMPT_COUNT))
        {
            *value = http::HeaderValue::from(attempt_number);
        }
    }
}

/// The policy of the route.
pub(super) fn policy(plan: &Plan) -> Option<&Retries> {
    plan.route.forward()?.retries.as_deref()
}

impl NoRetryReason {
    /// What marks an answer that was to be tried again and was not (TE-05).
    pub(super) fn flags(self) -> Flags {
        match self {
            Self::NotRetriable => Flags::NONE,
            Self::Exhausted => Flags::URX,
            Self::Overflow => Flags::UO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::RetryOn;

    #[test]
    fn vs_40_waits_are_random_below_a_bound_that_doubles_up_to_ten_times_the_first() {
        let policy = Retries { attempts: 9, on: RetryOn::RESET, ..Retries::default() };
        let longest = |retries| {
            let retry = RetryState { retries, ..RetryState::default() };
            (0..10_000_u64).map(|random| retry.backoff(&policy, random * 0x9e37_79b9)).max().unwrap().as_millis()
        };
        assert_eq!([1, 2, 3, 4, 9].map(longest), [24, 74, 174, 249, 249]);
    }
}
