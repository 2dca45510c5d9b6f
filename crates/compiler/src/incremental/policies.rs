//! What each workload demands of requests and connections, put together anew when a policy changes.

use super::dirty::Dirty;
use super::step::Step;
use crate::context::CompileContext;
use crate::policies::{PolicyRules, TrustDomains, rules_of, workloads_of};
use ir::WorkloadName;
use ir::policy::{ActionRules, Authorization, AuthorizationRule, Policies, RuleList};
use resources::key::{Key, Kind};
use resources::spec::security::{AuthorizationAction, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The policies by workload.
#[derive(Debug, Default)]
pub(super) struct WorkloadPolicies {
    of: BTreeMap<WorkloadName, Demanded>,
}

/// What one workload demands.
#[derive(Debug, Default)]
struct Demanded {
    /// The rules of each AuthorizationPolicy for it.
    authorization: BTreeMap<Key, Arc<PolicyRules>>,
    policies: Policies,
}

impl WorkloadPolicies {
    /// What a workload demands.
    pub(super) fn of(&self, workload: &WorkloadName) -> Policies {
        self.of.get(workload).map(|demanded| demanded.policies.clone()).unwrap_or_default()
    }

    /// Compiles the policies that are dirty, puts together what depends on them, and returns the workloads that demand something else now.
    pub(super) fn compile(
        &mut self,
        context: CompileContext<'_>,
        dirty: &Dirty,
        step: &mut Step,
    ) -> BTreeSet<WorkloadName> {
        let touched = self.authorization(context, dirty, step);
        let mut different = BTreeSet::new();
        for workload in touched {
            let Some(demanded) = self.of.get_mut(&workload) else { continue };
            let authorization = authorization_of(demanded.authorization.values()).map(Arc::new);
            if demanded.policies.authorization != authorization {
                demanded.policies.authorization = authorization;
                different.insert(workload);
            }
        }
        different
    }

    /// Compiles AuthorizationPolicies, and returns the workloads whose rules they change.
    fn authorization(&mut self, context: CompileContext<'_>, dirty: &Dirty, step: &mut Step) -> BTreeSet<WorkloadName> {
        let set = context.set;
        let keys: Vec<Key> = if dirty.all {
            set.authorization_policies.keys().cloned().collect()
        } else {
            let policies = dirty.policies.iter().filter(|object| object.kind == Kind::AuthorizationPolicy);
            policies.map(|object| object.key.clone()).collect()
        };
        let mut touched = BTreeSet::new();
        if keys.is_empty() {
            return touched;
        }
        let domains = TrustDomains::of(&context.settings.mesh);
        for key in keys {
            let object = set.authorization_policies.get(&key);
            let workloads = object.map(|object| workloads_of(context, &key, object.spec.targets())).unwrap_or_default();
            let rules = object.filter(|_| !workloads.is_empty()).map(|object| {
                step.work.policies += 1;
                Arc::new(rules_of(object, &domains))
            });
            for workload in context.workloads() {
                let is_for = workloads.iter().any(|one| one.name == workload.name);
                let demanded = self.of.entry(workload.name.clone()).or_default();
                let differs = match rules.as_ref().filter(|_| is_for) {
                    Some(rules) => {
                        demanded.authorization.insert(key.clone(), Arc::clone(rules)).as_ref() != Some(rules)
                    }
                    None => demanded.authorization.remove(&key).is_some(),
                };
                if differs {
                    touched.insert(workload.name.clone());
                }
            }
        }
        touched
    }
}

/// The rules of several policies, by action; `None` if none of them says anything.
fn authorization_of<'a>(policies: impl Iterator<Item = &'a Arc<PolicyRules>> + Clone) -> Option<Authorization> {
    let requests = by_action(policies.clone(), |policy| &policy.requests);
    let connections = by_action(policies, |policy| &policy.connections);
    // Both have the same actions.
    (!requests.is_empty()).then_some(Authorization { requests, connections })
}

fn by_action<'a>(
    policies: impl Iterator<Item = &'a Arc<PolicyRules>> + Clone,
    rules: impl Fn(&'a PolicyRules) -> &'a Vec<Arc<AuthorizationRule>>,
) -> ActionRules {
    let list = |action: AuthorizationAction, dry_run: bool| -> Option<RuleList> {
        let mut found: Option<Vec<Arc<AuthorizationRule>>> = None;
        for policy in policies.clone().filter(|policy| policy.action == action && policy.dry_run == dry_run) {
            found.get_or_insert_default().extend(rules(policy).iter().map(Arc::clone));
        }
        let mut found = found?;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Some(found.into())
    };
    ActionRules {
        audit: list(AuthorizationAction::Audit, false),
        deny: list(AuthorizationAction::Deny, false),
        allow: list(AuthorizationAction::Allow, false),
        dry_run_deny: list(AuthorizationAction::Deny, true),
        dry_run_allow: list(AuthorizationAction::Allow, true),
    }
}
