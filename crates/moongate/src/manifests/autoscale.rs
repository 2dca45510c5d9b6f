//! The metrics of autoscalers.

use crate::cli::{AutoscaleMetric, AutoscaleTarget};
use serde_json::{Value, json};

/// A metric of an autoscaler. CPU is that of `metrics.k8s.io`, as metrics-server has it; the others are the gateway's own, which an adapter has to
/// offer by `custom.metrics.k8s.io` (docs/kubernetes.md).
pub(super) fn metric(metric: AutoscaleMetric, value: &Value) -> Value {
    let name = match metric {
        AutoscaleMetric::Cpu => {
            let target = json!({"type": "Utilization", "averageUtilization": value});
            return json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        }
        AutoscaleMetric::Requests => "istio_requests_per_second",
        AutoscaleMetric::Connections => "moongate_downstream_connections_open",
    };
    // A quantity is a text, also where it is a template.
    let target = json!({"type": "AverageValue", "averageValue": value.as_str().map_or_else(|| value.to_string(), str::to_owned)});
    json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": target}})
}

/// The metric with the value that a Pod is to have.
pub(super) fn target(target: &AutoscaleTarget) -> Value {
    metric(target.metric, &target.value.get().into())
}
