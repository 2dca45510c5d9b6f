//! How often a request was sent, and whether it is sent again: for a route's policy (VS-40, VS-41), and once for nothing, when a connection
//! that had been idle turned out to be closed (RULES on replay).

use super::decide::Plan;
use super::flow::{Failure, Flow};
use crate::conn::{Space, Worker};
use crate::metrics::add;
use crate::reasons::Flags;
use ir::{Broken, Retries};
use smallvec::SmallVec;
use std::time::Duration;
use upstream::Counted;

/// The header that tells the backend which attempt it sees.
const ATTEMPT: &str = "x-envoy-attempt-count";
/// The longest wait, in first ones.
const LONGEST: u32 = 10;

/// After so many attempts the priorities that they went to are left out.
const PER_PRIORITY: usize = 2;

/// The attempts of one request.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Those of the policy that were begun after the first.
    made: u32,
    /// Whether the one for nothing was made.
    replayed: bool,
    /// The place of the one under way among all those of the cluster.
    place: Option<Counted>,
    /// Endpoints that were tried.
    tried: SmallVec<[u64; 2]>,
    /// Priorities of the cluster that are left out (VS-41), and those of attempts since they were last counted.
    excluded: u32,
    since: (u32, usize),
}

/// What comes after an attempt that failed.
pub(super) enum Next {
    /// Another one, after a while.
    Again(Duration),
    /// None.
    End(End),
}

impl Next {
    /// What marks what comes of it.
    pub(super) fn flags(&self) -> Flags {
        match self {
            Self::Again(_) => Flags::NONE,
            Self::End(end) => end.flags(),
        }
    }
}

/// Why there is no other attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody wants one.
    Unwanted,
    /// There were enough.
    Exhausted,
    /// The cluster has as many as it may have at one time (DR-21).
    Overflow,
}

impl Tries {
    /// Endpoints that are not to be tried again while there are others.
    pub(super) fn avoid(&self, plan: &Plan) -> &[u64] {
        let asked = policy(plan).and_then(|policy| policy.avoid_tried);
        // VS-40: what belongs to one endpoint goes there again, unless somebody says otherwise.
        if asked.unwrap_or_else(|| plan.cluster.cluster.balance.hash().is_none()) { &self.tried } else { &[] }
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

    /// Whether a connection that waited may be taken. After a failure none is trusted.
    pub(super) fn trusts_idle(&self) -> bool {
        self.made == 0 && !self.replayed
    }

    /// Whether it has a place among those that are sent again.
    pub(super) fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// How many attempts of the policy are left.
    pub(super) fn left(&self, plan: &Plan) -> u32 {
        policy(plan).map_or(0, |policy| policy.attempts.saturating_sub(self.made))
    }

    /// After an endpoint could not be reached: nothing was written, so that every request may be sent elsewhere.
    pub(super) fn after_connect(&mut self, worker: &Worker, plan: &Plan, tried: bool) -> Next {
        let Some(policy) = policy(plan).filter(|policy| tried && policy.on.broken(Broken::Connect)) else {
            return Next::End(End::Unwanted);
        };
        // Another endpoint is asked at once.
        let others = plan
            .cluster
            .endpoints()
            .is_some_and(|all| all.iter().any(|one| !one.is_ejected() && !self.tried.contains(&one.id)));
        let avoids = !self.avoid(plan).is_empty();
        self.again(worker, (plan, policy), others && avoids)
    }

    /// After an attempt failed on its connection.
    pub(super) fn after_failure(
        &mut self,
        worker: &Worker,
        plan: &Plan,
        flow: &mut Flow<'_>,
        failure: Failure,
    ) -> Next {
        if !self.replayed && flow.may_replay(failure) {
            self.replayed = true;
            self.tried.clear();
            add(&worker.metrics.replayed);
            // That a connection was closed while it was idle says nothing of the endpoint.
            return Next::Again(Duration::ZERO);
        }
        flow.report(failure);
        let how = match failure {
            Failure::UpstreamClosed | Failure::UpstreamProtocol | Failure::HeadTimeout => {
                Broken::Reset { written: flow.is_begun() }
            }
            Failure::UpstreamUnprocessed => Broken::Refused,
            Failure::TryTimeout => Broken::Timeout,
            Failure::Answer => {
                self.place = self.place.take().or(flow.take_place());
                return policy(plan)
                    .map_or(Next::End(End::Unwanted), |policy| self.again(worker, (plan, policy), false));
            }
            _ => return Next::End(End::Unwanted),
        };
        let wanted = policy(plan).filter(|policy| policy.on.broken(how) && flow.is_repeatable());
        wanted.map_or(Next::End(End::Unwanted), |policy| self.again(worker, (plan, policy), false))
    }

    fn again(&mut self, worker: &Worker, (plan, policy): (&Plan, &Retries), at_once: bool) -> Next {
        if self.made >= policy.attempts {
            return Next::End(End::Exhausted);
        }
        // The place of the attempt before is this one's.
        self.place = self.place.take().or_else(|| plan.cluster.begin_retry());
        if self.place.is_none() {
            return Next::End(End::Overflow);
        }
        self.made += 1;
        add(&worker.metrics.retried);
        Next::Again(if at_once { Duration::ZERO } else { self.wait(policy, worker.random()) })
    }

    /// Somewhere below a bound that doubles, so that not all come at the same time.
    fn wait(&self, policy: &Retries, random: u64) -> Duration {
        let bounds = 2_u32.saturating_pow(self.made).saturating_sub(1).min(LONGEST);
        let bound = policy.backoff.saturating_mul(bounds.max(1)).as_micros();
        Duration::from_micros(u64::try_from(u128::from(random) % bound.max(1)).unwrap_or(0))
    }

    /// The number of the attempt, counted from 1, where it is not the first.
    pub(super) fn number(&self) -> Option<u32> {
        (self.made > 0).then(|| self.made + 1)
    }

    /// Tells the backend in a head that is sent again which attempt it sees.
    pub(super) fn renumber(&self, space: &mut Space) {
        let Some(number) = self.number() else { return };
        // In whatever case the name is written (S-115).
        let named = [b"\r\n", ATTEMPT.as_bytes(), b": "].concat();
        let head = memchr::memmem::find(&space.up_out, b"\r\n\r\n").unwrap_or(space.up_out.len());
        let mut lines = space.up_out.get(..head).unwrap_or_default().windows(named.len());
        let Some(start) = lines.position(|line| line.eq_ignore_ascii_case(&named)).map(|at| at + named.len()) else {
            return;
        };
        let rest = space.up_out.get(start..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        space.up_out.splice(start..start + digits, number.to_string().into_bytes());
    }

    /// The same for a stream's head.
    pub(super) fn renumber_stream(&self, head: &mut http::Request<()>) {
        if let (Some(number), Some(value)) = (self.number(), head.headers_mut().get_mut(ATTEMPT)) {
            *value = http::HeaderValue::from(number);
        }
    }
}

/// The policy of the route.
pub(super) fn policy(plan: &Plan) -> Option<&Retries> {
    plan.route.forward()?.retries.as_deref()
}

impl End {
    /// What marks an answer that was to be tried again and was not (TE-05).
    pub(super) fn flags(self) -> Flags {
        match self {
            Self::Unwanted => Flags::NONE,
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
        let longest = |made| {
            let tries = Tries { made, ..Tries::default() };
            (0..10_000_u64).map(|random| tries.wait(&policy, random * 0x9e37_79b9)).max().unwrap().as_millis()
        };
        assert_eq!([1, 2, 3, 4, 9].map(longest), [24, 74, 174, 249, 249]);
    }
}
