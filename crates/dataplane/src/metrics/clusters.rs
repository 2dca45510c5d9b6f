//! What is counted for each cluster, under Envoy's names: dashboards for Istio know them. Only for clusters that have such a policy and are
//! in use.

use super::families::{Counters, Gauges};
use ir::ClusterId;
use prometheus_client::registry::Registry;
use upstream::{Ejections, UsageCounts};

/// What is counted of a cluster.
pub(super) type Counts = (ClusterId, Option<UsageCounts>, Option<Ejections>);

type Read = fn(&Counts) -> Option<u64>;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

const ROWS: &[(&str, &str, Kind, Read)] = &[
    (
        "envoy_cluster_outlier_detection_ejections_active",
        "Endpoints that are out of use since their requests failed",
        Kind::Gauge,
        |(_, _, counts)| counts.map(|counts| counts.active),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced",
        "Endpoints that were taken out of use",
        Kind::Counter,
        |(_, _, counts)| counts.map(|counts| counts.total),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_overflow",
        "Endpoints that failed, and that maxEjectionPercent had no room for",
        Kind::Counter,
        |(_, _, counts)| counts.map(|counts| counts.overflow),
    ),
    (
        "envoy_cluster_upstream_cx_active",
        "Connections, where their number is limited",
        Kind::Gauge,
        |(_, counts, _)| counts.map(|counts| counts.connections),
    ),
    ("envoy_cluster_upstream_rq_active", "Requests under way, where they are limited", Kind::Gauge, |counts| {
        counts.1.map(|counts| counts.requests)
    }),
    (
        "envoy_cluster_upstream_rq_pending_active",
        "Requests that wait for a connection, where they are limited",
        Kind::Gauge,
        |(_, counts, _)| counts.map(|counts| counts.pending),
    ),
    (
        "envoy_cluster_upstream_cx_overflow",
        "Connections that there was no room for",
        Kind::Counter,
        |(_, counts, _)| counts.map(|counts| counts.connections_overflow),
    ),
    (
        "envoy_cluster_upstream_rq_pending_overflow",
        "Requests that there was no room for",
        Kind::Counter,
        |(_, counts, _)| counts.map(|counts| counts.pending_overflow),
    ),
    (
        "envoy_cluster_upstream_rq_retry_overflow",
        "Further attempts that there was no room for",
        Kind::Counter,
        |(_, counts, _)| counts.map(|counts| counts.retries_overflow),
    ),
];

/// Adds the counters of clusters, of at most `most` of them.
pub(super) fn register(registry: &mut Registry, clusters: &[Counts], most: usize) {
    for (name, help, kind, read) in ROWS {
        let row = |counts: &Counts| Some((vec![("cluster_name", counts.0.to_string())], read(counts)?));
        let rows: Vec<_> = clusters.iter().filter_map(row).take(most).collect();
        match kind {
            Kind::Counter => registry.register(*name, *help, Counters(rows)),
            Kind::Gauge => registry.register(*name, *help, Gauges(rows)),
        }
    }
}
