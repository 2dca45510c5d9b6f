//! Servers with AUTO_PASSTHROUGH (GW-10): connections between the workloads of a mesh, whose names say the cluster that they are for
//! (`outbound_.PORT_.SUBSET_.HOST`). What such a server lets in needs no VirtualService; here it gets rules of its own, which are
//! compiled like written ones.

use super::forward_proxy;
use crate::destination_rules;
use crate::names;
use crate::settings::Settings;
use ir::HostPattern;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Meta, Object, ResourceSet};
use resources::spec::destination_rule::{Destination, PortSelector};
use resources::spec::gateway::{Gateway, TlsMode};
use resources::spec::scalar::Text;
use resources::spec::service_entry::Location;
use resources::spec::virtual_service::{L4Destination, TlsMatch, TlsRoute, VirtualService};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the names of implied rules begin with; no object of Kubernetes can be called so.
const MARK: &str = "~auto-passthrough~";

/// The implied rules of the last compilation.
#[derive(Debug, Default)]
pub(crate) struct Implied {
    rules: BTreeMap<Key, Arc<Object<VirtualService>>>,
    /// Whether there is a server that wants them.
    wanted: bool,
}

/// Whether a VirtualService is implied by such a server.
pub(crate) fn is_implied(key: &Key) -> bool {
    key.name.starts_with(MARK)
}

/// The host of the service that a name of a client is for: `host` in `outbound_.80_.v1_.host`.
pub(crate) fn service_of(name: &str) -> Option<HostPattern> {
    let rest = name.strip_prefix("outbound_.")?;
    let (_, rest) = rest.split_once("_.")?;
    let (_, host) = rest.split_once("_.")?;
    HostPattern::parse(host).ok()
}

impl Implied {
    /// The set with the rules that its servers imply. Costs nothing where there is no such server.
    pub(crate) fn lower(&mut self, set: &ResourceSet, settings: &Settings, fresh: bool) -> ResourceSet {
        let touched = |kinds: &[Kind]| fresh || set.changed.iter().any(|object| kinds.contains(&object.kind));
        if touched(&[Kind::Gateway]) {
            self.wanted = set.gateways.values().any(|gateway| is_auto(gateway));
        }
        let mut rules = std::mem::take(&mut self.rules);
        let mut changed = set.changed.to_vec();
        if touched(&[Kind::Gateway, Kind::Service, Kind::ServiceEntry, Kind::DestinationRule]) {
            let next = if self.wanted { implied(set, settings) } else { BTreeMap::new() };
            let differs = |key: &&Key| match (rules.get(key), next.get(key)) {
                (Some(before), Some(now)) => before.spec != now.spec,
                _ => true,
            };
            let keys: BTreeSet<&Key> = rules.keys().chain(next.keys()).filter(differs).collect();
            let of = |key: &Key| ObjectRef { kind: Kind::VirtualService, key: key.clone() };
            changed.extend(keys.into_iter().map(of));
            rules = next;
        }
        let proxy = settings.forward_proxy.and_then(|address| forward_proxy::gateway(address, &settings.workloads));
        if rules.is_empty() && changed.len() == set.changed.len() && proxy.is_none() {
            return set.clone();
        }
        let mut lowered = set.clone();
        if let Some(proxy) = proxy {
            lowered.gateways.insert_mut(proxy.key.clone(), Arc::new(proxy));
        }
        for (key, rule) in &rules {
            lowered.virtual_services.insert_mut(key.clone(), Arc::clone(rule));
        }
        changed.sort_unstable();
        lowered.changed = changed.into();
        self.rules = rules;
        lowered
    }
}

fn is_auto(gateway: &Object<Gateway>) -> bool {
    let mode = |server: &resources::spec::gateway::Server| server.tls.as_ref().and_then(|tls| tls.mode);
    gateway.spec.servers.iter().any(|server| mode(server) == Some(TlsMode::AutoPassthrough))
}

fn implied(set: &ResourceSet, settings: &Settings) -> BTreeMap<Key, Arc<Object<VirtualService>>> {
    let domain = &*settings.domain;
    let named = |gateway: &Arc<Object<Gateway>>| Text::from(&*gateway.key.to_string());
    let gateways: Vec<Text> = set.gateways.values().filter(|gateway| is_auto(gateway)).map(named).collect();
    let mut subsets: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for rule in set.destination_rules.values() {
        let of_host = subsets.entry(destination_rules::host_of(rule, domain).into_owned()).or_default();
        of_host.extend(rule.spec.subsets.iter().map(|subset| &*subset.name));
    }
    let mut rules = BTreeMap::new();
    let mut add = |namespace: &Arc<str>, name: String, host: &str, ports: Vec<u32>| {
        let named = subsets.get(host).into_iter().flatten().copied();
        let subsets: Vec<&str> = std::iter::once("").chain(named).collect();
        let spec = rule(host, &ports, &subsets, &gateways);
        if !spec.tls.is_empty() {
            let key = Key::new(Arc::clone(namespace), name);
            rules.insert(key.clone(), Arc::new(Object { key, meta: Meta::default(), source: None, spec }));
        }
    };
    let is_udp = |protocol: &str| protocol.eq_ignore_ascii_case("UDP");
    for service in set.services.values().filter(|service| service.spec.external_name.is_empty()) {
        let (namespace, name) = (&service.key.namespace, &service.key.name);
        let ports = service.spec.ports.iter().filter(|port| !is_udp(&port.protocol)).map(|port| u32::from(port.port));
        let host = names::service_host(name, namespace, domain);
        add(namespace, format!("{MARK}{name}"), &host, ports.collect());
    }
    let of_mesh = |location: Option<Location>| location == Some(Location::MeshInternal);
    for entry in set.service_entries.values().filter(|entry| of_mesh(entry.spec.location)) {
        let (namespace, name) = (&entry.key.namespace, &entry.key.name);
        let ports = entry.spec.ports.iter().filter(|port| !is_udp(&port.protocol)).map(|port| port.number);
        let ports: Vec<u32> = ports.collect();
        for host in entry.spec.hosts.iter().filter(|host| !host.contains('*')) {
            add(namespace, format!("{MARK}{name}~{host}"), host, ports.clone());
        }
    }
    rules
}

fn rule(host: &str, ports: &[u32], subsets: &[&str], gateways: &[Text]) -> VirtualService {
    let one = |port: u32, subset: &str| TlsRoute {
        matches: vec![TlsMatch {
            sni_hosts: vec![Text::from(&*format!("outbound_.{port}_.{subset}_.{host}"))],
            ..TlsMatch::default()
        }],
        route: vec![L4Destination {
            destination: Some(Destination {
                host: Text::from(host),
                subset: Text::from(subset),
                port: Some(PortSelector { number: port }),
            }),
            weight: 0,
        }],
    };
    VirtualService {
        hosts: [Text::from(host)].into(),
        gateways: gateways.into(),
        export_to: [Text::from("*")].into(),
        tls: ports.iter().flat_map(|port| subsets.iter().map(|subset| one(*port, subset))).collect(),
        ..VirtualService::default()
    }
}
