//! A route's destination to a cluster, or to the reason why there is none (VS-31, VS-32, DR-06).

use crate::code::{self, Code};
use crate::context::CompileContext;
use crate::destination_rules;
use crate::names;
use crate::report::Notes;
use crate::services::{self, Backing};
use crate::settings::Workload;
use ir::{ClusterId, TargetCluster};
use resources::spec::destination_rule::Destination;

/// Who asks: a VirtualService's namespace, on behalf of a workload, for a server's port.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) namespace: &'a str,
    pub(crate) server_port: u16,
}

/// Resolves a destination; `field` is its path.
pub(crate) fn resolve(
    context: CompileContext<'_>,
    asking: Asking<'_>,
    written: &Destination,
    field: &str,
    notes: &mut Notes,
) -> TargetCluster {
    let host = names::full_host(&written.host, asking.namespace, context.domain());
    let visible = services::visible(context, &host, &asking.workload.namespace);
    let preferred = services::preferred(&visible, asking.namespace);
    let port = port(written, preferred, asking, field, notes);
    let id = cluster_id(context, &host, port, &written.subset);
    let unknown = |code: Code, at: &str, reason: String, help: String, notes: &mut Notes| {
        notes.add_with_help(code, format!("{field}.{at}"), reason.clone(), help);
        TargetCluster::Unknown { id: id.clone(), reason: reason.into() }
    };
    let Some(preferred) = preferred else {
        let (code, reason, help) = no_host(context, &written.host, &host, asking);
        return unknown(code, "host", reason, help, notes);
    };
    let Some(backing) = visible.iter().find(|backing| backing.port(port).is_some()) else {
        let reason = format!("`{host}` has no port {port}");
        let help = format!("its ports: {}", preferred.port_numbers());
        return unknown(code::UNKNOWN_PORT, "port.number", reason, help, notes);
    };
    if !written.subset.is_empty() {
        let rules = destination_rules::lookup(context, &host, &backing.key().namespace, asking.workload);
        let subset = rules.as_ref().and_then(|rules| rules.subset(&written.subset));
        if subset.is_none() {
            let reason = format!("no DestinationRule for `{host}` has a subset `{}`", written.subset);
            let help = rules.map_or_else(
                || no_rule(backing, asking),
                |rules| format!("the rule that acts here has: {}", rules.subset_names()),
            );
            return unknown(code::UNKNOWN_SUBSET, "subset", reason, help, notes);
        }
    }
    TargetCluster::Known(id)
}

/// The id that others already use, so that its text is shared.
fn cluster_id(context: CompileContext<'_>, host: &str, port: u16, subset: &str) -> ClusterId {
    let known = context.index.host(host).and_then(|entry| entry.cluster(port, subset));
    known.map_or_else(|| ClusterId::outbound(port, subset, host), ClusterId::clone)
}

/// VS-31: the port that is named, else the service's only one, else that of the server.
fn port(
    written: &Destination,
    preferred: Option<Backing<'_>>,
    asking: Asking<'_>,
    field: &str,
    notes: &mut Notes,
) -> u16 {
    if let Some(port) = written.port {
        return u16::try_from(port.number).unwrap_or(0);
    }
    let Some(preferred) = preferred else { return asking.server_port };
    preferred.only_port().unwrap_or_else(|| {
        let message =
            format!("`{}` has several ports; that of the server, {}, is taken", written.host, asking.server_port);
        let help = format!("name one of {} in `port.number`", preferred.port_numbers());
        notes.add_with_help(code::PORT_NOT_SAID, format!("{field}.host"), message, help);
        asking.server_port
    })
}

fn no_host(context: CompileContext<'_>, written: &str, host: &str, asking: Asking<'_>) -> (Code, String, String) {
    if let Some(hidden) = services::all(context, host).next() {
        let reason =
            format!("`{host}` of {} is not exported to namespace {}", hidden.origin(), asking.workload.namespace);
        return (code::HIDDEN_HOST, reason, "see its `exportTo`".to_owned());
    }
    let mut help = format!("add a Service or ServiceEntry for `{host}`");
    if host.split('.').count() == 2 || host.ends_with(".svc") {
        help.push_str("; names are completed only when they have no dot, others have to be whole");
    }
    let stands_for = if written == host { String::new() } else { format!(", which `{written}` stands for") };
    (code::UNKNOWN_HOST, format!("no Service or ServiceEntry has the host `{host}`{stands_for}"), help)
}

fn no_rule(backing: &Backing<'_>, asking: Asking<'_>) -> String {
    format!(
        "rules are looked for in namespace {} (the gateway's), then {} (the destination's), then the root namespace",
        asking.workload.namespace,
        backing.key().namespace
    )
}
