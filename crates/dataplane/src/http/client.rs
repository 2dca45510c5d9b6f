//! A connection of a client: its parts, and what happens to it after an exchange.

use crate::codec::Downstream;
use crate::conn::{Buffer, Client, TableState, Timer, Worker};
use std::rc::Rc;
use std::sync::Arc;
use wire::h1::HeadLimits;

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) downstream: Downstream,
    /// Octets received but not consumed: heads and pipelined requests.
    pub(crate) input: Buffer,
    pub(crate) timer: Timer,
    pub(crate) client: Rc<Client>,
    pub(crate) table: Arc<TableState>,
}

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    /// The next request may follow.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed without the end of TLS: what the client has received is incomplete.
    Abort,
    /// It is closed after the response has arrived at the client.
    Linger,
}

impl ClientConnection {
    /// The limits of its heads.
    pub(super) fn head_limits(&self, worker: &Worker) -> HeadLimits {
        head_limits(worker, &self.client, &self.table)
    }

    /// Whether the next response closes the connection.
    pub(super) fn is_draining(&self, worker: &Worker) -> bool {
        self.client.is_draining(worker, &self.table)
    }
}

/// The limits of heads on a connection of a client.
pub(super) fn head_limits(worker: &Worker, client: &Client, table: &TableState) -> HeadLimits {
    let limits = routing::head_limits(&client.mesh_settings, worker.limits.head);
    if table.is_forward() { limits.of_proxy() } else { limits }
}
