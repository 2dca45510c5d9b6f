//! Clusters at run time: their endpoints, which one takes the next request, connections to them (TLS and HTTP/2 among them), and names
//! that are resolved.
//!
//! [`store::UpstreamStore`] is one for the process and is changed by the control side; [`pool::Pool`] is one for each worker. Nothing
//! here knows of routes, or of what requests are.

pub mod balance;
pub mod certificate;
pub mod cluster;
mod coalesce;
pub mod connect;
mod destinations;
mod dns;
mod ejection;
pub mod endpoint;
mod fetch;
#[cfg(test)]
mod fixture;
mod h1;
mod h2;
pub mod identity;
pub mod parameters;
pub mod pool;
mod reachable;
pub mod store;
mod tasks;
mod tls;
mod watch;

pub use balance::{PickContext, xxhash64};
pub use cluster::{ClusterCounts, ClusterState, Counted, Ejections, NoEndpoint, UsageCounts};
pub use coalesce::{Coalesced, Turn};
pub use connect::{ConnectContext, ConnectError, Connection, Replay, Stream};
pub use destinations::{DestinationError, Found, Resolution};
pub use dns::Unresolved;
pub use endpoint::{EndpointState, InFlight, Outcome, PickedEndpoint};
pub use fetch::{Blocked, FetchError, FetchRequest};
pub use h1::{ConnectTimeouts, h1_connection};
pub use h2::{H2Stream, Holder, Outgoing, STREAM_WINDOW, StreamPermit, Streams, h2_stream, is_unprocessed};
pub use pool::{Pool, PoolCounters, PoolSettings};
pub use reachable::is_reachable;
pub use store::{Settings, UpstreamStore};
pub use tls::has_system_authorities;
pub use watch::{FrameBounds, Marks, StreamMarks, TrailerObserver, Watched};
