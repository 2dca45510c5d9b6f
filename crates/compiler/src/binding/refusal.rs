//! Why a VirtualService does not bind to a Gateway that it names: the causes of a 404, and how to fix them.

use crate::code;
use crate::context::CompileContext;
use crate::frontends::istio::gateway::Plans;
use crate::report::Notes;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Absence, Object};
use resources::spec::virtual_service::VirtualService;
use std::sync::Arc;

/// What stood in the way; of several, the one that got furthest is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// No such Gateway (S-50).
    Unknown,
    /// It is for another workload (S-01).
    Elsewhere,
    /// It opens no port that is served.
    Closed,
    /// The workload's namespace does not see the VirtualService (S-51).
    Hidden(Arc<str>),
    /// No host in common; the Gateway's hosts (S-52).
    NoOverlap(String),
    /// Hosts in common, but for VirtualServices of another namespace (S-31).
    Namespace,
    /// Every rule is for others (S-53).
    NoRules,
}

impl Refusal {
    /// Reports it, at the field that names the Gateway.
    pub(super) fn say(
        self,
        context: CompileContext<'_>,
        plans: &Plans,
        object: &Object<VirtualService>,
        gateway: &Key,
        field: &str,
        notes: &mut Notes,
    ) {
        let because = |why: String| format!("it routes nothing through Gateway {gateway} because {why}");
        match self {
            Self::Unknown => {
                let (message, help) = unknown(context, gateway);
                notes.add_with_help(code::UNKNOWN_GATEWAY, field, format!("it routes nothing: {message}"), help);
            }
            Self::Elsewhere => {
                notes.add(code::GATEWAY_ELSEWHERE, field, because("that is for another workload".to_owned()))
            }
            Self::Closed => {
                let help = "see what is reported of the Gateway";
                let message = because("that opens no port which is served".to_owned());
                notes.add_with_help(code::GATEWAY_CLOSED, field, message, help);
            }
            Self::Hidden(namespace) => {
                let message = because(format!("it is not exported to namespace {namespace}, where the gateway runs"));
                let help = format!("add `{namespace}` or `*` to `exportTo`");
                notes.add_with_help(code::NOT_EXPORTED, "spec.exportTo", message, help);
            }
            Self::NoOverlap(theirs) => {
                let message = because("none of its hosts overlaps with the Gateway's".to_owned());
                let help = nearest_host(object, &theirs);
                notes.add_with_help(code::NO_OVERLAP, "spec.hosts", message, help);
            }
            Self::Namespace => {
                let why = format!("the Gateway's hosts are not for namespace {}", object.key.namespace);
                let help = "a host `namespace/name` of a Gateway is for VirtualServices of that namespace";
                notes.add_with_help(code::NAMESPACE_REFUSED, "spec.hosts", because(why), help);
            }
            Self::NoRules => {
                let ports = ports_of(plans, gateway);
                let (why, field) = if object.spec.http.is_empty() {
                    ("it has no `http` rules".to_owned(), "spec.http")
                } else {
                    (format!("no rule is left for it at port {ports}"), "spec.http")
                };
                notes.add(code::NO_RULE_LEFT, field, because(why));
            }
        }
    }
}

/// Why a Gateway is not there, and what to do.
fn unknown(context: CompileContext<'_>, gateway: &Key) -> (String, String) {
    let object = ObjectRef { kind: Kind::Gateway, key: gateway.clone() };
    match context.set.absent.get(&object) {
        None => (format!("Gateway {gateway} not found"), nearest_gateway(context, gateway)),
        Some(Absence::Invalid(code)) => {
            (format!("Gateway {gateway} is invalid, see {code}"), "fix the Gateway".to_owned())
        }
        Some(Absence::OtherGroup(group)) => {
            let message = format!("{gateway} is a Gateway of {group}, which is not supported");
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

fn ports_of(plans: &Plans, gateway: &Key) -> String {
    let listeners = plans.served.get(gateway).into_iter().flatten().filter_map(|id| plans.listeners.get(id));
    let servers = listeners.flat_map(|plan| &plan.servers).filter(|server| server.gateway.key == *gateway);
    let mut ports: Vec<_> = servers.map(|server| server.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
