//! Whether a request or a connection is allowed by the AuthorizationPolicies of a workload (AP-02 to AP-16): a pure decision over facts.
//!
//! [`ActionIndex::decide`] finds the first rule that matches, in the order of the names, with an index of the rules; [`judge()`] judges every
//! rule, for `explain`. Both call the same function for one rule.

mod facts;
mod index;
mod judge;
mod keys;

pub use facts::{AccessFacts, ConnectionAccess};
pub use judge::{RuleMismatch, judge};

use index::RuleIndex;
use ir::policy::{ActionRules, Authorization, AuthorizationRule, RuleList};

/// The policies of a workload, with an index of their rules.
#[derive(Debug)]
pub struct Authorizer {
    /// For HTTP requests.
    pub requests: ActionIndex,
    /// For connections whose bytes are passed on.
    pub connections: ActionIndex,
}

/// Rules by action.
#[derive(Debug)]
pub struct ActionIndex {
    audit: Option<RuleIndex>,
    deny: Option<RuleIndex>,
    allow: Option<RuleIndex>,
    dry_run_deny: Option<RuleIndex>,
    dry_run_allow: Option<RuleIndex>,
    /// Whether a condition looks at a header.
    has_headers: bool,
}

/// The decision on a request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// What is enforced.
    pub decision: PolicyDecision<'r>,
    /// Whether an `AUDIT` rule matches, if there are any.
    pub audited: Option<bool>,
    /// What the `DENY` policies that are a dry run decide, if there are any (AP-16).
    pub dry_run_deny: Option<DryRun<'r>>,
    /// What the `ALLOW` policies that are a dry run decide, if there are any.
    pub dry_run_allow: Option<DryRun<'r>>,
}

/// What policies of one action that are a dry run decide by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRun<'r> {
    /// Whether they would allow the request or connection.
    pub is_allowed: bool,
    /// The rule that matches.
    pub rule: Option<&'r AuthorizationRule>,
}

/// A decision of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyDecision<'r> {
    /// Allowed: no `DENY` rule matches, and an `ALLOW` rule does, where there is one.
    Allowed,
    /// A `DENY` rule matches.
    Denied(&'r AuthorizationRule),
    /// There are `ALLOW` policies, and none of their rules matches (AP-03).
    NotAllowed,
}

impl PolicyDecision<'_> {
    /// Whether the request or connection goes on.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }

    /// Envoy's detail of a denial: `rbac_access_denied_matched_policy[…]`, in which white space becomes `_`.
    pub fn detail(&self) -> String {
        denial(match self {
            Self::Denied(rule) => Some(&rule.name),
            Self::Allowed | Self::NotAllowed => None,
        })
    }
}

/// Envoy's detail of a denial by a rule of this name, or because no rule allows it.
pub fn denial(rule: Option<&str>) -> String {
    format!("rbac_access_denied_matched_policy[{}]", rule.unwrap_or("none").replace(char::is_whitespace, "_"))
}

impl Authorizer {
    /// Indexes the rules.
    pub fn build(authorization: &Authorization) -> Self {
        let Authorization { requests, connections } = authorization;
        Self { requests: ActionIndex::build(requests), connections: ActionIndex::build(connections) }
    }
}

impl ActionIndex {
    /// Indexes the rules of one protocol.
    pub fn build(rules: &ActionRules) -> Self {
        let ActionRules { audit, deny, allow, dry_run_deny, dry_run_allow } = rules;
        let index = |rules: &Option<RuleList>| rules.as_ref().map(RuleIndex::build);
        let all = [audit, deny, allow, dry_run_deny, dry_run_allow].into_iter().flatten();
        let has_headers = all.flat_map(|rules| rules.iter()).any(|rule| judge::looks_at_headers(rule));
        Self {
            audit: index(audit),
            deny: index(deny),
            allow: index(allow),
            dry_run_deny: index(dry_run_deny),
            dry_run_allow: index(dry_run_allow),
            has_headers,
        }
    }

    /// Whether a condition looks at a header, so that the facts need the edits of the head.
    pub fn has_headers(&self) -> bool {
        self.has_headers
    }

    /// Decides.
    pub fn decide<'r>(&'r self, facts: &AccessFacts<'_>) -> Verdict<'r> {
        let first = |index: &'r Option<RuleIndex>| index.as_ref().map(|index| index.first(facts));
        let deny = |found: Option<Option<&'r AuthorizationRule>>| {
            found.flatten().map_or(PolicyDecision::Allowed, PolicyDecision::Denied)
        };
        let allow = |found: Option<&'r AuthorizationRule>| {
            found.map_or(PolicyDecision::NotAllowed, |_| PolicyDecision::Allowed)
        };
        let denied = deny(first(&self.deny));
        let decision = match first(&self.allow).filter(|_| denied.is_allowed()) {
            Some(found) => allow(found),
            None => denied,
        };
        Verdict {
            decision,
            audited: first(&self.audit).map(|rule| rule.is_some()),
            dry_run_deny: first(&self.dry_run_deny).map(|rule| DryRun { is_allowed: rule.is_none(), rule }),
            dry_run_allow: first(&self.dry_run_allow).map(|rule| DryRun { is_allowed: rule.is_some(), rule }),
        }
    }
}

#[cfg(test)]
mod tests;
