//! Routes of bytes: the `tls` and `tcp` rules of a VirtualService for one server (VS-60 to VS-67, S-36, S-37).

use crate::code;
use crate::context::CompileContext;
use crate::destination_rules::{self, Effective};
use crate::destinations::{self, Asking};
use crate::frontends::istio::auto_passthrough;
use crate::frontends::istio::references;
use crate::names;
use crate::plan::bindings::{BoundServer, BytesRule};
use crate::plan::servers::ServerKind;
use crate::report::Notes;
use crate::services;
use crate::settings::Workload;
use crate::texts;
use ir::{Authority, HostPattern, ObjectKind, Origin, TargetCluster, TcpRoute, TcpTarget, Tunnel, TunnelMethod};
use resources::set::Object;
use resources::spec::scalar::{self, Text};
use resources::spec::virtual_service::{L4Destination, VirtualService};
use std::sync::Arc;
use std::time::Duration;

/// S-125.
const IDLE: Duration = Duration::from_secs(3600);

/// Conditions that both kinds of rules have.
struct Conditions<'a> {
    port: Option<u32>,
    gateways: &'a [Text],
}

/// The rules of a VirtualService that are for a server.
pub(crate) fn compile(
    context: CompileContext<'_>,
    object: &Object<VirtualService>,
    target: BoundServer<'_>,
    notes: &mut Notes,
) -> Vec<BytesRule> {
    let compiler = Compiler { context, object, target };
    match &target.server.kind {
        ServerKind::Passthrough if !auto_passthrough::is_implied(&object.key) => compiler.by_name(notes),
        ServerKind::AutoPassthrough if auto_passthrough::is_implied(&object.key) => compiler.by_name(notes),
        ServerKind::Passthrough | ServerKind::AutoPassthrough => Vec::new(),
        ServerKind::Tcp | ServerKind::Tls(_) => compiler.whole(notes).into_iter().collect(),
        ServerKind::Http { .. } | ServerKind::Https(_) | ServerKind::Proxy(..) => Vec::new(),
    }
}

struct Compiler<'a> {
    context: CompileContext<'a>,
    object: &'a Object<VirtualService>,
    target: BoundServer<'a>,
}

impl Compiler<'_> {
    /// `tls` rules, each for the names that it has in common with the server: a rule cannot open what the Gateway does not name (VS-62).
    fn by_name(&self, notes: &mut Notes) -> Vec<BytesRule> {
        let mut found = Vec::new();
        for (index, rule) in self.object.spec.tls.iter().enumerate() {
            let mut names = Vec::new();
            for (at, entry) in rule.matches.iter().enumerate() {
                if !self.is_for_server(&Conditions { port: entry.port, gateways: &entry.gateways }) {
                    continue;
                }
                let field = format!("spec.tls[{index}].match[{at}]");
                without_effect(entry.destination_subnets.is_empty() && entry.source_labels.is_empty(), &field, notes);
                for (place, text) in entry.sni_hosts.iter().enumerate() {
                    self.name(text, &format!("{field}.sniHosts[{place}]"), &mut names, notes);
                }
            }
            names.sort_unstable();
            names.dedup();
            if !names.is_empty()
                && let Some(route) = self.route(&rule.route, "tls", index, notes)
            {
                found.push(BytesRule { names, route });
            }
        }
        found
    }

    fn name(&self, text: &str, field: &str, names: &mut Vec<(HostPattern, HostPattern)>, notes: &mut Notes) {
        let Ok(name) = HostPattern::parse(text) else {
            notes.add(code::BAD_HOST, field, format!("`{text}` is not a valid server name"));
            return;
        };
        let hosts = &self.target.server.hosts;
        if self.target.server.kind == ServerKind::AutoPassthrough {
            let service = auto_passthrough::service_of(text);
            if service.is_some_and(|host| !hosts.intersect(&[host], &self.object.key.namespace).is_empty()) {
                names.push((name.clone(), name));
            }
            return;
        }
        let met = hosts.intersect(std::slice::from_ref(&name), &self.object.key.namespace);
        if !met.contains(&name) {
            let message = format!("`{name}` goes beyond the hosts of the server ({}), which count", hosts.describe());
            notes.add(code::SNI_CLAMPED, field, message);
        }
        names.extend(met.into_iter().map(|met| (met, name.clone())));
    }

    /// The first `tcp` rule that is for the server (VS-64).
    fn whole(&self, notes: &mut Notes) -> Option<BytesRule> {
        for (index, rule) in self.object.spec.tcp.iter().enumerate() {
            let mut fits = rule.matches.is_empty();
            for (at, entry) in rule.matches.iter().enumerate() {
                let unasked = entry.destination_subnets.is_empty()
                    && entry.source_labels.is_empty()
                    && entry.source_subnet.is_empty();
                without_effect(unasked, &format!("spec.tcp[{index}].match[{at}]"), notes);
                fits |= self.is_for_server(&Conditions { port: entry.port, gateways: &entry.gateways });
            }
            if fits {
                let route = self.route(&rule.route, "tcp", index, notes)?;
                return Some(BytesRule { names: Vec::new(), route });
            }
        }
        None
    }

    /// VS-61.
    fn is_for_server(&self, conditions: &Conditions<'_>) -> bool {
        let server = self.target.server;
        if conditions.port.is_some_and(|port| port != 0 && port != u32::from(server.port)) {
            return false;
        }
        let domain = self.context.domain();
        let mut named = conditions.gateways.iter().filter_map(|name| references::gateway(name, self.object, domain));
        conditions.gateways.is_empty() || named.any(|gateway| gateway == server.place.owner.object)
    }

    fn route(
        &self,
        destinations: &[L4Destination],
        block: &str,
        index: usize,
        notes: &mut Notes,
    ) -> Option<Arc<TcpRoute>> {
        let (namespace, name) = (&self.object.key.namespace, &self.object.key.name);
        let workload = self.target.workload;
        let asking = Asking { workload, namespace, server_port: self.target.server.port };
        let single = destinations.len() == 1;
        let mut targets = Vec::with_capacity(destinations.len());
        let mut idle = None;
        let mut tunnel = None;
        for (at, destination) in destinations.iter().enumerate() {
            // VS-65: as VS-33.
            let weight = if single { 1 } else { u32::try_from(destination.weight).unwrap_or(0) };
            let Some(written) = destination.destination.as_ref().filter(|_| weight > 0) else { continue };
            let field = format!("spec.{block}[{index}].route[{at}].destination");
            let cluster = destinations::resolve(self.context, asking, written, &field, notes);
            let effective = effective(self.context, workload, &cluster);
            if targets.is_empty() {
                idle = effective.and_then(idle_timeout);
            }
            tunnel = self.tunnel(effective, single, &field, notes)?;
            targets.push(TcpTarget { cluster, weight });
        }
        if targets.is_empty() {
            let field = format!("spec.{block}[{index}].route");
            notes.add(code::NO_ACTION, field, "there is no destination with a weight, and the rule is left out");
            return None;
        }
        let rule = texts::shared(&format!("{block}[{index}]"));
        let origin =
            Origin { kind: ObjectKind::VirtualService, namespace: Arc::clone(namespace), name: Arc::clone(name), rule };
        Some(Arc::new(TcpRoute { origin, targets, idle_timeout: idle.unwrap_or(Some(IDLE)), tunnel }))
    }

    /// DR-50: that of the only destination. What AUTO_PASSTHROUGH lets in goes to its cluster as it is. `None`, which leaves the rule
    /// out, for a target that validation refuses: its bytes may not go to the proxy as they are.
    fn tunnel(
        &self,
        effective: Option<Effective<'_>>,
        single: bool,
        field: &str,
        notes: &mut Notes,
    ) -> Option<Option<Arc<Tunnel>>> {
        let Some(written) = effective.and_then(|effective| effective.tunnel) else { return Some(None) };
        if auto_passthrough::is_implied(&self.object.key) {
            return Some(None);
        }
        if !single {
            let message = "the tunnel of the destination's policy is not used, as the rule has several destinations";
            let help = "write a rule with this destination alone";
            notes.add_with_help(code::TUNNEL_UNUSED, field, message, help);
            return Some(None);
        }
        let method = if &*written.protocol == "POST" { TunnelMethod::Post } else { TunnelMethod::Connect };
        let (host, port) = (written.target_host.trim_matches(['[', ']']), written.target_port);
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let authority = Authority::parse(&authority);
        let authority = authority.map_err(|error| notes.add(code::NO_ACTION, field, error.to_string())).ok()?;
        Some(Some(Arc::new(Tunnel { method, authority })))
    }
}

fn without_effect(unasked: bool, field: &str, notes: &mut Notes) {
    if !unasked {
        let message = "subnets and labels of clients have no meaning at a gateway";
        notes.add(code::FIELD_NO_EFFECT, field, message);
    }
}

/// The policy of a destination.
fn effective<'a>(context: CompileContext<'a>, workload: &Workload, cluster: &TargetCluster) -> Option<Effective<'a>> {
    let TargetCluster::Known(id) = cluster else { return None };
    let (port, subset, host) = names::parts(id)?;
    let visible = services::visible(context, host, &workload.namespace);
    let backing = visible.iter().find(|backing| backing.port(port).is_some())?;
    let rules = destination_rules::lookup(context, host, &backing.key().namespace, workload)?;
    Some(rules.effective(port, rules.subset(subset).filter(|_| !subset.is_empty())))
}

/// VS-66: as the policy of the first destination has it; `Some(None)` is for ever.
fn idle_timeout(effective: Effective<'_>) -> Option<Option<Duration>> {
    let timeout = effective.connection_pool?.tcp.as_ref()?.idle_timeout.and_then(scalar::Duration::get)?;
    Some((!timeout.is_zero()).then_some(timeout))
}
