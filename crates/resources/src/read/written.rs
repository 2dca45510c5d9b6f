//! Documents as they are written, cut into objects: for commands that show them, and for what reading has in common with that. Not what
//! the objects say, which is `read`'s.

use super::cut::DocumentText;
use crate::api::{ApiResource, is_cluster_wide};
use crate::key::{Key, Kind, ObjectRef};
use crate::yaml;
use serde_json::Value;
use std::cell::RefCell;
use std::sync::Arc;

/// The objects of a document as they are written, those of lists by themselves, with the namespace that they are in; nothing where the
/// document cannot be read.
pub fn written(text: DocumentText<'_>) -> Vec<(ObjectRef, Value)> {
    let mut found = Vec::new();
    if let Ok(parsed) = yaml::parse(text.text) {
        collect_written(parsed.value, &mut found);
    }
    found
}

fn collect_written(value: Value, found: &mut Vec<(ObjectRef, Value)>) {
    let Value::Object(mut fields) = value else { return };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = fields.remove("items")
    {
        for mut item in items {
            inherit(&mut item, &version, &kind);
            collect_written(item, found);
        }
        return;
    }
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let Some(resource) = ApiResource::named(group, &kind) else { return };
    let Some(Value::Object(metadata)) = fields.get_mut("metadata") else { return };
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let key = key(resource.kind, text("name"), text("namespace"));
    if resource.namespaced {
        metadata.insert("namespace".to_owned(), Value::from(&*key.namespace));
    }
    found.push((ObjectRef { kind: resource.kind, key }, Value::Object(fields)));
}

/// Items of a typed list (`VirtualServiceList`) may leave out what the list says of all of them.
pub(super) fn inherit(item: &mut Value, version: &str, kind: &str) {
    let (Value::Object(fields), Some(kind)) = (item, kind.strip_suffix("List").filter(|kind| !kind.is_empty())) else {
        return;
    };
    fields.entry("apiVersion").or_insert_with(|| version.into());
    fields.entry("kind").or_insert_with(|| kind.into());
}

/// The key of an object by what its metadata says.
pub(super) fn key(kind: Kind, name: &str, namespace: &str) -> Key {
    let namespace = match namespace {
        _ if is_cluster_wide(kind) => "",
        "" => "default",
        namespace => namespace,
    };
    Key::new(shared(namespace), name)
}

thread_local! {
    /// The namespace of the object that this thread read last.
    static NAMESPACE: RefCell<Arc<str>> = RefCell::default();
}

/// A namespace as the object before has it: objects come sorted by namespace, and have its text in common.
fn shared(namespace: &str) -> Arc<str> {
    NAMESPACE.with_borrow_mut(|last| {
        if **last != *namespace {
            *last = namespace.into();
        }
        Arc::clone(last)
    })
}
