//! An endpoint of a cluster, for whoever sends something there.

use super::Worker;
use std::sync::Arc;
use upstream::{ClusterState, EndpointState, InFlight, NoEndpoint};

/// An endpoint of a cluster; waits for the first answer to its name. Those in `avoid` are not chosen while there are others.
pub(crate) async fn choose(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    avoid: &[u64],
) -> Result<(Arc<EndpointState>, Option<InFlight>), NoEndpoint> {
    let mut picked = cluster.pick(&mut || worker.random(), avoid);
    if matches!(picked, Err(NoEndpoint::Unresolved)) {
        worker.upstream.begin_resolving(cluster);
        cluster.wait_resolved(worker.limits.resolve_timeout).await;
        picked = cluster.pick(&mut || worker.random(), avoid);
    }
    picked
}
