//! RequestAuthentication, AuthorizationPolicy and PeerAuthentication: which workloads of this process they are for (AP-01, RA-01), and what
//! they say. One that is for a workload here and not enforced is an error. `incremental` calls this.

mod authentication;
mod authorization;
mod external;
mod lints;
mod trust_domains;

pub(crate) use authentication::{AuthenticationRules, authentication_of, authentication_rules};
pub(crate) use authorization::{PolicyRules, rules_of};
pub(crate) use external::{CheckRules, External, external};
pub(crate) use trust_domains::TrustDomains;

use crate::code;
use crate::context::CompileContext;
use crate::report::Notes;
use crate::settings::Workload;
use ir::WorkloadName;
use resources::key::Key;
use resources::set::Object;
use resources::spec::security::{
    AuthorizationAction, AuthorizationPolicy, PeerAuthentication, Policy, PolicyTarget, RequestAuthentication, Targets,
};
use resources::spec::text_match::selects;

/// The group of the Gateway API.
const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// The label by which the workload of a Gateway of the Gateway API is known.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The finding on a policy that is for no workload of this process.
fn elsewhere(targets: Targets<'_>) -> Notes {
    let mut notes = Notes::default();
    notes.add(code::POLICY_ELSEWHERE, field(targets), "it selects no workload of this process");
    notes
}

/// What there is to say about a PeerAuthentication: it is not enforced.
pub(crate) fn of_peer_authentication(context: CompileContext<'_>, object: &Object<PeerAuthentication>) -> Notes {
    let targets = object.spec.targets();
    let here: Vec<String> = workloads_of(context, &object.key, targets)
        .iter()
        .map(|workload| format!("`{}` (namespace {})", workload.name.0, workload.namespace))
        .collect();
    if here.is_empty() {
        return elsewhere(targets);
    }
    let message = format!(
        "it selects the workload {}, and PeerAuthentication is not enforced yet: it has no effect on requests",
        here.join(" and ")
    );
    let help = "require client certificates with `tls.mode: MUTUAL` in the Gateway, or select other workloads";
    let mut notes = Notes::default();
    notes.add_with_help(code::POLICY_NOT_ENFORCED, field(targets), message, help);
    notes
}

/// What there is to say about a RequestAuthentication.
pub(crate) fn of_request_authentication(context: CompileContext<'_>, object: &Object<RequestAuthentication>) -> Notes {
    let workloads = workloads_of(context, &object.key, object.spec.targets());
    if workloads.is_empty() {
        return elsewhere(object.spec.targets());
    }
    let mut notes = Notes::default();
    let is_authorized = |workload: &Workload| {
        let mut policies = context.set.authorization_policies.values();
        policies.any(|policy| is_for(context, &policy.key, policy.spec.targets(), workload))
    };
    for workload in workloads.into_iter().filter(|workload| !is_authorized(workload)) {
        let message =
            format!("no AuthorizationPolicy is for the workload `{}`: requests without a token pass", workload.name.0);
        let help = "deny requests without a token: an AuthorizationPolicy with `action: DENY` and `notRequestPrincipals: [\"*\"]`";
        notes.add_with_help(code::TOKENS_OPTIONAL, field(object.spec.targets()), message, help);
    }
    notes
}

/// What there is to say about an AuthorizationPolicy. `has_tcp_servers` tells which workloads have servers whose bytes are passed on;
/// `externals` is what those workloads demand if its action is `CUSTOM`.
pub(crate) fn of_authorization_policy<'a>(
    context: CompileContext<'_>,
    object: &Object<AuthorizationPolicy>,
    has_tcp_servers: impl Fn(&WorkloadName) -> bool,
    externals: impl Iterator<Item = &'a External>,
) -> Notes {
    let mut notes = Notes::default();
    let workloads = workloads_of(context, &object.key, object.spec.targets());
    if workloads.is_empty() {
        return elsewhere(object.spec.targets());
    }
    let rules = rules_of(object, &TrustDomains::of(&context.settings.mesh));
    let tcp = workloads.iter().any(|workload| has_tcp_servers(&workload.name));
    lints::of_rules(&rules, tcp, &mut notes);
    for external in externals {
        notes.extend(&external.notes);
        if tcp && external.is_for_requests_alone() {
            let message = "a provider in HTTP is not asked about connections to TCP and passthrough servers";
            notes.add_with_help(code::CUSTOM_NOT_ON_TCP, "spec.action", message, "add a `DENY` policy for their ports");
        }
    }
    let audits = rules.action == AuthorizationAction::Audit;
    if audits || rules.dry_run {
        let (what, field) =
            if audits { ("only audits", "spec.action") } else { ("is a dry run", "metadata.annotations") };
        notes.add(code::POLICY_OBSERVES, field, format!("it {what}: no request depends on it"));
    }
    notes
}

fn field(targets: Targets<'_>) -> &'static str {
    match targets {
        Targets { selector: Some(_), .. } => "spec.selector",
        Targets { refs: [], .. } => "spec",
        Targets { refs: [_], .. } => "spec.targetRef",
        Targets { .. } => "spec.targetRefs",
    }
}

/// Whether a RequestAuthentication verifies tokens for a workload.
pub(crate) fn is_authenticated(context: CompileContext<'_>, workload: &Workload) -> bool {
    let mut objects = context.set.request_authentications.values();
    objects.any(|object| {
        !object.spec.jwt_rules.is_empty() && is_for(context, &object.key, object.spec.targets(), workload)
    })
}

/// The workloads of this process that a policy is for.
pub(crate) fn workloads_of<'a>(context: CompileContext<'a>, key: &Key, targets: Targets<'_>) -> Vec<&'a Workload> {
    context.workloads().iter().filter(|workload| is_for(context, key, targets, workload)).collect()
}

/// Whether a policy is for a workload: by labels or by name in its own namespace, in the root namespace by labels for every one.
fn is_for(context: CompileContext<'_>, key: &Key, targets: Targets<'_>, workload: &Workload) -> bool {
    let root = &*key.namespace == context.settings.root_namespace();
    let own = key.namespace == workload.namespace;
    if !targets.refs.is_empty() {
        return targets.refs.iter().any(|target| refers_to(target, root, own, workload));
    }
    (own || root) && targets.selector.is_none_or(|labels| selects(labels, &workload.labels))
}

/// Only workloads that were made for a Gateway of the Gateway API can be named.
fn refers_to(target: &PolicyTarget, root: bool, own: bool, workload: &Workload) -> bool {
    let Some(gateway) = workload.labels.get(GATEWAY_NAME) else { return false };
    match (&*target.group, &*target.kind) {
        (GATEWAY_API, "Gateway") => own && target.name == *gateway,
        (GATEWAY_API, "GatewayClass") => root,
        _ => false,
    }
}
