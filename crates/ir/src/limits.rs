//! How much may be asked of a cluster at one time, over all workers, and of one connection to it (DR-20, DR-21). What is `None` has no
//! limit, and is not counted.

use crate::Share;
use serde::Serialize;
use std::time::Duration;

/// The limits of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PoolLimits {
    /// Connections. In HTTP/1 further requests wait, in TCP further connections are closed.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection, also while one is being made.
    pub max_pending_requests: Option<u32>,
    /// Requests under way, of either version.
    pub max_requests: Option<u32>,
    /// Requests that are sent again.
    pub max_retries: Option<RetryLimit>,
    /// Requests that one connection carries in its life; at least 1.
    pub max_requests_per_connection: Option<u32>,
    /// The maximum duration of a connection: afterwards it accepts no requests, and a TCP connection is closed.
    pub max_connection_duration: Option<Duration>,
    /// Probes of the system on connections that are silent.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// How many requests may be sent again at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RetryLimit {
    /// So many.
    Count(u32),
    /// A share of the requests that are under way or wait for a connection (`retryBudget`).
    Budget {
        /// The share.
        percent: Share,
        /// So many in any case.
        min_concurrency: u32,
    },
}

/// TCP keepalive; `None` is the system's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TcpKeepalive {
    /// Without an answer to so many, the connection is given up.
    pub probes: Option<u32>,
    /// Before the first, in whole seconds.
    pub time: Option<Duration>,
    /// Between them, in whole seconds.
    pub interval: Option<Duration>,
}
