//! What is counted for each cluster, under Envoy's names: dashboards for Istio know them. Only for clusters that have such a policy and are
//! in use.

use super::Rows;
use ir::Cluster;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use upstream::Ejections;

type Read = fn(&Ejections) -> u64;

const ROWS: &[(&str, &str, MetricType, Read)] = &[
    (
        "envoy_cluster_outlier_detection_ejections_active",
        "Endpoints that are out of use since their requests failed",
        MetricType::Gauge,
        |counts| counts.active,
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced",
        "Endpoints that were taken out of use",
        MetricType::Counter,
        |counts| counts.total,
    ),
    (
        "envoy_cluster_outlier_detection_ejections_overflow",
        "Endpoints that failed, and that maxEjectionPercent had no room for",
        MetricType::Counter,
        |counts| counts.overflow,
    ),
];

/// Adds the counters of clusters, of at most `most` of them.
pub(super) fn register(registry: &mut Registry, clusters: &[(Arc<Cluster>, Ejections)], most: usize) {
    if clusters.is_empty() {
        return;
    }
    for (name, help, kind, read) in ROWS {
        let row = |(cluster, counts): &(Arc<Cluster>, Ejections)| {
            (vec![("cluster_name", cluster.id.to_string())], read(counts))
        };
        let rows = clusters.iter().take(most).map(row).collect();
        registry.register(*name, *help, Rows { rows, kind: *kind });
    }
}
