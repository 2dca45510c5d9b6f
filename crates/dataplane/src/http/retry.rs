//! Whether a failed attempt is followed by another one: by the route's policy (VS-40, VS-41), or by one replay when an idle connection turned out
//! to be closed.
//!
//! The decision is pure: it is made over an [`AttemptOutcome`], without a clock, a connection or a cluster; the permit and the random number come from
//! the caller's closures. For a response that the policy repeats, the limits are checked before it is dropped (`attempt::retries`).

use crate::reasons::Flags;
use ir::{Broken, Retries};
use smallvec::SmallVec;
use std::time::Duration;

/// The longest backoff, as a multiple of the base interval.
const MAX_BACKOFF_FACTOR: u32 = 10;

/// After this many attempts, the priorities of their endpoints are excluded.
const PER_PRIORITY: usize = 2;

/// The attempts of one request. `P` is the permit of a retry within the cluster's limit (DR-21), held while the retry lasts.
#[derive(Debug)]
pub(super) struct RetryState<P> {
    /// Retries by the policy.
    retries: u32,
    /// Whether the replay was used.
    replayed: bool,
    /// The permit of the current attempt, if it is a retry.
    permit: Option<P>,
    /// Endpoints of the attempts so far.
    tried: SmallVec<[u64; 2]>,
    /// Excluded priorities of the cluster (VS-41), as a bit set.
    excluded: u32,
    /// The priorities of the attempts since the last exclusion, as a bit set.
    since_priorities: u32,
    /// The number of these attempts.
    since_count: usize,
}

/// The settings of retries for one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPolicy<'a> {
    /// The policy of the route.
    pub(super) retries: Option<&'a Retries>,
    /// Whether the cluster chooses endpoints by a hash of the request.
    pub(super) is_hashed: bool,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct AttemptOutcome<P> {
    pub(super) failure: AttemptFailure,
    /// Whether any octet of the request was written.
    pub(super) is_started: bool,
    /// Whether the request can be sent again: all of it that was received is still there.
    pub(super) is_replayable: bool,
    /// Whether the attempt used a connection that had been idle, and the method is idempotent: the connection may have been closed before the
    /// request arrived.
    pub(super) may_be_stale: bool,
    pub(super) response: ResponseProgress,
    /// A permit that was acquired before a retriable response was dropped.
    pub(super) permit: Option<P>,
}

/// What was received of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseProgress {
    /// No octet.
    Nothing,
    /// A part of its head; the client received nothing.
    PartialHead,
    /// Its head, or an interim response that was sent to the client.
    Begun,
}

/// Why an attempt failed, as far as retries depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptFailure {
    /// No connection to the endpoint could be established.
    Connect {
        /// Whether the cluster has an endpoint in use that was not tried.
        has_others: bool,
    },
    /// The backend closed the connection or stream.
    Closed,
    /// The backend refused the request without processing it.
    Unprocessed,
    /// The response was malformed, or its head did not end in time.
    Protocol,
    /// The per-try timeout ended.
    TryTimeout,
    /// The response is retriable.
    Response,
    /// A failure that no policy retries: of the client, or the end of the route's timeout.
    Final,
}

impl AttemptFailure {
    /// The cause in the terms of the policy.
    fn cause(self, is_started: bool) -> Option<Broken> {
        match self {
            Self::Connect { .. } => Some(Broken::Connect),
            Self::Closed | Self::Protocol => Some(Broken::Reset { written: is_started }),
            Self::Unprocessed => Some(Broken::Refused),
            Self::TryTimeout => Some(Broken::Timeout),
            Self::Response | Self::Final => None,
        }
    }
}

/// What follows an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Another attempt by the policy, after a wait.
    Retry(Duration),
    /// The same request at once, since the connection had been closed: that says nothing about the endpoint.
    Replay,
    /// No further attempt.
    Stop(NoRetryReason),
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

impl<P> Default for RetryState<P> {
    fn default() -> Self {
        Self {
            retries: 0,
            replayed: false,
            permit: None,
            tried: SmallVec::new(),
            excluded: 0,
            since_priorities: 0,
            since_count: 0,
        }
    }
}

impl<P> RetryState<P> {
    /// Endpoints to avoid while there are others.
    pub(super) fn avoid(&self, policy: RetryPolicy<'_>) -> &[u64] {
        let asked = policy.retries.and_then(|retries| retries.avoid_tried);
        // VS-40: with consistent hashing a retry goes to the same endpoint, unless the policy says otherwise.
        if asked.unwrap_or(!policy.is_hashed) { &self.tried } else { &[] }
    }

    /// Whether an attempt was made at an endpoint.
    pub(super) fn has_tried(&self, endpoint: u64) -> bool {
        self.tried.contains(&endpoint)
    }

    /// Records the start of an attempt at an endpoint; `priority` is the bit of its priority.
    pub(super) fn begin(&mut self, policy: RetryPolicy<'_>, endpoint: u64, priority: impl FnOnce() -> u32) {
        self.tried.push(endpoint);
        if policy.retries.is_some_and(|retries| retries.remote_localities) {
            self.since_priorities |= priority();
            self.since_count += 1;
            // Envoy's previous-priorities predicate with Istio's update frequency.
            if self.since_count == PER_PRIORITY {
                self.excluded |= std::mem::take(&mut self.since_priorities);
                self.since_count = 0;
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

    /// Whether the attempt has a permit within the cluster's limit on retries.
    pub(super) fn has_permit(&self) -> bool {
        self.permit.is_some()
    }

    /// How many retries the policy still allows.
    pub(super) fn remaining(&self, policy: RetryPolicy<'_>) -> u32 {
        policy.retries.map_or(0, |retries| retries.attempts.saturating_sub(self.retries))
    }

    /// Decides after a failed attempt. `acquire` acquires a permit within the cluster's limit on retries; `random` is for the backoff.
    pub(super) fn decide(
        &mut self,
        policy: RetryPolicy<'_>,
        outcome: AttemptOutcome<P>,
        acquire: impl FnOnce() -> Option<P>,
        random: impl FnOnce() -> u64,
    ) -> RetryDecision {
        if !self.replayed && may_replay(policy, &outcome) {
            self.replayed = true;
            self.tried.clear();
            return RetryDecision::Replay;
        }
        let Some(retries) = policy.retries.filter(|retries| is_retriable(retries, &outcome)) else {
            return RetryDecision::Stop(NoRetryReason::NotRetriable);
        };
        if self.retries >= retries.attempts {
            return RetryDecision::Stop(NoRetryReason::Exhausted);
        }
        // The permit of the previous attempt is reused.
        self.permit = self.permit.take().or(outcome.permit).or_else(acquire);
        if self.permit.is_none() {
            return RetryDecision::Stop(NoRetryReason::Overflow);
        }
        self.retries += 1;
        let has_others = outcome.failure == AttemptFailure::Connect { has_others: true };
        // Another endpoint is tried without a wait.
        let at_once = has_others && !self.avoid(policy).is_empty();
        RetryDecision::Retry(if at_once { Duration::ZERO } else { self.backoff(retries, random()) })
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
}

/// Whether the request is replayed without a policy: the backend refused it, nothing of it was written, or it was written to a
/// connection that may have been closed before, and the route has no policy of its own. No octet of a response may have arrived.
fn may_replay<P>(policy: RetryPolicy<'_>, outcome: &AttemptOutcome<P>) -> bool {
    let is_implied = policy.retries.is_some_and(|retries| retries.implied);
    let is_unanswered = match outcome.failure {
        AttemptFailure::Unprocessed => true,
        AttemptFailure::Closed => !outcome.is_started || (is_implied && outcome.may_be_stale),
        _ => false,
    };
    is_unanswered && outcome.response == ResponseProgress::Nothing && outcome.is_replayable
}

fn is_retriable<P>(retries: &Retries, outcome: &AttemptOutcome<P>) -> bool {
    let can_repeat = outcome.response != ResponseProgress::Begun && outcome.is_replayable;
    match outcome.failure.cause(outcome.is_started) {
        Some(cause) => can_repeat && retries.on.broken(cause),
        // The response was compared with the policy when it arrived.
        None => outcome.failure == AttemptFailure::Response,
    }
}

impl RetryDecision {
    /// The wait before the next attempt, if there is one.
    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::Retry(wait) => Some(wait),
            Self::Replay => Some(Duration::ZERO),
            Self::Stop(_) => None,
        }
    }

    /// The response flags that the decision adds.
    pub(super) fn flags(self) -> Flags {
        match self {
            Self::Retry(_) | Self::Replay => Flags::NONE,
            Self::Stop(reason) => reason.flags(),
        }
    }
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
mod tests;
