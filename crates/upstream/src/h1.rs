//! A connection for one request of HTTP/1: one that is idle, a new one, or, where their number is limited, the one that is free next.

use crate::cluster::ClusterState;
use crate::connect::{Claim, ConnectError, Connection, Grant, Place, Sender, Wanted};
use crate::endpoint::EndpointState;
use crate::pool::Pool;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a request waits, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience<F> {
    /// Whether it takes a connection that was idle.
    pub idle: bool,
    /// For a connection that is free, where there may be no more; `None` is for as long as it takes.
    pub wait: Option<Duration>,
    /// For a new connection, asked for when it begins to be made.
    pub connect: F,
}

/// A connection to an endpoint of a cluster.
pub async fn h1_connection(
    pool: &RefCell<Pool>,
    cluster: &ClusterState,
    endpoint: &Arc<EndpointState>,
    sender: Sender<'_>,
    patience: Patience<impl FnOnce() -> Duration>,
) -> Result<Connection, ConnectError> {
    let idle = if patience.idle { pool.borrow_mut().take(cluster, endpoint, sender) } else { None };
    if let Some(connection) = idle {
        return Ok(connection);
    }
    let _pending = cluster.begin_pending().ok_or(ConnectError::Overflow)?;
    let place = match cluster.places().map(|places| places.claim()) {
        None => None,
        Some(Claim::Place(place)) => Some(place),
        Some(Claim::Wait(receiver)) => {
            cluster.count_overflow();
            let purpose = cluster.purpose(sender)?;
            let wanted = Wanted { endpoint: endpoint.id, purpose: purpose.as_ref() };
            let grant = wait(receiver, patience.wait).await.ok_or(ConnectError::Busy)?;
            match open(grant, wanted, patience.idle) {
                Ok(connection) => return Ok(connection),
                Err(place) => place,
            }
        }
    };
    cluster.connect_at(endpoint, sender, place, (patience.connect)()).await
}

async fn wait(receiver: oneshot::Receiver<Grant>, limit: Option<Duration>) -> Option<Grant> {
    match limit {
        None => receiver.await.ok(),
        Some(limit) => tokio::time::timeout(limit, receiver).await.ok()?.ok(),
    }
}

fn open(grant: Grant, wanted: Wanted<'_>, idle: bool) -> Result<Connection, Option<Place>> {
    match grant.open(wanted) {
        // After a failure none that was idle is trusted.
        Ok(mut connection) if !idle => Err(connection.place.take()),
        opened => opened,
    }
}
