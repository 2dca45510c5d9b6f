//! One cluster: a host's port and subset as a workload sees it.

use crate::destination_rules::{self, Effective, Merged};
use crate::endpoints::{self, Wanted};
use crate::services;
use crate::settings::Workload;
use crate::world::World;
use ir::{Balance, Cluster, ClusterId, ClusterTimeouts, EndpointSource, UpstreamProtocol};
use resources::spec::destination_rule::{ClientTlsMode, SimpleBalancer};
use resources::spec::scalar;
use std::sync::Arc;
use std::time::Duration;

/// DR-20.
const CONNECT: Duration = Duration::from_secs(10);
/// P-11: below what common servers keep, so that a connection seldom closes while a request is on its way. Istio has one hour
/// (DR-21), which is where its intermittent 503 `UC` come from.
const IDLE: Duration = Duration::from_secs(55);

/// Builds the cluster, or `None` when no workload sees such a host, port or subset.
pub(crate) fn build(world: World<'_>, host: &Arc<str>, port: u16, subset: &str, id: &ClusterId) -> Option<Cluster> {
    world.workloads().iter().find_map(|client| for_client(world, client, host, port, subset, id))
}

fn for_client(
    world: World<'_>,
    client: &Workload,
    host: &Arc<str>,
    port: u16,
    subset: &str,
    id: &ClusterId,
) -> Option<Cluster> {
    let visible = services::visible(world, host, &client.namespace);
    let (backing, backing_port) = visible.iter().find_map(|backing| Some((*backing, backing.port(port)?)))?;
    let rules = destination_rules::lookup(world, host, &backing.key().namespace, client);
    let part = match subset {
        "" => None,
        name => Some(rules.as_ref()?.subset(name)?),
    };
    let effective = rules.as_ref().map_or(Effective::default(), |rules| rules.effective(port, part));
    let wanted = Wanted { host, port: backing_port, labels: part.map(|part| &part.labels) };
    Some(Cluster {
        id: id.clone(),
        host: Arc::clone(host),
        origin: backing.origin(),
        policy: rules.as_ref().and_then(Merged::origin).map(Arc::new),
        endpoints: match demanded_tls(effective) {
            Some(reason) => EndpointSource::Never(reason.into()),
            None => endpoints::find(world, backing, &visible, wanted),
        },
        balance: balance(effective),
        protocol: UpstreamProtocol::Http1,
        timeouts: timeouts(world, effective),
    })
}

/// DR-40: who asks for TLS towards a server must not get clear text. `ISTIO_MUTUAL` is between workloads of a mesh, which
/// take clear text too unless told otherwise.
fn demanded_tls(effective: Effective<'_>) -> Option<&'static str> {
    match effective.tls.and_then(|tls| tls.mode) {
        Some(ClientTlsMode::Simple | ClientTlsMode::Mutual) => Some(
            "the DestinationRule asks for TLS to the endpoints, which does not act yet; nothing is sent in clear text",
        ),
        Some(ClientTlsMode::Disable | ClientTlsMode::IstioMutual) | None => None,
    }
}

/// DR-10. What does not act yet falls back to the default, which the report of the DestinationRule says.
fn balance(effective: Effective<'_>) -> Balance {
    match effective.load_balancer.and_then(|balancer| balancer.simple) {
        Some(SimpleBalancer::RoundRobin) => Balance::RoundRobin,
        Some(SimpleBalancer::Random) => Balance::Random,
        Some(
            SimpleBalancer::LeastConn
            | SimpleBalancer::LeastRequest
            | SimpleBalancer::Passthrough
            | SimpleBalancer::Unspecified,
        )
        | None => Balance::LeastRequest,
    }
}

fn timeouts(world: World<'_>, effective: Effective<'_>) -> ClusterTimeouts {
    let pool = effective.connection_pool;
    let connect = pool.and_then(|pool| pool.tcp.as_ref()).and_then(|tcp| tcp.connect_timeout);
    let idle = pool.and_then(|pool| pool.http.as_ref()).and_then(|http| http.idle_timeout);
    let length = |duration: Option<scalar::Duration>| duration.and_then(scalar::Duration::get).filter(|d| !d.is_zero());
    ClusterTimeouts {
        connect: length(connect).or_else(|| length(world.settings.mesh.connect_timeout)).unwrap_or(CONNECT),
        idle: length(idle).unwrap_or(IDLE),
    }
}
