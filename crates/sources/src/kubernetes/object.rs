//! What is read of an object before it is known whether it is kept: its name, its version, what it belongs to.

use crate::event::ObjectVersion;
use resources::api::ApiResource;
use resources::key::{Key, Kind, ObjectRef};
use resources::spec::core::{REGION, SUBZONE, ZONE};
use serde_json::{Map, Value};

/// Labels of Nodes that are kept.
const OF_NODES: [&str; 3] = [REGION, ZONE, SUBZONE];

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
pub(super) fn version(value: &Value, with_generation: bool) -> Option<Box<ObjectVersion>> {
    let metadata = value.get("metadata")?;
    let resource_version = metadata.get("resourceVersion")?.as_str()?.into();
    let generation = metadata.get("generation").and_then(Value::as_i64).filter(|_| with_generation);
    Some(Box::new(ObjectVersion { resource_version, generation }))
}

/// The Service of an EndpointSlice.
pub(super) fn service(object: &ObjectRef, value: &Value) -> Key {
    let service = value.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str);
    Key::new(object.key.namespace.clone(), service.unwrap_or_default())
}

/// Removes what is not used.
pub(super) fn strip(kind: Kind, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    if kind != Kind::Pod {
        // Nothing is served by it.
        fields.remove("status");
    }
    match kind {
        Kind::Node => strip_node(fields),
        // None is read, and controllers that elect a leader by a ConfigMap write one every few seconds.
        Kind::ConfigMap => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.remove("annotations");
            }
        }
        _ => {}
    }
}

/// What is left is where the Node is.
fn strip_node(fields: &mut Map<String, Value>) {
    fields.remove("spec");
    let Some(Value::Object(metadata)) = fields.get_mut("metadata") else { return };
    metadata.retain(|field, _| matches!(&**field, "name" | "labels" | "resourceVersion"));
    if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
        labels.retain(|label, _| OF_NODES.contains(&&**label));
    }
}

/// Whether objects of a kind have fields that name files.
pub(super) fn has_file_fields(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::DestinationRule)
}
