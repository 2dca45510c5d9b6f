//! What the policies of the workload decided on a stream.

use routing::authorization::Verdict;

/// What the AuthorizationPolicies decided (AP-02, AP-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyResult {
    /// Whether the enforced policies allowed it.
    pub(crate) is_allowed: bool,
    /// Whether an `AUDIT` rule matched.
    pub(crate) is_audited: bool,
    /// Whether the `DENY` policies that are a dry run would have allowed it, if there are any.
    pub(crate) dry_run_deny: Option<bool>,
    /// Whether the `ALLOW` policies that are a dry run would have allowed it, if there are any.
    pub(crate) dry_run_allow: Option<bool>,
}

/// What a service for external authorization decided (AP-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckResult {
    Allowed,
    Denied,
    /// It made no decision, whatever followed.
    Failed,
}

impl From<&Verdict<'_>> for PolicyResult {
    fn from(verdict: &Verdict<'_>) -> Self {
        Self {
            is_allowed: verdict.decision.is_allowed(),
            is_audited: verdict.audited.is_some(),
            dry_run_deny: verdict.dry_run_deny.map(|decision| decision.is_allowed()),
            dry_run_allow: verdict.dry_run_allow.map(|decision| decision.is_allowed()),
        }
    }
}
