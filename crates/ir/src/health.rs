//! What is made of endpoints whose requests fail (DR-30).

use serde::Serialize;
use std::time::Duration;

/// When an endpoint is ejected, and for how long. Failures are counted per endpoint, over all routes and workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlierDetection {
    /// So many failures in a row: 5xx, and where they are not told apart, connections that failed or were reset and answers that did
    /// not come in time. 0 is never.
    pub consecutive_5xx: u32,
    /// The same for 502, 503, 504 and connections. 0 is never.
    pub consecutive_gateway_failure: u32,
    /// Where failures of connections are told apart from answers: so many of them in a row.
    pub consecutive_local_origin_failure: Option<u32>,
    /// Statuses besides 5xx that are failures, sorted.
    pub error_statuses: Box<[u16]>,
    /// Between two looks whether an endpoint may come back.
    pub interval: Duration,
    /// An endpoint is out for so long, times how often it was lately.
    pub base_ejection_time: Duration,
    /// The longest time.
    pub max_ejection_time: Duration,
    /// At most so many of a hundred endpoints are out; where that is less than one endpoint, none is.
    pub max_ejection_percent: u32,
}
