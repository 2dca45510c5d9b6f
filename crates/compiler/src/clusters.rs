//! One cluster: a host's port and subset as a workload sees it.

mod credential;
mod health;
mod limits;
mod secured;

use crate::balance;
use crate::code;
use crate::context::CompileContext;
use crate::credentials::Used;
use crate::destination_rules::{self, Effective, Merged};
use crate::endpoints::{self, EndpointQuery};
use crate::localities;
use crate::report::Notes;
use crate::services::{self, Backing, BackingPort};
use crate::settings::Workload;
use crate::spoken;
use crate::texts;
use ir::{
    Cluster, ClusterId, ClusterTimeouts, DynamicEndpoints, EndpointSource, Lacking, ObjectKind, Origin,
    ProxyProtocolVersion, UpstreamProtocol,
};
use resources::annotation::CERTIFICATE_SPKI;
use resources::key::Key;
use resources::spec::destination_rule::ProxyProtocolVersion as ProxyVersion;
use resources::spec::gateway::Protocol;
use resources::spec::scalar;
use secured::{OriginTls, Secured};
use std::sync::Arc;
use std::time::Duration;

/// DR-20.
const CONNECT: Duration = Duration::from_secs(10);
/// P-11: below what common servers keep, so that a connection seldom closes while a request is on its way. Istio has one hour
/// (DR-21), which is where its intermittent 503 `UC` come from.
const IDLE: Duration = Duration::from_secs(55);

/// A cluster, what was looked for to build it, and what is to be said of DestinationRules.
pub(crate) struct Built {
    pub(crate) cluster: Cluster,
    pub(crate) used: Used,
    pub(crate) notes: Vec<(Key, Notes)>,
}

/// Builds the cluster, or `None` when no workload sees such a host, port or subset.
pub(crate) fn build(
    context: CompileContext<'_>,
    host: &Arc<str>,
    port: u16,
    subset: &str,
    id: &ClusterId,
) -> Option<Built> {
    if id.is_passthrough() {
        return Some(Built { cluster: passthrough(context, id), used: Used::default(), notes: Vec::new() });
    }
    let key = ClusterKey { host, port, subset, id };
    context.workloads().iter().find_map(|client| for_client(context, client, key))
}

/// The host, port and subset of a cluster.
#[derive(Clone, Copy)]
struct ClusterKey<'a> {
    host: &'a Arc<str>,
    port: u16,
    subset: &'a str,
    id: &'a ClusterId,
}

/// The Service or ServiceEntry that a cluster is made of.
struct ClusterBacking<'a> {
    backing: Backing<'a>,
    port: BackingPort<'a>,
    /// All that the client sees of the host.
    visible: Vec<Backing<'a>>,
}

impl ClusterKey<'_> {
    /// The subset. A forward proxy's clients reach what ServiceEntries name: the id has the very one that allows it in place of a subset.
    fn subset(&self) -> &str {
        if self.id.is_forward() { "" } else { self.subset }
    }

    fn find<'c>(&self, context: CompileContext<'c>, client: &Workload) -> Option<ClusterBacking<'c>> {
        let mut visible = services::visible(context, self.host, &client.namespace);
        let entry = if self.id.is_forward() { Some(self.subset.split_once('/')?) } else { None };
        if entry.is_some() {
            visible.retain(|backing| matches!(backing, Backing::Entry(_)));
        }
        let is_meant = |backing: &Backing<'_>| {
            entry.is_none_or(|(namespace, name)| *backing.key().namespace == *namespace && *backing.key().name == *name)
        };
        let mut meant = visible.iter().filter(|backing| is_meant(backing));
        let (backing, port) = meant.find_map(|backing| Some((*backing, backing.port(self.port)?)))?;
        Some(ClusterBacking { backing, port, visible })
    }
}

fn for_client(context: CompileContext<'_>, client: &Workload, key: ClusterKey<'_>) -> Option<Built> {
    let ClusterKey { host, id, .. } = key;
    let ClusterBacking { backing, port, visible } = key.find(context, client)?;
    let rules = destination_rules::lookup(context, host, &backing.key().namespace, client);
    let part = match key.subset() {
        "" => None,
        name => Some(rules.as_ref()?.subset(name)?),
    };
    let effective = rules.as_ref().map_or(Effective::default(), |rules| rules.effective(key.port, part));
    let locality_policy = localities::locality_policy(context, client, backing, effective);
    let query = EndpointQuery { host, port, labels: part.map(|part| &part.labels), locality_policy };
    // What is in a tunnel is the client's own: its TLS, and its requests.
    let is_seen = !id.is_forward() || speaks_http(port.forwarded());
    let seen_rules = rules.as_ref().filter(|_| is_seen);
    let pins = seen_rules.and_then(|rules| rules.annotation(CERTIFICATE_SPKI)).map(|(_, pins)| pins);
    let owner = rules.as_ref().map_or("", Merged::namespace);
    let origin_tls = OriginTls { owner, tls: effective.tls, pins };
    let Secured { tls, fault, mut used, notes } = secured::compile(context, client, backing, origin_tls);
    let tls = tls.filter(|_| is_seen);
    let injected = credential::compile(context, client, seen_rules, tls.as_deref(), &mut used);
    let guard = rules.as_ref().and_then(Merged::guard);
    let endpoints = match lacking(guard, fault, injected.fault) {
        Some((what, why)) => EndpointSource::Withheld(what, why),
        None if id.is_forward() => endpoints::forward(context, backing, &visible, query),
        None => endpoints::find(context, backing, &visible, query),
    };
    let cluster = Cluster {
        id: id.clone(),
        host: Arc::clone(host),
        origin: backing.origin(),
        policy: rules.as_ref().and_then(Merged::origin).map(Arc::new),
        balance: balance::compile(effective, locality_policy.localities(&endpoints)),
        endpoints,
        protocol: spoken::protocol(context, port, effective),
        tls,
        timeouts: timeouts(context, effective),
        limits: limits::compile(context, effective).map(Arc::new),
        outlier: effective.outlier_detection.map(|policy| Arc::new(health::compile(policy))),
        proxy_protocol: proxy_protocol(effective),
        credential: injected.credential,
    };
    let of_policy = cluster.policy.as_ref().map(|policy| {
        let key = Key::new(Arc::clone(&policy.namespace), Arc::clone(&policy.name));
        (key, notes)
    });
    let of_subset = rules.as_ref().and_then(|rules| empty_subset(rules, key.subset(), &cluster));
    let of_guard = guard.map(|rule| (rule.clone(), guarded(host)));
    let notes = [of_policy, injected.notes, of_subset, of_guard].into_iter().flatten();
    Some(Built { cluster, used, notes: notes.filter(|(_, notes)| !notes.is_empty()).collect() })
}

/// Why nothing may be sent to the endpoints: a DestinationRule that has errors, a fault of TLS, a fault of the credential.
fn lacking(guard: Option<&Key>, tls: Option<Arc<str>>, credential: Option<Arc<str>>) -> Option<(Lacking, Arc<str>)> {
    let tls = guard.map(|rule| format!("DestinationRule {rule} has errors").into()).or(tls);
    tls.map(|why| (Lacking::Tls, why)).or(credential.map(|why| (Lacking::Credential, why)))
}

/// What is said of a rule with errors.
fn guarded(host: &str) -> Notes {
    let mut notes = Notes::default();
    let message = format!("the rule has errors, so that what it asks for `{host}` is not known; requests get 503");
    notes.add_with_help(code::RULE_INVALID, "spec.host", message, "correct what is reported of the rule");
    notes
}

/// The cluster of a forward proxy for destinations that nothing names (`outboundTrafficPolicy: ALLOW_ANY`).
fn passthrough(context: CompileContext<'_>, id: &ClusterId) -> Cluster {
    let effective = Effective::default();
    let endpoints = EndpointSource::Dynamic(DynamicEndpoints { port: None, allowed: Arc::default() });
    Cluster {
        id: id.clone(),
        host: texts::shared("*"),
        origin: Origin {
            kind: ObjectKind::ServiceEntry,
            namespace: texts::shared(""),
            name: texts::shared(""),
            rule: texts::shared(""),
        },
        policy: None,
        balance: balance::compile(effective, ir::Localities::Ignored),
        endpoints,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        timeouts: timeouts(context, effective),
        limits: None,
        outlier: None,
        proxy_protocol: None,
        credential: None,
    }
}

/// Whether HTTP in clear text is spoken on a port of this protocol, so that a forward proxy takes requests for it.
pub(crate) fn speaks_http(protocol: &str) -> bool {
    matches!(Protocol::parse(protocol), Some(Protocol::Http | Protocol::HttpProxy))
}

/// DR-06: a subset whose labels no endpoint has.
fn empty_subset(rules: &Merged<'_>, name: &str, cluster: &Cluster) -> Option<(Key, Notes)> {
    let (rule, at, subset) = rules.defined(name).filter(|(_, _, subset)| !subset.labels.is_empty())?;
    if !matches!(&cluster.endpoints, EndpointSource::Static(endpoints) if endpoints.is_empty()) {
        return None;
    }
    let labels: Vec<String> = subset.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let message = format!(
        "subset `{name}` matches no endpoint of `{}` (labels {}); requests get 503",
        cluster.host,
        labels.join(",")
    );
    let help = if cluster.origin.kind == ObjectKind::Service {
        "labels of endpoints are those of their Pods: add its EndpointSlices and Pods (`kubectl get endpointslices,pods -o yaml`), or correct the labels"
    } else {
        "correct the labels of the subset or of the endpoints"
    };
    let mut notes = Notes::default();
    notes.add_with_help(code::EMPTY_SUBSET, format!("spec.subsets[{at}].labels"), message, help);
    Some((rule.clone(), notes))
}

/// DR-51: V1 where no version is written.
fn proxy_protocol(effective: Effective<'_>) -> Option<ProxyProtocolVersion> {
    effective.proxy_protocol.map(|setting| match setting.version {
        Some(ProxyVersion::V2) => ProxyProtocolVersion::V2,
        Some(ProxyVersion::V1) | None => ProxyProtocolVersion::V1,
    })
}

fn timeouts(context: CompileContext<'_>, effective: Effective<'_>) -> ClusterTimeouts {
    let pool = effective.connection_pool;
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let connect = tcp.and_then(|tcp| tcp.connect_timeout);
    let idle = pool.and_then(|pool| pool.http.as_ref()).and_then(|http| http.idle_timeout);
    // As in Istio, that of TCP is under it.
    let idle = idle.or_else(|| tcp.and_then(|tcp| tcp.idle_timeout));
    let length = |duration: Option<scalar::Duration>| duration.and_then(scalar::Duration::get).filter(|d| !d.is_zero());
    ClusterTimeouts {
        connect: length(connect).or_else(|| length(context.settings.mesh.connect_timeout)).unwrap_or(CONNECT),
        // Zero, which that of TCP alone may be, is for ever.
        idle: idle.map_or(IDLE, |idle| length(Some(idle)).unwrap_or(Duration::MAX)),
    }
}
