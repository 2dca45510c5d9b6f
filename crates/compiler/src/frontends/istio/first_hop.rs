//! VirtualServices of sidecars alone that send to a gateway of this process: the first of two hops (E-02, E-20). The gateway needs a server with
//! the host as well, or the second hop ends there.

use crate::code;
use crate::context::CompileContext;
use crate::names;
use crate::plan::servers::{ServerKind, ServerPlan, ServerPlans};
use crate::report::Notes;
use crate::settings::Workload;
use ir::HostPattern;
use resources::set::Object;
use resources::spec::destination_rule::Destination;
use resources::spec::virtual_service::VirtualService;
use std::slice;

/// The most hosts that a finding names.
const SHOWN: usize = 5;

/// The host of a workload's Service, which is called as the label `app` of its Pods.
pub(crate) fn service_host(workload: &Workload, domain: &str) -> Option<String> {
    Some(names::service_host(workload.labels.get("app")?, &workload.namespace, domain))
}

/// Reports where the rules of `object` send to a workload of this process, and the `hosts` that none of its servers has; `false` where they send
/// elsewhere.
pub(super) fn report(
    context: CompileContext<'_>,
    plans: &ServerPlans,
    object: &Object<VirtualService>,
    hosts: &[HostPattern],
    notes: &mut Notes,
) -> bool {
    let gateways: Vec<(usize, String)> = context
        .workloads()
        .iter()
        .enumerate()
        .filter_map(|(index, workload)| Some((index, service_host(workload, context.domain())?)))
        .collect();
    let reached = |destination: &Destination| {
        let host = names::full_host(&destination.host, &object.key.namespace, context.domain());
        gateways.iter().find(|(_, gateway)| *gateway == *host).map(|(index, _)| *index)
    };
    let spec = &object.spec;
    let http = spec.http.iter().flat_map(|rule| &rule.route).filter_map(|route| route.destination.as_ref());
    let tls = spec.tls.iter().flat_map(|rule| &rule.route).filter_map(|route| route.destination.as_ref());
    let named: Vec<usize> = http.chain(tls).filter_map(reached).collect();
    let tcp = spec.tcp.iter().flat_map(|rule| &rule.route).filter_map(|route| route.destination.as_ref());
    if named.is_empty() && !tcp.into_iter().any(|destination| reached(destination).is_some()) {
        return false;
    }
    let message = "sidecars send by it to this gateway, where the rules with the gateway's name in `gateways` decide";
    notes.add(code::FIRST_HOP, "spec.gateways", message);
    // Bytes without a name come in by their port alone.
    if named.is_empty() {
        return true;
    }
    let listeners = plans.listeners.values().filter(|plan| named.contains(&plan.workload));
    let servers: Vec<&ServerPlan> = listeners.flat_map(|plan| plan.servers()).filter(|server| takes(server)).collect();
    let is_unserved = |host: &&HostPattern| !servers.iter().any(|server| server.hosts.overlaps(slice::from_ref(*host)));
    let unserved: Vec<&HostPattern> = hosts.iter().filter(is_unserved).collect();
    if !unserved.is_empty() {
        let shown: Vec<String> = unserved.iter().take(SHOWN).map(|host| format!("`{host}`")).collect();
        let more = unserved.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "sidecars send {}{more} by it to this gateway, where no server has the host: requests get 404, and TLS connections are closed",
            shown.join(", ")
        );
        let help = "add a server with the host to a Gateway of this gateway, and a rule for it to a VirtualService with the Gateway in `gateways`";
        notes.add_with_help(code::FIRST_HOP_UNSERVED, "spec.hosts", message, help);
    }
    true
}

/// Whether a server takes what sidecars send for a host.
fn takes(server: &ServerPlan) -> bool {
    !matches!(server.kind, ServerKind::Proxy(..) | ServerKind::AutoPassthrough)
}
