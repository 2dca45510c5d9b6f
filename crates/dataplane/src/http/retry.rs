//! The attempts of one request, and whether there is another one: by the route's policy (VS-40, VS-41), or one replay when an idle connection
//! turned out to be closed (RULES on replay).

use super::decide::Plan;
use super::flow::{Failure, Flow};
use crate::conn::{ExchangeBuffers, Worker};
use crate::metrics::add;
use crate::reasons::Flags;
use ir::{Broken, Retries};
use smallvec::SmallVec;
use std::time::Duration;
use upstream::Counted;

/// The header with the number of the attempt.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
/// The longest backoff, as a multiple of the base interval.
const MAX_BACKOFF_FACTOR: u32 = 10;

/// After this many attempts, the priorities of their endpoints are excluded.
const PER_PRIORITY: usize = 2;

/// The attempts of one request.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    /// Retries by the policy.
    retries: u32,
    /// Whether the replay was used.
    replayed: bool,
    /// The slot of the current attempt within the cluster's limit on retries.
    slot: Option<Counted>,
    /// Endpoints of the attempts so far.
    tried: SmallVec<[u64; 2]>,
    /// Excluded priorities of the cluster (VS-41), as a bit set.
    excluded: u32,
    since: (u32, usize),
}

/// What follows an attempt that failed.
pub(super) enum RetryDecision {
    /// Another attempt, after a wait.
    Retry(Duration),
    /// None.
    Stop(NoRetryReason),
}

impl RetryDecision {
    /// The response flags that the decision adds.
    pub(super) fn flags(&self) -> Flags {
        match self {
            Self::Retry(_) => Flags::NONE,
            Self::Stop(reason) => reason.flags(),
        }
    }
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRetryReason {
    /// No policy asks for one.
    NotRetriable,
    /// The policy's number of attempts is reached.
    Exhausted,
    /// The cluster is at its limit on concurrent retries (DR-21).
    Overflow,
}

impl RetryState {
    /// Endpoints to avoid while there are others.
    pub(super) fn avoid(&self, plan: &Plan) -> &[u64] {
        let asked = policy(plan).and_then(|policy| policy.avoid_tried);
        // VS-40: with consistent hashing a retry goes to the same endpoint, unless the policy says otherwise.
        if asked.unwrap_or_else(|| plan.cluster.config.balance.hash().is_none()) { &self.tried } else { &[] }
    }

    /// Records the start of an attempt at an endpoint.
    pub(super) fn begin(&mut self, plan: &Plan, endpoint: u64) {
        self.tried.push(endpoint);
        if policy(plan).is_some_and(|policy| policy.remote_localities) {
            let (priorities, count) = self.since;
            self.since = (priorities | plan.cluster.priority_bit(endpoint), count + 1);
            // Envoy's previous-priorities predicate with Istio's update frequency.
            if self.since.1 == PER_PRIORITY {
                (self.excluded, self.since) = (self.excluded | self.since.0, (0, 0));
            }
        }
    }

    /// Excluded priorities of the cluster, as a bit set.
    pub(super) fn excluded(&self) -> u32 {
        self.excluded
    }

    /// Whether the attempt may use an idle connection. After a failure it may not.
    pub(super) fn may_use_idle(&self) -> bool {
        self.retries == 0 && !self.replayed
    }

    /// Whether the request has a slot within the cluster's limit on retries.
    pub(super) fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// How many retries the policy still allows.
    pub(super) fn remaining(&self, plan: &Plan) -> u32 {
        policy(plan).map_or(0, |policy| policy.attempts.saturating_sub(self.retries))
    }

    /// Decides after a failed connect: nothing was written, so every request may go to another endpoint.
    pub(super) fn after_connect(&mut self, worker: &Worker, plan: &Plan, tried: bool) -> RetryDecision {
        let Some(policy) = policy(plan).filter(|policy| tried && policy.on.broken(Broken::Connect)) else {
            return RetryDecision::Stop(NoRetryReason::NotRetriable);
        };
        // Another endpoint is tried without a wait.
        let others = plan
            .cluster
            .endpoints()
            .is_some_and(|all| all.iter().any(|one| !one.is_ejected() && !self.tried.contains(&one.id)));
        let avoids = !self.avoid(plan).is_empty();
        self.schedule(worker, (plan, policy), others && avoids)
    }

    /// Decides after an attempt failed on its connection.
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
            // A connection that was closed while idle says nothing about the endpoint.
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
        // The slot of the previous attempt is reused.
        self.slot = self.slot.take().or_else(|| plan.cluster.begin_retry());
        if self.slot.is_none() {
            return RetryDecision::Stop(NoRetryReason::Overflow);
        }
        self.retries += 1;
        add(&worker.metrics.retried);
        RetryDecision::Retry(if at_once { Duration::ZERO } else { self.backoff(policy, worker.random()) })
    }

    /// A random wait below a bound that doubles, so that retries do not come at the same time.
    fn backoff(&self, policy: &Retries, random: u64) -> Duration {
        let bounds = 2_u32.saturating_pow(self.retries).saturating_sub(1).min(MAX_BACKOFF_FACTOR);
        let bound = policy.backoff.saturating_mul(bounds.max(1)).as_micros();
        Duration::from_micros(u64::try_from(u128::from(random) % bound.max(1)).unwrap_or(0))
    }

    /// The number of the attempt, counted from 1; `None` for the first.
    pub(super) fn attempt_number(&self) -> Option<u32> {
        (self.retries > 0).then(|| self.retries + 1)
    }

    /// Writes the number of the attempt into the head that is sent again.
    pub(super) fn write_attempt_count(&self, buffers: &mut ExchangeBuffers) {
        let Some(attempt_number) = self.attempt_number() else { return };
        // The name may be written in any case (S-115).
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

    /// The same for the head of an HTTP/2 stream.
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
    /// The response flags of a response that was not retried (TE-05).
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
