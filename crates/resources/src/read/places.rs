//! Where a field of an object stands in the text of its file; found by reading the document again.

use super::{DocumentText, documents};
use crate::key::ObjectRef;
use crate::yaml::{self, Places};
use serde_json::Value;

/// Line and column, both from 1, of a field of an object in the text of a file, or of the nearest field around it. `None`
/// when the object is not in the text.
pub fn locate(text: &str, object: &ObjectRef, field: &str) -> Option<(u32, u32)> {
    documents(text).find_map(|document| locate_in(document, object, field))
}

fn locate_in(document: DocumentText<'_>, object: &ObjectRef, field: &str) -> Option<(u32, u32)> {
    // Most documents of a file are not the one that is looked for.
    if !document.text.contains(&*object.key.name) {
        return None;
    }
    let (value, places) = yaml::parse_with_places(document.text);
    let value = value.ok()?;
    let prefix = prefix_of(&value, "", object)?;
    let (line, column) = nearest(&places, &prefix, field);
    Some((document.first_line + line - 1, column))
}

/// The path of the object within the document: empty, or `items[2]` in a list.
fn prefix_of(value: &Value, prefix: &str, object: &ObjectRef) -> Option<String> {
    if let Some(items) = value.get("items").and_then(Value::as_array) {
        return items.iter().enumerate().find_map(|(at, item)| prefix_of(item, &format!("items[{at}]"), object));
    }
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").filter(|n| !n.is_empty()).unwrap_or("default");
    let same = text("/metadata/name") == Some(&object.key.name)
        && (object.key.namespace.is_empty() || namespace == &*object.key.namespace)
        && text("/kind").is_none_or(|kind| kind == object.kind.as_str());
    same.then(|| prefix.to_owned())
}

/// The place of the field, or of the nearest one around it that is there.
pub(super) fn nearest(places: &Places, prefix: &str, field: &str) -> (u32, u32) {
    let mut path = super::join(prefix, field);
    loop {
        if let Some(place) = places.get(&path) {
            return *place;
        }
        match path.rfind(['.', '[']) {
            Some(at) => path.truncate(at),
            None => return places.get(prefix).or_else(|| places.get("")).copied().unwrap_or((1, 1)),
        }
    }
}
