//! Clusters at run time: their endpoints, which one takes the next request, connections to them, and names that are resolved.
//!
//! [`store::Upstream`] is one for the process and is changed by the control side; [`pool::Pool`] is one for each worker. Nothing
//! here knows of routes or of HTTP.

pub mod balance;
pub mod cluster;
pub mod connect;
mod dns;
pub mod endpoint;
pub mod pool;
pub mod store;

pub use cluster::{ClusterCounts, ClusterState, NoEndpoint};
pub use connect::{ConnectError, Connection, Stream, connect};
pub use endpoint::{EndpointState, InFlight};
pub use pool::{Pool, PoolCounters, PoolSettings};
pub use store::{Settings, Upstream};
