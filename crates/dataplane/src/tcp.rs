//! TCP proxying: plain TCP, terminated TLS, and TLS passthrough.

mod authorization;
mod connection;
mod ext_authz;
mod tunnel;

pub(crate) use connection::TcpConnection;

use crate::codec::{Tunnel, TunnelClient, Upstream};
use crate::conn::{Relayed, Worker, choose};
use crate::metrics::add;
use crate::reasons::{DestinationReason, Flags, Reject};
use crate::stream_info::{FinishedStream, NoRequest, StreamFacts, StreamInfo, StreamKind};
use ir::{HashKey, TargetCluster};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tunnel::{TunnelError, TunnelOpener};
use upstream::{
    ClusterState, ConnectContext, ConnectError, Counted, EndpointState, InFlight, NoEndpoint, PickContext,
    PickedEndpoint, xxhash64,
};
use wire::destination::Destination;

/// An open path to an endpoint.
struct UpstreamPath {
    tunnel: Tunnel,
    endpoint: Arc<EndpointState>,
    /// Its count among the cluster's requests, if it leads through a proxy.
    _counted: Option<Counted>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, mut conn: TcpConnection) {
    let (mut info, mut cluster) = (StreamInfo::new(), None);
    // As for requests, the service is asked first (AP-02).
    if !ext_authz::allows(&worker, &conn, &mut info).await {
        return record(&worker, &conn, None, &info);
    }
    if let Some(denied) = authorization::denied(&conn, &mut info) {
        (info.denied, info.is_denied) = (Some(denied), true);
        return record(&worker, &conn, None, &info);
    }
    if let Some((UpstreamPath { mut tunnel, _counted, .. }, _in_flight)) =
        connect(&worker, &conn, &mut cluster, &mut info).await
    {
        info.endpoint = Some(Arc::clone(tunnel.endpoint()));
        info.upstream_local = tunnel.local_address();
        let deadline = tunnel.deadline();
        let client = TunnelClient {
            peer: &mut conn.stream,
            received: &mut conn.input,
            timer: &conn.timer,
            idle_timeout: conn.entry.config.idle_timeout,
        };
        let Relayed { to_backend, to_client, .. } = tunnel.run(&worker, client, deadline).await;
        (info.received, info.sent) = (to_backend, to_client);
        if deadline.is_some_and(|end| end <= Instant::now()) {
            info.flags = Flags::DT;
        }
    }
    record(&worker, &conn, cluster.as_deref(), &info);
}

/// Connects to one of the route's clusters; tries a second endpoint if the first is unreachable.
async fn connect(
    worker: &Worker,
    conn: &TcpConnection,
    chosen_cluster: &mut Option<Arc<ClusterState>>,
    info: &mut StreamInfo,
) -> Option<(UpstreamPath, Option<InFlight>)> {
    let target = conn.entry.choose(|| worker.random());
    let slot = conn.entry.targets.get(target).and_then(|target| target.slot);
    let Some(cluster) = slot.and_then(|slot| worker.upstream.cluster(slot)) else {
        info.flags = Flags::NC;
        return None;
    };
    *chosen_cluster = Some(Arc::clone(&cluster));
    let cluster = if cluster.is_dynamic() { named(worker, conn, &cluster, info).await? } else { cluster };
    let mut avoid: Option<u64> = None;
    let hash = source_hash(worker, conn, &cluster);
    loop {
        let wanted = PickContext { hash, avoid: avoid.as_slice(), excluded: 0 };
        let PickedEndpoint { endpoint, in_flight } = match choose(worker, &cluster, wanted).await {
            Ok(picked) => picked,
            Err(none) => {
                info.flags = Reject::from(&none).reason().flags;
                if let NoEndpoint::Withheld(_, reason) = none {
                    info.transport_failure = reason.to_string();
                }
                return None;
            }
        };
        info.begin_attempt(&endpoint);
        let failure = match reach(worker, conn, &cluster, &endpoint).await {
            Ok(path) => {
                info.set_endpoint(&path.endpoint);
                worker.report(&cluster, &path.endpoint, upstream::Outcome::Served);
                info.flags = Flags::NONE;
                return Some((path, in_flight));
            }
            Err(TunnelError::Connect(ConnectError::Overflow)) => {
                info.flags = Flags::UO;
                return None;
            }
            Err(failure) => failure,
        };
        add(&worker.metrics.connect_failed);
        if !failure.is_own() {
            worker.report(&cluster, &endpoint, failure.outcome());
        }
        // As in Envoy, which counts attempts for TCP as well.
        (info.flags, info.transport_failure) = (Flags::UF | Flags::URX, failure.to_string());
        let others = cluster.endpoints().is_some_and(|endpoints| endpoints.len() > 1);
        if avoid.is_some() || !others || !failure.is_of_endpoint() {
            return None;
        }
        avoid = Some(endpoint.id);
    }
}

/// The cluster of the destination that the client names by its SNI (SE-09). The connection is closed if the name is none of the cluster's, or has no
/// address that may be connected to.
async fn named(
    worker: &Worker,
    conn: &TcpConnection,
    template: &ClusterState,
    info: &mut StreamInfo,
) -> Option<Arc<ClusterState>> {
    info.flags = Flags::UH;
    let Ok(asked) = Destination::parse(conn.client.server_name().as_bytes()) else {
        info.transport_failure = "the client names no destination by SNI".to_owned();
        return None;
    };
    let port = asked.port.or(conn.client.local.map(|local| local.port())).unwrap_or_default();
    let client = conn.client.remote.ip();
    match worker.upstream.destination(template, asked.host, port, client, worker.limits.resolve_timeout).await {
        Ok(found) => {
            (info.flags, info.resolution) = (Flags::NONE, found.resolution);
            Some(found.cluster)
        }
        Err(error) => {
            info.transport_failure = error.to_string();
            let reason = DestinationReason::of(&error);
            (info.detail, info.is_denied) = (reason.detail, reason.is_denial);
            info.resolution = error.into_resolution();
            None
        }
    }
}

/// Connects to an endpoint, or opens a tunnel through it.
async fn reach(
    worker: &Worker,
    conn: &TcpConnection,
    cluster: &Arc<ClusterState>,
    endpoint: &Arc<EndpointState>,
) -> Result<UpstreamPath, TunnelError> {
    let ends = conn.client.ends();
    let sender = ConnectContext { host: None, ends: ends.as_ref() };
    if let Some(tunnel) = &conn.entry.config.tunnel {
        let (tunnel, counted) = TunnelOpener { worker, cluster, endpoint, sender, tunnel }.open().await?;
        return Ok(UpstreamPath { tunnel, endpoint: Arc::clone(endpoint), _counted: Some(counted) });
    }
    let connection = cluster.connect(endpoint, sender, cluster.config.timeouts.connect).await?;
    add(&worker.metrics.connected);
    let endpoint = Arc::clone(&connection.endpoint);
    let tunnel = Tunnel::open(Upstream::connection(connection), worker.buffer());
    Ok(UpstreamPath { tunnel, endpoint, _counted: None })
}

/// DR-11, VS-66: the hash of the client's address, if the route's first cluster asks for it and the chosen cluster uses hashing.
fn source_hash(worker: &Worker, conn: &TcpConnection, chosen: &ClusterState) -> Option<u64> {
    chosen.config.balance.hash()?;
    let first = worker.upstream.cluster(conn.entry.targets.first()?.slot?)?;
    (first.hash_key() == Some(&HashKey::SourceIp)).then(|| xxhash64(&conn.client.peer, 0))
}

fn record(worker: &Worker, conn: &TcpConnection, cluster: Option<&ClusterState>, info: &StreamInfo) {
    let target = || match conn.entry.cluster(0) {
        Some(TargetCluster::Known(id) | TargetCluster::Unknown { id, .. }) => id.as_str(),
        None => "",
    };
    worker.record(&FinishedStream {
        kind: StreamKind::Connection,
        stream: StreamFacts {
            cluster: cluster.map_or_else(target, |cluster| cluster.config.id.as_str()),
            ..conn.client.facts()
        },
        destination: cluster.map(|cluster| &*cluster.config.host),
        stat_prefix: None,
        origin: Some(&conn.entry.config.origin),
        info,
        ended: Instant::now(),
        request: &NoRequest,
    });
}
