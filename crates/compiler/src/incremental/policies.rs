//! What each workload demands of requests and connections, put together anew when a policy changes.

use super::dirty::Dirty;
use super::step::{ClusterUses, Step};
use crate::context::CompileContext;
use crate::policies::{
    AuthenticationRules, CheckRules, External, PolicyRules, TrustDomains, authentication_of, authentication_rules,
    external, rules_of, workloads_of,
};
use crate::settings::Workload;
use ir::WorkloadName;
use ir::policy::{ActionRules, Authorization, AuthorizationRule, Policies, RuleList};
use resources::Map;
use resources::key::{Key, Kind};
use resources::set::Object;
use resources::spec::security::{AuthorizationAction, AuthorizationPolicy, Policy};
use std::cell::LazyCell;
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
    /// The rules of each RequestAuthentication for it.
    authentication: BTreeMap<Key, Arc<AuthenticationRules>>,
    /// What those with the action `CUSTOM` demand (AP-13).
    external: Option<External>,
    policies: Policies,
}

/// What is different after policies were compiled.
#[derive(Debug, Default)]
pub(super) struct Demanding {
    /// Workloads that demand something else.
    pub(super) workloads: BTreeSet<WorkloadName>,
    /// The clusters of services for authorization.
    pub(super) clusters: ClusterUses,
    /// AuthorizationPolicies of which something else may be said.
    pub(super) noted: BTreeSet<Key>,
}

impl Demanded {
    /// The keys of the policies with the action `CUSTOM`.
    fn custom(&self) -> impl Iterator<Item = (&Key, &Arc<PolicyRules>)> {
        let is_custom = |rules: &PolicyRules| rules.action == AuthorizationAction::Custom && !rules.dry_run;
        self.authorization.iter().filter(move |(_, rules)| is_custom(rules))
    }
}

impl WorkloadPolicies {
    /// What a workload demands.
    pub(super) fn of(&self, workload: &WorkloadName) -> Policies {
        self.of.get(workload).map(|demanded| demanded.policies.clone()).unwrap_or_default()
    }

    /// Compiles the policies that are dirty, puts together what depends on them, and returns the workloads that demand something else now.
    pub(super) fn compile(&mut self, context: CompileContext<'_>, dirty: &Dirty, step: &mut Step) -> Demanding {
        let domains = LazyCell::new(|| TrustDomains::of(&context.settings.mesh));
        let authorization = PolicyKind {
            kind: Kind::AuthorizationPolicy,
            all: &context.set.authorization_policies,
            compile: &|object: &Object<AuthorizationPolicy>| rules_of(object, &domains),
            place: |demanded| &mut demanded.authorization,
        };
        let authentication = PolicyKind {
            kind: Kind::RequestAuthentication,
            all: &context.set.request_authentications,
            compile: &authentication_rules,
            place: |demanded| &mut demanded.authentication,
        };
        let mut touched = self.recompile(context, &authorization, dirty, step);
        touched.extend(self.recompile(context, &authentication, dirty, step));
        let mut different = Demanding::default();
        for workload in context.workloads() {
            let Some(demanded) = self.of.get_mut(&workload.name) else { continue };
            let is_touched = touched.contains(&workload.name);
            // The service of a provider may have come or gone, or what is spoken to it may be different.
            let concerns = |external: &External| {
                let host = external.cluster().and_then(|id| id.as_str().rsplit('|').next());
                !dirty.hosts.is_empty() || host.is_some_and(|host| dirty.endpoints.contains(host))
            };
            if !is_touched && !demanded.external.as_ref().is_some_and(concerns) {
                continue;
            }
            let external = external_of(context, workload, demanded);
            if demanded.external != external {
                different.clusters.before.extend(demanded.external.as_ref().and_then(External::cluster).cloned());
                different.clusters.now.extend(external.as_ref().and_then(External::cluster).cloned());
                different.noted.extend(demanded.custom().map(|(key, _)| key.clone()));
                demanded.external = external;
            }
            let authorization = authorization_of(demanded).map(Arc::new);
            let ext_authz = demanded.external.as_ref().map(|external| Arc::new(external.authorization.clone()));
            let authentication = authentication_of(demanded.authentication.values()).map(Arc::new);
            let policies = Policies { authorization, authentication, ext_authz };
            if demanded.policies != policies {
                demanded.policies = policies;
                different.workloads.insert(workload.name.clone());
            }
        }
        different
    }

    /// What the workloads of a policy with the action `CUSTOM` demand.
    pub(super) fn external<'a>(&'a self, policy: &'a Key) -> impl Iterator<Item = &'a External> {
        let concerned = self.of.values().filter(move |demanded| demanded.custom().any(|(key, _)| key == policy));
        concerned.filter_map(|demanded| demanded.external.as_ref())
    }

    /// Compiles the policies of a kind that are dirty: gives the workloads that a policy is for its rules, and takes them from the others. Returns
    /// the workloads whose rules are different.
    fn recompile<T: Policy, R: PartialEq>(
        &mut self,
        context: CompileContext<'_>,
        policies: &PolicyKind<'_, T, R>,
        dirty: &Dirty,
        step: &mut Step,
    ) -> BTreeSet<WorkloadName> {
        let mut touched = BTreeSet::new();
        for key in policies.dirty(dirty) {
            let object = policies.all.get(&key);
            let selected = object.map(|object| workloads_of(context, &key, object.spec.targets())).unwrap_or_default();
            let rules = object.filter(|_| !selected.is_empty()).map(|object| {
                step.work.policies += 1;
                Arc::new((policies.compile)(object))
            });
            for workload in context.workloads() {
                let is_for = selected.iter().any(|one| one.name == workload.name);
                let of_workload = (policies.place)(self.of.entry(workload.name.clone()).or_default());
                let differs = match rules.as_ref().filter(|_| is_for) {
                    Some(rules) => of_workload.insert(key.clone(), Arc::clone(rules)).as_ref() != Some(rules),
                    None => of_workload.remove(&key).is_some(),
                };
                if differs {
                    touched.insert(workload.name.clone());
                }
            }
        }
        touched
    }
}

/// The policies of one kind, and what becomes of them.
struct PolicyKind<'a, T, R> {
    kind: Kind,
    all: &'a Map<Key, Arc<Object<T>>>,
    /// From a policy to its rules.
    compile: &'a dyn Fn(&Object<T>) -> R,
    /// Where a workload keeps the rules of its policies.
    place: fn(&mut Demanded) -> &mut BTreeMap<Key, Arc<R>>,
}

impl<T, R> PolicyKind<'_, T, R> {
    /// Those that have to be compiled.
    fn dirty(&self, dirty: &Dirty) -> Vec<Key> {
        if dirty.all {
            return self.all.keys().cloned().collect();
        }
        dirty.policies.iter().filter(|object| object.kind == self.kind).map(|object| object.key.clone()).collect()
    }
}

/// The external authorization of a workload, if it has `CUSTOM` policies.
fn external_of(context: CompileContext<'_>, workload: &Workload, demanded: &Demanded) -> Option<External> {
    let mut providers = BTreeSet::new();
    let (mut requests, mut connections): (Vec<Arc<AuthorizationRule>>, Vec<Arc<AuthorizationRule>>) =
        Default::default();
    for (key, policy) in demanded.custom() {
        let object = context.set.authorization_policies.get(key);
        let provider = object.and_then(|object| object.spec.provider.as_ref());
        providers.insert(provider.map_or("", |provider| &*provider.name));
        requests.extend(policy.requests.iter().map(Arc::clone));
        connections.extend(policy.connections.iter().map(Arc::clone));
    }
    for rules in [&mut requests, &mut connections] {
        rules.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let rules = CheckRules { requests: requests.into(), connections: connections.into() };
    (!providers.is_empty()).then(|| external(context, workload, &providers, rules))
}

/// The rules of the policies of a workload, by action; `None` if none of them says anything.
fn authorization_of(demanded: &Demanded) -> Option<Authorization> {
    let policies = demanded.authorization.values();
    let requests = by_action(policies.clone(), |policy| &policy.requests);
    let connections = by_action(policies, |policy| &policy.connections);
    (!requests.is_empty() || !connections.is_empty()).then_some(Authorization { requests, connections })
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
