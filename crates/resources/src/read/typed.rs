//! A JSON value to a typed struct, with all errors, not the first alone: at an error the node is taken out and the rest is
//! read again.

use super::absent::Proto;
use super::document::Below;
use crate::code;
use crate::diagnostic::{Finding, Severity};
use crate::suggest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// How often a document is read again; each time one more error is found.
const MAX_ROUNDS: usize = 32;

/// Reads `value`, which is written as `written` has it; what is wrong goes into `findings`. `None` when nothing could be made of it.
/// `lenient`: null is an empty text, as Go reads it for Kubernetes' own kinds; Istio's kinds refuse it.
pub(super) fn deserialize<T: DeserializeOwned>(
    mut value: Value,
    written: &Below<'_>,
    lenient: bool,
    findings: &mut Vec<Finding>,
) -> Option<T> {
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    // Reading borrows, so that the value is still there when a node has to be taken out.
    for _ in 0..MAX_ROUNDS {
        match serde_path_to_error::deserialize(Proto(&value)) {
            Ok(spec) => return Some(spec),
            Err(error) => {
                let path = error.path().clone();
                let error = error.inner().to_string();
                let is_null = look_up(&value, &path).is_some_and(Value::is_null);
                let mut finding = finding(&path, &error, &value, written);
                let goes_on = if lenient && is_null && wants_text(&error) {
                    finding.severity = Severity::Warning;
                    set(&mut value, &path, Value::String(String::new()))
                } else {
                    remove(&mut value, &path, wants_text(&error))
                };
                findings.push(finding);
                if !goes_on {
                    return None;
                }
            }
        }
    }
    None
}

fn finding(path: &Path, text: &str, value: &Value, written: &Below<'_>) -> Finding {
    let field = field_path(path);
    // serde's sentence is without its "at line 1 column 2", which is not the document's.
    let text = text.split(" at line ").next().unwrap_or(text);
    let (code, message, help) = if let Some((name, known)) = unknown(text, "unknown field `") {
        // Each field is known by its proto name, too, which is not what YAML commonly has.
        let known: Vec<&str> = known.into_iter().filter(|known| !known.contains('_')).collect();
        let name = written.key(&field).unwrap_or(name);
        let help = suggest::help(name, &known, "the fields here are");
        (
            code::UNKNOWN_FIELD,
            format!("unknown field `{name}`"),
            if help.is_empty() { "remove it".into() } else { help },
        )
    } else if let Some((name, known)) = unknown(text, "unknown variant `") {
        (code::WRONG_VALUE, format!("unknown value `{name}`"), suggest::help(name, &known, "use one of"))
    } else {
        let found = look_up(value, path);
        let scalar = written.scalar(&field);
        (code::WRONG_VALUE, wrong_value(text, found, scalar), wrong_value_help(text, found, scalar))
    };
    // Two errors of one field come as two findings of one path, which is what they are.
    Finding { code, severity: Severity::Error, field, message, help: Some(help) }
}

/// The name that is not known, and those that are, of serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown<'t>(text: &'t str, begin: &str) -> Option<(&'t str, Vec<&'t str>)> {
    let (name, rest) = text
        .strip_prefix(begin)?
        .rsplit_once("`, expected ")
        .or_else(|| Some((text.strip_prefix(begin)?.split_once('`')?.0, "")))?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// What is expected and what was found. `scalar`: how it is written in the document, where YAML reads it as no text.
fn wrong_value(text: &str, found: Option<&Value>, scalar: Option<&str>) -> String {
    let short = text.replace("invalid type: ", "").replace("invalid value: ", "");
    match short.rsplit_once(", expected ") {
        None => short,
        Some((said, wanted)) => {
            let found = match found {
                Some(Value::Null) if scalar.is_none_or(str::is_empty) => "nothing (null)".to_owned(),
                Some(Value::Null) => format!("null (`{}`)", scalar.unwrap_or_default()),
                Some(Value::Bool(value)) => {
                    format!("the boolean `{}`", scalar.map_or_else(|| value.to_string(), str::to_owned))
                }
                Some(Value::Number(value)) => {
                    format!("the number `{}`", scalar.map_or_else(|| value.to_string(), str::to_owned))
                }
                Some(Value::String(value)) => format!("the string `{value}`"),
                Some(Value::Array(_)) => "a list".to_owned(),
                Some(Value::Object(_)) => "a map".to_owned(),
                None => said.to_owned(),
            };
            format!("expected {}, found {found}", kind_of(wanted))
        }
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
        "a sequence" => "a list",
        "struct Percent" => "a share such as `{value: 50}`",
        wanted if wanted.starts_with("struct ") => "a block of fields",
        wanted => wanted,
    }
}

fn wants_text(text: &str) -> bool {
    text.contains("expected a string") || text.contains("expected string")
}

fn wrong_value_help(text: &str, found: Option<&Value>, scalar: Option<&str>) -> String {
    let wants_text = wants_text(text);
    let wants_time = text.contains("expected a duration");
    match found {
        Some(Value::Number(number)) if wants_time => format!("add the unit: {number}s"),
        Some(Value::String(number)) if wants_time && number.parse::<f64>().is_ok() => {
            format!("add the unit: {number}s")
        }
        Some(Value::Null) if wants_text => "write \"\" for an empty string, or remove it".to_owned(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) if wants_text => {
            format!("write it in quotes: \"{}\"", scalar.map_or_else(|| value.to_string(), str::to_owned))
        }
        Some(Value::String(text)) if text.parse::<f64>().is_ok() => format!("write it without quotes: {text}"),
        // Routes have shares as blocks.
        Some(Value::Object(fields)) if fields.len() == 1 && fields.get("value").is_some_and(Value::is_number) => {
            fields.get("value").map_or_else(String::new, |number| format!("write the number alone: {number}"))
        }
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

/// Puts another value at `path`. False when there is no such place.
fn set(value: &mut Value, path: &Path, other: Value) -> bool {
    match path.iter().try_fold(value, step) {
        Some(place) => {
            *place = other;
            true
        }
        None => false,
    }
}

/// Takes out what is at `path`; `text` says whether a text belongs there. False when there is no such place, or it is the whole.
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
