//! What the policies of the workload decided on a stream, and how the access log names it.

use ir::MetadataKey;
use routing::authorization::{self, DryRun, Verdict};
use std::sync::Arc;

/// What the AuthorizationPolicies decided (AP-02, AP-16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyResult {
    /// Whether the enforced policies allowed it.
    pub(crate) is_allowed: bool,
    /// Whether an `AUDIT` rule matched, if there are any.
    pub(crate) audited: Option<bool>,
    /// What the `DENY` policies that are a dry run decided, if there are any.
    pub(crate) dry_run_deny: Option<DryRunResult>,
    /// What the `ALLOW` policies that are a dry run decided, if there are any.
    pub(crate) dry_run_allow: Option<DryRunResult>,
}

/// What policies of one action that are a dry run decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DryRunResult {
    pub(crate) is_allowed: bool,
    /// The name of the rule that matched.
    rule: Option<Arc<str>>,
}

/// What a service for external authorization decided (AP-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckResult {
    Allowed,
    Denied,
    /// It made no decision, whatever followed.
    Failed,
}

impl From<DryRun<'_>> for DryRunResult {
    fn from(dry_run: DryRun<'_>) -> Self {
        Self { is_allowed: dry_run.is_allowed, rule: dry_run.rule.map(|rule| Arc::clone(&rule.name)) }
    }
}

impl From<&Verdict<'_>> for PolicyResult {
    fn from(verdict: &Verdict<'_>) -> Self {
        Self {
            is_allowed: verdict.decision.is_allowed(),
            audited: verdict.audited,
            dry_run_deny: verdict.dry_run_deny.map(DryRunResult::from),
            dry_run_allow: verdict.dry_run_allow.map(DryRunResult::from),
        }
    }
}

impl DryRunResult {
    /// Why it would deny the stream if it were enforced, as the log would say it; `None` where it would not.
    fn denial(&self) -> Option<String> {
        (!self.is_allowed).then(|| authorization::denial(self.rule.as_deref()))
    }
}

impl PolicyResult {
    /// Why policies that are a dry run would deny the stream, if they were enforced.
    pub(crate) fn dry_run_denials(&self) -> impl Iterator<Item = String> {
        [&self.dry_run_deny, &self.dry_run_allow].into_iter().flatten().filter_map(DryRunResult::denial)
    }

    /// What Envoy's filter records of a dry run under the keys that Istio configures; nothing under other keys.
    pub(super) fn dry_run(&self, key: &MetadataKey) -> Option<&str> {
        let [key] = &*key.path else { return None };
        let (result, field) = match key.strip_prefix("istio_dry_run_deny_") {
            Some(field) => (&self.dry_run_deny, field),
            None => (&self.dry_run_allow, key.strip_prefix("istio_dry_run_allow_")?),
        };
        let result = result.as_ref()?;
        match field {
            "shadow_effective_policy_id" => result.rule.as_deref(),
            "shadow_engine_result" => Some(if result.is_allowed { "allowed" } else { "denied" }),
            _ => None,
        }
    }

    /// What Envoy's filter records for `AUDIT`.
    pub(super) fn audit(&self, key: &MetadataKey) -> Option<&'static str> {
        let is_hint = matches!(&*key.path, [key] if &**key == "access_log_hint");
        self.audited.filter(|_| is_hint).map(|audited| if audited { "true" } else { "false" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::MetadataNamespace;

    #[test]
    fn ap_16_a_dry_run_is_recorded_under_the_keys_of_istio() {
        let result = PolicyResult {
            is_allowed: true,
            audited: Some(false),
            dry_run_deny: Some(DryRunResult { is_allowed: false, rule: Some("ns[a]-policy[b]-rule[0]".into()) }),
            dry_run_allow: Some(DryRunResult { is_allowed: false, rule: None }),
        };
        let key = |path: &[&str]| MetadataKey {
            namespace: MetadataNamespace::HttpAuthorization,
            path: path.iter().copied().map(Arc::from).collect(),
        };
        let rows: &[(&[&str], Option<&str>)] = &[
            (&["istio_dry_run_deny_shadow_effective_policy_id"], Some("ns[a]-policy[b]-rule[0]")),
            (&["istio_dry_run_deny_shadow_engine_result"], Some("denied")),
            (&["istio_dry_run_allow_shadow_effective_policy_id"], None),
            (&["istio_dry_run_allow_shadow_engine_result"], Some("denied")),
            (&["istio_dry_run_allow_shadow_engine_result", "a"], None),
            (&["shadow_engine_result"], None),
        ];
        for (path, value) in rows {
            assert_eq!(result.dry_run(&key(path)), *value, "{path:?}");
        }
        assert_eq!(result.audit(&key(&["access_log_hint"])), Some("false"));
        assert_eq!(result.audit(&key(&["other"])), None);
        let unaudited = PolicyResult { audited: None, dry_run_deny: None, ..result };
        assert_eq!(unaudited.audit(&key(&["access_log_hint"])), None);
        assert_eq!(unaudited.dry_run(&key(&["istio_dry_run_deny_shadow_engine_result"])), None);
    }
}
