//! Counters of clusters, under Envoy's names, which Istio's dashboards use. Only clusters that have such a policy and are in use have them.

use super::families::{Counters, Gauges};
use ir::ClusterId;
use prometheus_client::registry::Registry;
use upstream::{Ejections, UsageCounts};

/// The counters of a cluster.
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
        "Endpoints that are ejected now",
        Kind::Gauge,
        |(_, _, counts)| counts.map(|counts| counts.active),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced",
        "Ejections of endpoints",
        Kind::Counter,
        |(_, _, counts)| counts.map(|counts| counts.total),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_overflow",
        "Ejections that maxEjectionPercent prevented",
        Kind::Counter,
        |(_, _, counts)| counts.map(|counts| counts.overflow),
    ),
    (
        "envoy_cluster_upstream_cx_active",
        "Open connections, if their number is limited",
        Kind::Gauge,
        |(_, counts, _)| counts.map(|counts| counts.connections),
    ),
    ("envoy_cluster_upstream_rq_active", "Requests in flight, if their number is limited", Kind::Gauge, |counts| {
        counts.1.map(|counts| counts.requests)
    }),
    (
        "envoy_cluster_upstream_rq_pending_active",
        "Requests that wait for a connection, if their number is limited",
        Kind::Gauge,
        |(_, counts, _)| counts.map(|counts| counts.pending),
    ),
    ("envoy_cluster_upstream_cx_overflow", "Connections that the limit prevented", Kind::Counter, |(_, counts, _)| {
        counts.map(|counts| counts.connections_overflow)
    }),
    (
        "envoy_cluster_upstream_rq_pending_overflow",
        "Requests that the limits rejected",
        Kind::Counter,
        |(_, counts, _)| counts.map(|counts| counts.pending_overflow),
    ),
    (
        "envoy_cluster_upstream_rq_retry_overflow",
        "Retries that the limit prevented",
        Kind::Counter,
        |(_, counts, _)| counts.map(|counts| counts.retries_overflow),
    ),
];

/// Adds the families, with the counters of at most `most` clusters.
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
