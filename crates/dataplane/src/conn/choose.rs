//! An endpoint of a cluster, for whoever sends something there.

use super::Worker;
use std::sync::Arc;
use upstream::{ClusterState, EndpointState, InFlight, NoEndpoint, PickContext};

/// Tables that are waited for, one after the other.
const TABLES: usize = 8;

/// An endpoint of a cluster; waits for the first answer to its name, and for the table of its endpoints (DR-11).
pub(crate) async fn choose(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    wanted: PickContext<'_>,
) -> Result<(Arc<EndpointState>, Option<InFlight>), NoEndpoint> {
    let mut picked = cluster.pick(&mut || worker.random(), wanted);
    if matches!(picked, Err(NoEndpoint::Unresolved)) {
        worker.upstream.begin_resolving(cluster);
        cluster.wait_resolved(worker.limits.resolve_timeout).await;
        picked = cluster.pick(&mut || worker.random(), wanted);
    }
    // Endpoints may change while their table is laid out, and then there is another to wait for.
    for _ in 0..TABLES {
        if !matches!(picked, Err(NoEndpoint::TableNotReady)) {
            break;
        }
        cluster.wait_for_table().await;
        picked = cluster.pick(&mut || worker.random(), wanted);
    }
    picked
}
