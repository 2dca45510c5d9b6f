//! A JSON value to a typed struct, with all errors, not the first alone: at an error the node is taken out and the rest is
//! read again.

use crate::code;
use crate::diagnostic::{Finding, Severity};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// How often a document is read again; each time one more error is found.
const MAX_ROUNDS: usize = 32;

/// Reads `value`; what is wrong goes into `findings`. `None` when nothing could be made of it.
pub(super) fn deserialize<T: DeserializeOwned>(mut value: Value, findings: &mut Vec<Finding>) -> Option<T> {
    drop_nulls(&mut value, "");
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    // Reading borrows, so that the value is still there when a node has to be taken out.
    for _ in 0..MAX_ROUNDS {
        match serde_path_to_error::deserialize(&value) {
            Ok(spec) => return Some(spec),
            Err(error) => {
                let path = error.path().clone();
                findings.push(finding(&path, error.inner(), &value));
                if !remove(&mut value, &path, wants_text(&error.inner().to_string())) {
                    return None;
                }
            }
        }
    }
    None
}

/// In proto-JSON `null` is as good as absent, but as the value of a match it asks for presence (VS-15).
fn drop_nulls(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => {
            if !matches!(name, "headers" | "withoutHeaders" | "without_headers" | "queryParams" | "query_params") {
                fields.retain(|_, value| !value.is_null());
            }
            fields.iter_mut().for_each(|(name, value)| drop_nulls(value, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(item, "")),
        _ => {}
    }
}

fn finding(path: &Path, error: &serde_json::Error, value: &Value) -> Finding {
    let text = error.to_string();
    let field = field_path(path);
    let (code, message, help) = match text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        Some((name, rest)) => {
            (code::UNKNOWN_FIELD, format!("there is no field `{name}` here"), did_you_mean(name, rest))
        }
        None => (code::WRONG_VALUE, wrong_value(&text), quote_help(path, &text, value)),
    };
    // Two errors of one field come as two findings of one path, which is what they are.
    Finding { code, severity: Severity::Error, field, message, help: Some(help) }
}

/// serde's sentence without its "at line 1 column 2", which is not the document's.
fn wrong_value(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or(text);
    let text = text.replace("invalid type: ", "").replace("invalid value: ", "").replace("unknown variant ", "");
    let (found, wanted) = text.split_once(", expected ").unwrap_or((&text, ""));
    match wanted {
        "" => text,
        wanted => format!("{found} stands where there has to be {}", kind_of(wanted)),
    }
}

/// A type of ours in words that are not those of the language it is written in.
fn kind_of(wanted: &str) -> &str {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "i32" => "a whole number of at most 2147483647",
        "u64" | "usize" => "a whole number that is not below zero",
        "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "struct Percent" => "a share such as `{value: 50}`",
        wanted if wanted.starts_with("struct ") => "a block of fields",
        wanted => wanted,
    }
}

fn did_you_mean(name: &str, rest: &str) -> String {
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).filter(|known| !known.contains('_')).collect();
    let near =
        known.iter().map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase()), known));
    match near.min().filter(|(distance, known)| *distance <= 1 + known.len() / 3) {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!(
            "the fields here are {}",
            known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn wants_text(text: &str) -> bool {
    text.contains("expected a string") || text.contains("expected string")
}

fn quote_help(path: &Path, text: &str, value: &Value) -> String {
    let wants_text = wants_text(text);
    let wants_time = text.contains("expected a duration");
    match look_up(value, path) {
        Some(Value::Number(number)) if wants_time => format!("add the unit: {number}s"),
        Some(Value::String(number)) if wants_time && number.parse::<f64>().is_ok() => {
            format!("add the unit: {number}s")
        }
        Some(scalar @ (Value::Bool(_) | Value::Number(_))) if wants_text => format!("write it in quotes: \"{scalar}\""),
        Some(Value::String(text)) if text.parse::<f64>().is_ok() => format!("write it without quotes: {text}"),
        _ => "give the field a value of its type".to_owned(),
    }
}

fn field_path(path: &Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("[{index}]")),
            Segment::Map { key } => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

fn step<'v>(value: &'v mut Value, segment: &Segment) -> Option<&'v mut Value> {
    match segment {
        Segment::Seq { index } => value.as_array_mut()?.get_mut(*index),
        Segment::Map { key } => value.as_object_mut()?.get_mut(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    }
}

fn look_up<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.as_array()?.get(*index),
        Segment::Map { key } => value.as_object()?.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// Takes out what stands at `path`; `text` says whether a text belongs there. False when there is no such place, or it is the whole.
fn remove(value: &mut Value, path: &Path, text: bool) -> bool {
    let segments: Vec<&Segment> =
        path.iter().filter(|s| matches!(s, Segment::Seq { .. } | Segment::Map { .. })).collect();
    let Some((last, parents)) = segments.split_last() else { return false };
    let mut at = value;
    for segment in parents {
        match step(at, segment) {
            Some(next) => at = next,
            None => return false,
        }
    }
    match (last, at) {
        (Segment::Map { key }, Value::Object(fields)) => fields.shift_remove(key).is_some(),
        // Something empty keeps the numbers of the items behind it, so that later paths stay right.
        (Segment::Seq { index }, Value::Array(items)) => {
            let empty = if text { Value::String(String::new()) } else { Value::Object(serde_json::Map::new()) };
            match items.get_mut(*index) {
                Some(item) if *item != empty => {
                    *item = empty;
                    true
                }
                _ => false,
            }
        }
        _ => false,
    }
}
