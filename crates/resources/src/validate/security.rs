//! Which workloads the security policies are for (AP-01).

use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::security::{PeerAuthentication, Policy};

/// How many target references a policy may have.
const MAX_REFS: usize = 16;

macro_rules! policies {
    ($($kind:ident)+) => {
        $(impl Spec for $kind {
            const KIND: Kind = Kind::$kind;
            fn validate(&self, _key: &Key, findings: &mut Findings) {
                findings.at("spec", |findings| check_targets(self, findings));
            }
        })+
    };
}

policies! { PeerAuthentication }

/// Whether a policy selects workloads in two ways.
pub(super) fn has_two_selections(policy: &impl Policy) -> bool {
    let targets = policy.targets();
    targets.selector.is_some() && !targets.refs.is_empty()
}

pub(super) fn check_targets(policy: &impl Policy, findings: &mut Findings) {
    let targets = policy.targets();
    if has_two_selections(policy) {
        let message = "a policy cannot have both `selector` and target references";
        findings.error("selector", code::POLICY_TARGETS, message, "keep one of them");
    }
    if targets.refs.len() > MAX_REFS {
        let message = format!("there are {} target references, more than the {MAX_REFS} allowed", targets.refs.len());
        findings.error("targetRefs", code::POLICY_TARGETS, message, "split the policy");
    }
    for (name, value) in targets.selector.into_iter().flatten() {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            let message = format!("a selector has no wildcards and no empty names: `{name}={value}`");
            findings.error("selector.matchLabels", code::POLICY_TARGETS, message, "name the labels of the workloads");
        }
    }
}
