//! A connection for one HTTP/1 request: an idle one, a new one, or, at the limit of connections, the next that becomes free.

use crate::cluster::ClusterState;
use crate::connect::{Acquire, Acquired, ConnectContext, ConnectError, Connection, ConnectionPermit, IdleKey};
use crate::endpoint::EndpointState;
use crate::pool::Pool;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a request waits for a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectTimeouts<F> {
    /// Whether an idle connection may be used.
    pub idle: bool,
    /// How long to wait at the limit of connections; `None` is without limit.
    pub wait: Option<Duration>,
    /// The connect timeout; computed when connecting begins.
    pub connect: F,
}

/// Gets a connection to an endpoint of a cluster.
pub async fn h1_connection(
    pool: &RefCell<Pool>,
    cluster: &ClusterState,
    endpoint: &Arc<EndpointState>,
    context: ConnectContext<'_>,
    timeouts: ConnectTimeouts<impl FnOnce() -> Duration>,
) -> Result<Connection, ConnectError> {
    let idle = if timeouts.idle { pool.borrow_mut().take(cluster, endpoint, context) } else { None };
    if let Some(connection) = idle {
        return Ok(connection);
    }
    let _pending = cluster.begin_pending().ok_or(ConnectError::Overflow)?;
    let permit = match cluster.limiter().map(|limiter| limiter.acquire()) {
        None => None,
        Some(Acquire::Permit(permit)) => Some(permit),
        Some(Acquire::Wait(receiver)) => {
            cluster.count_overflow();
            let pool_key = cluster.pool_key(context)?;
            let wanted = IdleKey { endpoint: endpoint.id, pool_key: pool_key.as_ref() };
            let grant = wait(receiver, timeouts.wait).await.ok_or(ConnectError::Busy)?;
            match open(grant, wanted, timeouts.idle) {
                Ok(connection) => return Ok(connection),
                Err(permit) => permit,
            }
        }
    };
    cluster.connect_at(endpoint, context, permit, (timeouts.connect)()).await
}

async fn wait(receiver: oneshot::Receiver<Acquired>, limit: Option<Duration>) -> Option<Acquired> {
    match limit {
        None => receiver.await.ok(),
        Some(limit) => tokio::time::timeout(limit, receiver).await.ok()?.ok(),
    }
}

fn open(grant: Acquired, wanted: IdleKey<'_>, idle: bool) -> Result<Connection, Option<ConnectionPermit>> {
    match grant.open(wanted) {
        // After a failed attempt, idle connections are not trusted.
        Ok(mut connection) if !idle => Err(connection.permit.take()),
        opened => opened,
    }
}
