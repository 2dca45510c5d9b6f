//! What bounds the requests to a cluster, in words.

use crate::words::time;
use ir::{Cluster, EndpointSource, OutlierDetection, PoolLimits, RetryLimit, TcpKeepalive};

/// All of it; empty where nothing is set.
pub(super) fn bounds(cluster: &Cluster) -> Vec<String> {
    let limits = cluster.limits.as_deref().map(limits).filter(|words| !words.is_empty());
    let count = match &cluster.endpoints {
        EndpointSource::Static(endpoints) => Some(endpoints.len()),
        EndpointSource::Dns { .. }
        | EndpointSource::Dynamic(_)
        | EndpointSource::Never(_)
        | EndpointSource::Withheld(..) => None,
    };
    limits.into_iter().chain(cluster.outlier.as_deref().map(|policy| outlier(policy, count))).collect()
}

fn limits(limits: &PoolLimits) -> String {
    let at_most = |count: Option<u32>, of: &str| count.map(|count| format!("{count} {of}"));
    let retries = limits.max_retries.map(|limit| match limit {
        RetryLimit::Count(count) => format!("{count} retries"),
        RetryLimit::Budget { percent, min_concurrency } => {
            format!("retries for {} % of the requests, or {min_concurrency}", percent.percent())
        }
    });
    let counts = [
        at_most(limits.max_connections, "connections"),
        at_most(limits.max_pending_requests, "requests that wait for one"),
        at_most(limits.max_requests, "requests"),
        retries,
    ];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let at_once = (!counts.is_empty()).then(|| format!("at most {} at one time", counts.join(", ")));
    let carried = limits.max_requests_per_connection.map(|count| format!("a connection carries {count} requests"));
    let life = limits.max_connection_duration.map(|life| format!("a connection is used for {}", time(life)));
    let probes = limits.tcp_keepalive.map(keepalive);
    at_once.into_iter().chain(carried).chain(life).chain(probes).collect::<Vec<_>>().join("; ")
}

fn keepalive(probes: TcpKeepalive) -> String {
    let idle = probes.time.map(|idle| format!(" after {}", time(idle)));
    let interval = probes.interval.map(|interval| format!(" every {}", time(interval)));
    let count = probes.probes.map(|count| format!(" up to {count} times"));
    let words: String = idle.into_iter().chain(interval).chain(count).collect();
    format!("the system probes silent connections{words}")
}

/// `count` is how many endpoints there are, where that is known.
fn outlier(policy: &OutlierDetection, count: Option<usize>) -> String {
    let counts = [
        (policy.consecutive_5xx, "5xx"),
        (policy.consecutive_gateway_failure, "502, 503, 504"),
        (policy.consecutive_local_origin_failure.unwrap_or(0), "failures of connections"),
    ];
    let rows: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}")).collect();
    if rows.is_empty() {
        return "no endpoint is ever ejected: every count is 0".to_owned();
    }
    let mut words = format!(
        "an endpoint is ejected for {} and more after {} in a row, up to {} % of them",
        time(policy.base_ejection_time),
        rows.join(" or "),
        policy.max_ejection_percent
    );
    if let Some(count) = count.filter(|count| count * (policy.max_ejection_percent as usize) < 100) {
        words.push_str(&format!(", which is none of {count}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dr_21_limits_are_told_in_words() {
        let all = PoolLimits {
            max_connections: Some(1),
            max_pending_requests: Some(2),
            max_requests: None,
            max_retries: Some(RetryLimit::Budget { percent: ir::Share::of_percent(20.0), min_concurrency: 3 }),
            max_requests_per_connection: Some(4),
            max_connection_duration: Some(Duration::from_secs(5)),
            tcp_keepalive: Some(TcpKeepalive { probes: Some(3), time: Some(Duration::from_secs(60)), interval: None }),
        };
        let words = "at most 1 connections, 2 requests that wait for one, retries for 20 % of the requests, or 3 at one time; \
                     a connection carries 4 requests; a connection is used for 5s; \
                     the system probes silent connections after 60s up to 3 times";
        assert_eq!(limits(&all), words);
        assert_eq!(limits(&PoolLimits::default()), "");
    }

    #[test]
    fn dr_30_the_policy_is_told_in_words() {
        let policy = OutlierDetection {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: Some(3),
            error_statuses: [].into(),
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
        };
        let words = "an endpoint is ejected for 30s and more after 5 5xx or 3 failures of connections in a row, up to 10 % of them";
        assert_eq!(outlier(&policy, None), words);
        let none = words.replace("of them", "of them, which is none of 9");
        assert_eq!((outlier(&policy, Some(9)), outlier(&policy, Some(10))), (none, words.to_owned()));
    }
}
