//! Whether a retriable response is retried: decided when its head arrives, before anything of it is sent to the client.

use crate::http::plan::Plan;
use crate::http::retry::{NoRetryReason, RetryState};
use ir::Retries;
use upstream::Counted;

/// Whether a retriable response is retried.
pub(super) struct ResponseRetries<'a> {
    /// The route's policy, and the number of retries left.
    pub(super) policy: Option<(&'a Retries, u32)>,
    /// Whether the attempt has a permit within the cluster's limit on retries, and the permit acquired for the next attempt.
    has_permit: bool,
    pub(super) permit: Option<Counted>,
    /// Why a retriable response is sent to the client.
    pub(super) no_retry: NoRetryReason,
}

impl<'a> ResponseRetries<'a> {
    pub(super) fn new(plan: &'a Plan, retry: &RetryState<Counted>) -> Self {
        let policy = plan.retry_policy();
        Self {
            policy: policy.retries.map(|retries| (retries, retry.remaining(policy))),
            has_permit: retry.has_permit(),
            permit: None,
            no_retry: NoRetryReason::NotRetriable,
        }
    }

    /// Whether the policy may retry the request; the default policy checks only gRPC responses.
    pub(super) fn may_retry(&self, plan: &Plan) -> bool {
        self.policy.is_some_and(|(policy, left)| left > 0 && (!policy.implied || plan.dialect.is_some()))
    }

    /// Whether a response that the policy retries is retried. `can_repeat` says whether the request can be sent again.
    pub(super) fn admit(&mut self, plan: &Plan, can_repeat: bool) -> bool {
        if self.policy.is_none_or(|(_, left)| left == 0) {
            self.no_retry = NoRetryReason::Exhausted;
            return false;
        }
        if !can_repeat {
            return false;
        }
        if !self.has_permit {
            // Acquired before the response is dropped.
            self.permit = plan.cluster.begin_retry();
            if self.permit.is_none() {
                self.no_retry = NoRetryReason::Overflow;
                return false;
            }
        }
        true
    }
}
