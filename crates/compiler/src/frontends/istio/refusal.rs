//! Why a VirtualService does not bind to a Gateway that it names: the causes of a 404, and how to fix them.

use crate::code;
use crate::context::CompileContext;
use crate::plan::bindings::Refusal;
use crate::plan::servers::ServerPlans;
use crate::report::Notes;
use resources::key::{Key, ObjectRef};
use resources::set::{Absence, Object};
use resources::spec::virtual_service::VirtualService;

/// A VirtualService that does not bind to a Gateway, the field that names the Gateway, and the reason.
pub(super) struct Refused<'a> {
    pub(super) object: &'a Object<VirtualService>,
    pub(super) gateway: &'a ObjectRef,
    pub(super) field: &'a str,
    pub(super) why: Refusal,
}

/// Reports the reason.
pub(super) fn report(context: CompileContext<'_>, plans: &ServerPlans, refused: Refused<'_>, notes: &mut Notes) {
    let Refused { object, gateway, field, why } = refused;
    let because = |why: String| format!("it routes nothing through {gateway} because {why}");
    match why {
        Refusal::Unknown => {
            let (message, help) = unknown(context, gateway);
            notes.add_with_help(code::UNKNOWN_GATEWAY, field, format!("it routes nothing: {message}"), help);
        }
        Refusal::Elsewhere => {
            notes.add(code::GATEWAY_ELSEWHERE, field, because("that is for another workload".to_owned()))
        }
        Refusal::Closed => {
            let help = "see what is reported of the Gateway";
            let message = because("that opens no port which is served".to_owned());
            notes.add_with_help(code::GATEWAY_CLOSED, field, message, help);
        }
        Refusal::Hidden(namespace) => {
            let message = because(format!("it is not exported to namespace {namespace}, where the gateway runs"));
            let help = format!("add `{namespace}` or `*` to `exportTo`");
            notes.add_with_help(code::NOT_EXPORTED, "spec.exportTo", message, help);
        }
        Refusal::NoOverlap(theirs) => {
            let message = because("none of its hosts overlaps with the Gateway's".to_owned());
            let help = nearest_host(object, &theirs);
            notes.add_with_help(code::NO_OVERLAP, "spec.hosts", message, help);
        }
        Refusal::Namespace => {
            let why = format!("the Gateway's hosts are not for namespace {}", object.key.namespace);
            let help = "a host `namespace/name` of a Gateway is for VirtualServices of that namespace";
            notes.add_with_help(code::NAMESPACE_REFUSED, "spec.hosts", because(why), help);
        }
        Refusal::NoRules => {
            let why = if object.spec.http.is_empty() {
                "it has no `http` rules".to_owned()
            } else {
                format!("no rule is left for it at port {}", ports_of(plans, gateway))
            };
            notes.add(code::NO_RULE_LEFT, "spec.http", because(why));
        }
    }
}

/// Why a Gateway is not there, and what to do.
fn unknown(context: CompileContext<'_>, gateway: &ObjectRef) -> (String, String) {
    match context.set.absent.get(gateway) {
        None => (format!("{gateway} not found"), nearest_gateway(context, &gateway.key)),
        Some(Absence::Invalid { code, .. }) => {
            (format!("{gateway} is invalid, see {code}"), "fix the Gateway".to_owned())
        }
        Some(Absence::OtherGroup(group)) => {
            let message = format!("{} is a Gateway of {group}, which is not supported", gateway.key);
            (message, "`gateways` names Gateways of networking.istio.io".to_owned())
        }
    }
}

/// A Gateway of that name in another namespace, or those in the namespace that was named.
fn nearest_gateway(context: CompileContext<'_>, gateway: &Key) -> String {
    let all = || context.set.gateways.keys();
    let namesakes: Vec<_> = all().filter(|key| key.name == gateway.name).map(ToString::to_string).collect();
    if namesakes.is_empty() {
        return "the name of a Gateway of another namespace is written `namespace/name`".to_owned();
    }
    format!("nearest: {}", namesakes.join(", "))
}

fn nearest_host(object: &Object<VirtualService>, theirs: &str) -> String {
    let ours = object.spec.hosts.iter().take(5).map(|host| &**host).collect::<Vec<_>>().join(", ");
    format!("its hosts: {ours}; nearest: {theirs}")
}

fn ports_of(plans: &ServerPlans, gateway: &ObjectRef) -> String {
    let mut ports: Vec<_> = plans.of_gateway(gateway).map(|server| server.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
