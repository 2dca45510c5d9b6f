//! What forward proxies allow: the hosts and addresses of the ServiceEntries that their workloads see, put together anew when one of those or a
//! proxy is different.

use super::dirty::Dirty;
use super::step::ClusterUses;
use crate::clusters::speaks_http;
use crate::context::CompileContext;
use crate::plan::servers::{ServerKind, ServerPlan, ServerPlans};
use crate::services::{self, Backing, BackingPort};
use crate::settings::Workload;
use ir::{
    ClusterId, ForwardAddress, ForwardHost, ForwardPort, ForwardProtocol, ForwardProxy, HostPattern, IpRange,
    ListenerId, TableId,
};
use resources::spec::gateway::Protocol;
use resources::spec::mesh_config::OutboundMode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The forward proxies by table.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    of: BTreeMap<TableId, Proxy>,
}

#[derive(Debug)]
struct Proxy {
    server: ServerPlan,
    allowed: Arc<ForwardProxy>,
}

/// What is different after proxies were compiled.
#[derive(Debug, Default)]
pub(super) struct Proxied {
    /// Listeners whose tables are different.
    pub(super) listeners: BTreeSet<Arc<ListenerId>>,
    /// The clusters of proxies.
    pub(super) clusters: ClusterUses,
}

impl Proxies {
    /// What the proxy of a table allows.
    pub(super) fn of(&self, table: &TableId) -> Option<&Arc<ForwardProxy>> {
        self.of.get(table).map(|proxy| &proxy.allowed)
    }

    /// Compiles the proxies of `listeners`, whose servers are different, and all others if a ServiceEntry is different.
    pub(super) fn compile(
        &mut self,
        context: CompileContext<'_>,
        plans: &ServerPlans,
        dirty: &Dirty,
        listeners: &BTreeSet<Arc<ListenerId>>,
    ) -> Proxied {
        let mut proxied = Proxied::default();
        let is_replanned = |table: &TableId| listeners.iter().any(|listener| **listener == table.listener);
        let gone: Vec<TableId> = self.of.keys().filter(|table| is_replanned(table)).cloned().collect();
        let mut before: BTreeMap<TableId, Proxy> =
            gone.into_iter().filter_map(|table| self.of.remove_entry(&table)).collect();
        let replanned = listeners.iter().filter_map(|id| plans.listeners.get(id)).flat_map(|plan| plan.servers());
        let mut servers: Vec<(TableId, ServerPlan)> =
            replanned.filter_map(|server| Some((server.proxy_table()?, server.clone()))).collect();
        if dirty.all || !dirty.hosts.is_empty() || !dirty.endpoints.is_empty() {
            for (table, proxy) in std::mem::take(&mut self.of) {
                servers.push((table.clone(), proxy.server.clone()));
                before.insert(table, proxy);
            }
        }
        for (table, server) in servers {
            let Some(workload) = context.workloads().iter().find(|one| one.name == table.listener.workload) else {
                continue;
            };
            let allowed = allowed(context, workload, &server);
            let allowed = match before.remove(&table) {
                Some(old) if *old.allowed == allowed => old.allowed,
                old => {
                    proxied.listeners.insert(Arc::clone(&server.place.listener));
                    proxied.clusters.before.extend(old.iter().flat_map(|old| clusters(&old.allowed)).cloned());
                    proxied.clusters.now.extend(clusters(&allowed).cloned());
                    Arc::new(allowed)
                }
            };
            self.of.insert(table, Proxy { server, allowed });
        }
        proxied.clusters.before.extend(before.values().flat_map(|old| clusters(&old.allowed)).cloned());
        proxied
    }
}

/// The clusters of a proxy, each as often as it goes there.
fn clusters(proxy: &ForwardProxy) -> impl Iterator<Item = &ClusterId> {
    let hosts = proxy.hosts.iter().map(|host| &host.ports);
    let ports = hosts.chain(proxy.addresses.iter().map(|address| &address.ports));
    ports.flat_map(|ports| ports.iter()).map(|port| &port.cluster).chain(&proxy.others)
}

/// What a server allows a workload's clients: the hosts of ServiceEntries as far as the server's hosts cover them.
fn allowed(context: CompileContext<'_>, workload: &Workload, server: &ServerPlan) -> ForwardProxy {
    let entries = context.set.service_entries.values();
    let hosts: BTreeSet<&str> = entries.flat_map(|entry| entry.spec.hosts.iter()).map(|host| &**host).collect();
    // The most specific ones first, so that a wildcard narrowed by the server does not take a name's ports.
    let mut hosts: Vec<&str> = hosts.into_iter().collect();
    hosts.sort_by_key(|host| (host.starts_with('*'), std::cmp::Reverse(host.len())));
    let mut named: BTreeMap<HostPattern, (HostPattern, Vec<ForwardPort>)> = BTreeMap::new();
    let mut addressed: BTreeMap<(std::net::IpAddr, u8), (IpRange, Vec<ForwardPort>)> = BTreeMap::new();
    for host in hosts {
        let Ok(pattern) = HostPattern::parse(host) else { continue };
        for backing in services::visible(context, host, &workload.namespace) {
            let Backing::Entry(entry) = backing else { continue };
            let ports = || backing.ports().filter(|(_, udp)| !udp).map(|(port, _)| forward_port(host, backing, port));
            let covered = server.hosts.intersect(std::slice::from_ref(&pattern), &entry.key.namespace);
            if covered.is_empty() {
                continue;
            }
            for range in entry.spec.addresses.iter().filter_map(|text| text.parse::<IpRange>().ok()) {
                let known = addressed.entry((range.address(), range.length())).or_insert_with(|| (range, Vec::new()));
                add(&mut known.1, ports());
            }
            for narrowed in covered {
                let (by, known) = named.entry(narrowed).or_insert_with(|| (pattern.clone(), Vec::new()));
                // Nothing falls through to the ports of a wider host.
                if *by == pattern {
                    add(known, ports());
                }
            }
        }
    }
    let mode = context.settings.mesh.outbound_traffic_policy.mode;
    let is_open = matches!(mode, Some(OutboundMode::AllowAny | OutboundMode::AllowAnyDynamicDns));
    // Nothing beyond the hosts of the server, and what no ServiceEntry names has no namespace.
    let is_open = is_open && server.hosts.list().iter().any(|own| own.admits_all());
    let mut addresses: Vec<ForwardAddress> =
        addressed.into_values().map(|(range, ports)| ForwardAddress { range, ports: ports.into() }).collect();
    addresses.sort_by_key(|one| std::cmp::Reverse(one.range.length()));
    ForwardProxy {
        origin: server.origin.clone(),
        hosts: named.into_iter().map(|(host, (_, ports))| ForwardHost { host, ports: ports.into() }).collect(),
        addresses: addresses.into(),
        others: is_open.then(ClusterId::passthrough),
        users: match &server.kind {
            ServerKind::Proxy(_, users, _) => users.clone(),
            _ => None,
        },
        retries: Some(Arc::default()),
    }
}

/// Adds ports whose numbers are new.
fn add(known: &mut Vec<ForwardPort>, ports: impl Iterator<Item = ForwardPort>) {
    for port in ports {
        if port.number > 0 && known.iter().all(|one| one.number != port.number) {
            known.push(port);
        }
    }
}

fn forward_port(host: &str, backing: Backing<'_>, port: BackingPort<'_>) -> ForwardPort {
    let text = port.forwarded();
    let protocol = match Protocol::parse(text) {
        _ if speaks_http(text) => ForwardProtocol::Http,
        Some(Protocol::Https | Protocol::Tls) => ForwardProtocol::Tls,
        _ => ForwardProtocol::Tcp,
    };
    ForwardPort {
        number: port.number,
        protocol,
        cluster: ClusterId::forward(port.number, (&backing.key().namespace, &backing.key().name), host),
        origin: backing.origin(),
    }
}
