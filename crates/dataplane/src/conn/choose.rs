//! Chooses an endpoint of a cluster, and waits where the choice is not ready.

use super::Worker;
use std::sync::Arc;
use upstream::{ClusterState, NoEndpoint, PickContext, PickedEndpoint};

/// The number of tables to wait for in a row.
const TABLES: usize = 8;

/// Chooses an endpoint; waits for the first DNS answer of the cluster, and for its hash table (DR-11).
pub(crate) async fn choose(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    wanted: PickContext<'_>,
) -> Result<PickedEndpoint, NoEndpoint> {
    let mut picked = cluster.pick(&mut || worker.random(), wanted);
    if matches!(picked, Err(NoEndpoint::Unresolved)) {
        worker.upstream.begin_resolving(cluster);
        cluster.wait_resolved(worker.limits.resolve_timeout).await;
        picked = cluster.pick(&mut || worker.random(), wanted);
    }
    // Endpoints may change while their table is built; then there is another one to wait for.
    for _ in 0..TABLES {
        if !matches!(picked, Err(NoEndpoint::TableNotReady)) {
            break;
        }
        cluster.wait_for_table().await;
        picked = cluster.pick(&mut || worker.random(), wanted);
    }
    picked
}
