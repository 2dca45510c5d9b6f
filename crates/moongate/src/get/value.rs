//! Fields of objects as texts for cells.

use serde_json::Value;

pub(super) const NONE: &str = "<none>";

/// A text; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}

/// What a printer column shows of a field: texts as they are, everything else as JSON.
pub(super) fn at(object: &Value, path: &str) -> String {
    object.pointer(path).map(plain).unwrap_or_default()
}

pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The items of a list; none where there is no list.
pub(super) fn array<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path).and_then(Value::as_i64)
}

pub(super) fn is_true(object: &Value, path: &str) -> bool {
    object.pointer(path) == Some(&Value::Bool(true))
}
