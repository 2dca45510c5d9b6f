//! What is kept of a Pod: its addresses, and what tables show of it. Not its containers' images, volumes and the like, which are most of it.

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Removes everything else.
pub(super) fn strip_pod(pod: &mut Fields) {
    if let Some(metadata) = fields(pod, "metadata") {
        // None is read.
        metadata.remove("annotations");
    }
    let mut gates = Vec::new();
    if let Some(spec) = fields(pod, "spec") {
        keep(spec, &["hostNetwork", "nodeName", "containers", "initContainers", "readinessGates"]);
        for containers in ["containers", "initContainers"] {
            each(spec, containers, |container| keep(container, &["name", "restartPolicy"]));
        }
        each(spec, "readinessGates", |gate| gates.push(text(gate, "conditionType").to_owned()));
    }
    let Some(status) = fields(pod, "status") else { return };
    keep(
        status,
        &[
            "phase",
            "podIP",
            "podIPs",
            "reason",
            "nominatedNodeName",
            "conditions",
            "containerStatuses",
            "initContainerStatuses",
        ],
    );
    if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
        conditions.retain(|one| one.as_object().is_some_and(|one| is_shown(one, &gates)));
    }
    each(status, "conditions", |condition| keep(condition, &["type", "status", "reason"]));
    for statuses in ["containerStatuses", "initContainerStatuses"] {
        each(status, statuses, strip_container);
    }
}

/// Whether the column STATUS or READINESS GATES depends on a condition.
fn is_shown(condition: &Fields, gates: &[String]) -> bool {
    let kind = text(condition, "type");
    matches!(kind, "Ready" | "Initialized")
        || text(condition, "reason") == "SchedulingGated"
        || gates.iter().any(|gate| gate == kind)
}

fn strip_container(status: &mut Fields) {
    keep(status, &["name", "ready", "started", "restartCount", "state", "lastState"]);
    for name in ["state", "lastState"] {
        let Some(state) = fields(status, name) else { continue };
        keep(state, &["running", "waiting", "terminated"]);
        for (name, of_it) in [
            ("running", &[][..]),
            ("waiting", &["reason"]),
            ("terminated", &["exitCode", "signal", "reason", "finishedAt"]),
        ] {
            if let Some(one) = fields(state, name) {
                keep(one, of_it);
            }
        }
    }
}

fn fields<'f>(fields: &'f mut Fields, name: &str) -> Option<&'f mut Fields> {
    fields.get_mut(name)?.as_object_mut()
}

fn text<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn keep(fields: &mut Fields, names: &[&str]) {
    fields.retain(|name, _| names.contains(&&**name));
}

/// Calls `of_each` with each block of a list.
fn each(fields: &mut Fields, name: &str, mut of_each: impl FnMut(&mut Fields)) {
    let items = fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(&mut of_each);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_tables_show_is_left() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
        let kept = json!({
            "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {
                "hostNetwork": true, "nodeName": "n", "containers": [{"name": "c"}],
                "initContainers": [{"name": "i", "restartPolicy": "Always"}], "readinessGates": [{"conditionType": "g"}],
            },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "reason": "r", "nominatedNodeName": "m",
                "conditions": [condition("Ready", "True"), condition("g", "False")],
                "containerStatuses": [{
                    "name": "c", "ready": true, "restartCount": 2, "state": {"running": {}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2020-01-01T00:00:00Z"}},
                }],
                "initContainerStatuses": [{"name": "i", "started": true, "state": {"waiting": {"reason": "w"}}}],
            },
        });
        let mut whole = kept.clone();
        let mut add = |path: &str, field: &str, value: Value| {
            whole.pointer_mut(path).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
        };
        add("/metadata", "annotations", json!({"large": "text"}));
        add("/spec", "volumes", json!([]));
        add("/spec/containers/0", "image", json!("x"));
        add("/status", "hostIP", json!("10.0.0.9"));
        add("/status/conditions/0", "lastProbeTime", json!(null));
        add("/status/containerStatuses/0", "imageID", json!("x"));
        add("/status/containerStatuses/0/state/running", "startedAt", json!("x"));
        add("/status/initContainerStatuses/0/state/waiting", "message", json!("x"));
        whole
            .pointer_mut("/status/conditions")
            .unwrap()
            .as_array_mut()
            .unwrap()
            .push(condition("PodScheduled", "True"));
        strip_pod(whole.as_object_mut().unwrap());
        assert_eq!(whole, kept);
        let mut empty = json!({"status": {"conditions": null, "containerStatuses": "x"}, "spec": null});
        strip_pod(empty.as_object_mut().unwrap());
        assert_eq!(empty["spec"], json!(null));
    }
}
