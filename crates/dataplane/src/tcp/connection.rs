//! The client's side of a TCP connection.

use crate::conn::{Buffer, Client, Policies, Timer};
use routing::TcpEntry;
use std::rc::Rc;
use std::sync::Arc;
use upstream::Stream;

/// A client's connection, and its route.
pub(crate) struct TcpConnection {
    pub(crate) stream: Stream,
    /// Octets that were already received.
    pub(crate) input: Buffer,
    pub(crate) timer: Timer,
    pub(crate) client: Rc<Client>,
    pub(crate) entry: Arc<TcpEntry>,
    /// The policies of the workload that came with the route.
    pub(crate) policies: Option<Arc<Policies>>,
}
