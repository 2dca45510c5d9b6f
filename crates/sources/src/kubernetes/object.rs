//! What is read of an object before it is known whether it is kept: its name, its version, what it belongs to.

mod pod;

use crate::event::ObjectVersion;
use resources::api::ApiResource;
use resources::key::{Key, Kind, ObjectRef};
use resources::spec::core::{REGION, SUBZONE, ZONE};
use serde_json::{Map, Value};

/// Labels of Nodes that are kept: where it is, and its older role.
const OF_NODES: [&str; 4] = [REGION, ZONE, SUBZONE, "kubernetes.io/role"];
/// What labels with the roles of a Node begin with.
const ROLES: &str = "node-role.kubernetes.io/";

/// The name of an object of the API server.
pub(super) fn name(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    (!name.is_empty()).then(|| ObjectRef { kind, key: Key::new(namespace, name) })
}

/// The kind that an object says it is of.
pub(super) fn kind(value: &Value) -> Option<Kind> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    ApiResource::named(group, text("kind")).map(|resource| resource.kind)
}

/// The version of an object; its generation where statuses are written, which alone refer to it.
pub(super) fn version(value: &Value, with_generation: bool) -> Option<ObjectVersion> {
    let metadata = value.get("metadata")?;
    let resource_version = metadata.get("resourceVersion")?.as_str()?;
    let generation = metadata.get("generation").and_then(Value::as_i64).filter(|_| with_generation);
    Some(ObjectVersion::new(resource_version, generation))
}

/// The Service of an EndpointSlice.
pub(super) fn service(object: &ObjectRef, value: &Value) -> Key {
    let service = value.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str);
    Key::new(object.key.namespace.clone(), service.unwrap_or_default())
}

/// Removes what is not used.
pub(super) fn strip(kind: Kind, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    // Nothing is served by what is left of it, but for Pods.
    match kind {
        Kind::Pod => pod::strip_pod(fields),
        Kind::Service => keep_of_status(fields, "loadBalancer"),
        Kind::Namespace => keep_of_status(fields, "phase"),
        _ => drop(fields.remove("status")),
    }
    match kind {
        Kind::Node => strip_node(fields),
        // None is read. Controllers that elect a leader by a ConfigMap write one every few seconds, and that of EndpointSlices writes when
        // it was last asked to do something.
        Kind::ConfigMap | Kind::EndpointSlice => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.remove("annotations");
            }
        }
        _ => {}
    }
}

/// Leaves one field of the status, where that says anything.
fn keep_of_status(fields: &mut Map<String, Value>, name: &str) {
    let Some(Value::Object(status)) = fields.get_mut("status") else { return };
    let is_kept = |field: &str, value: &Value| field == name && value.as_object().is_none_or(|value| !value.is_empty());
    status.retain(|field, value| is_kept(field, value));
    if status.is_empty() {
        fields.remove("status");
    }
}

/// What is left is where the Node is, and what for.
fn strip_node(fields: &mut Map<String, Value>) {
    fields.remove("spec");
    let Some(Value::Object(metadata)) = fields.get_mut("metadata") else { return };
    metadata.retain(|field, _| matches!(&**field, "name" | "labels" | "resourceVersion" | "creationTimestamp"));
    if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
        labels.retain(|label, _| OF_NODES.contains(&&**label) || label.starts_with(ROLES));
    }
}

/// Whether objects of a kind have fields that name files.
pub(super) fn has_file_fields(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::DestinationRule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stripped(kind: Kind, mut value: Value) -> Value {
        strip(kind, &mut value);
        value
    }

    #[test]
    fn what_is_shown_of_statuses_is_left() {
        let conditions = json!([{"type": "x", "status": "True"}]);
        let service = |load_balancer: Value| json!({"spec": {}, "status": {"loadBalancer": load_balancer, "conditions": conditions}});
        let ingress = json!({"ingress": [{"ip": "1.1.1.1"}]});
        let expected = json!({"spec": {}, "status": {"loadBalancer": ingress}});
        assert_eq!(stripped(Kind::Service, service(ingress)), expected);
        assert_eq!(stripped(Kind::Service, service(json!({}))), json!({"spec": {}}));
        let namespace = json!({"status": {"phase": "Active", "conditions": conditions}});
        assert_eq!(stripped(Kind::Namespace, namespace.clone()), json!({"status": {"phase": "Active"}}));
        assert_eq!(stripped(Kind::Gateway, namespace), json!({}));
    }
}
