//! Plain scalars as kubectl reads them: YAML 1.1 booleans, Go's numbers, nulls.

use serde_json::{Number, Value};
use std::borrow::Cow;

/// The value of a scalar; `tag` is the part of a `!!tag` behind the marks.
pub(super) fn resolve(text: Cow<'_, str>, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        Some("str" | "binary" | "timestamp") => Ok(Value::String(text.into_owned())),
        None if !plain => Ok(Value::String(text.into_owned())),
        None => Ok(plain_value(text)),
        Some(tag) => {
            let value = plain_value(Cow::Borrowed(&text));
            let fits = match tag {
                "bool" => value.is_boolean(),
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                "null" => value.is_null(),
                _ => return Ok(Value::String(text.into_owned())),
            };
            if fits { Ok(value) } else { Err(format!("`{text}` is not a `!!{tag}`")) }
        }
    }
}

/// The text that JSON has for a mapping's key, where that is another than what is written: booleans, and numbers in another form than
/// Go's own.
pub(super) fn key(text: &str, plain: bool) -> Option<String> {
    if !plain {
        return None;
    }
    let read = match plain_value(Cow::Borrowed(text)) {
        Value::Bool(value) => value.to_string(),
        // A float without a fraction is written as Go does, without the point.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float.to_string(),
            None => number.to_string(),
        },
        // kubectl refuses it; here it keeps the name that it looks to have, and is reported.
        Value::Null if !text.is_empty() => return Some("null".to_owned()),
        _ => return None,
    };
    (read != text).then_some(read)
}

fn plain_value(text: Cow<'_, str>) -> Value {
    let Some(first) = text.bytes().next() else { return Value::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'0'..=b'9' | b'-' | b'+' | b'.' => number(&text).unwrap_or_else(|| Value::String(text.into_owned())),
        _ => Value::String(text.into_owned()),
    }
}

fn word(text: Cow<'_, str>) -> Value {
    match &*text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Value::Bool(false),
        _ => Value::String(text.into_owned()),
    }
}

fn number(text: &str) -> Option<Value> {
    let compact: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    if let Some(whole) = integer(&compact) {
        return Some(whole);
    }
    let (sign, digits) = match compact.strip_prefix(['-', '+']) {
        Some(rest) => (compact.starts_with('-'), rest),
        None => (false, &*compact),
    };
    // Only what Go's resolver takes for a number: digits, one point, an exponent. `1.2.3.4` and `10.0.0.0/8` are texts.
    let shape = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    let begins = digits.trim_start_matches('.').bytes().next().is_some_and(|b| b.is_ascii_digit());
    if !shape || !begins || text.contains('_') {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    Number::from_f64(if sign { -value } else { value }).map(Value::Number)
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if body.starts_with(['-', '+']) {
        return None;
    }
    if negative {
        return i64::from_str_radix(&format!("-{body}"), radix).ok().map(Value::from);
    }
    u64::from_str_radix(body, radix).ok().map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(text: &str) -> Value {
        resolve(Cow::Borrowed(text), true, None).unwrap()
    }

    #[test]
    fn scalars_are_those_of_kubectl() {
        for (text, value) in [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("n", json!(false)),
            ("~", Value::Null),
            ("null", Value::Null),
            ("80", json!(80)),
            ("-5", json!(-5)),
            ("0x1F", json!(31)),
            ("010", json!(8)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("10.0.0.1", json!("10.0.0.1")),
            ("5s", json!("5s")),
            ("1.5s", json!("1.5s")),
            ("-", json!("-")),
            ("2024-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z")),
            ("nothing", json!("nothing")),
            ("08", json!(8.0)),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
        assert_eq!(resolve(Cow::Borrowed("yes"), false, None).unwrap(), json!("yes"));
        assert_eq!(resolve(Cow::Borrowed("80"), true, Some("str")).unwrap(), json!("80"));
        assert!(resolve(Cow::Borrowed("x"), true, Some("int")).is_err());
    }

    #[test]
    fn keys_are_those_of_kubectl() {
        for (text, read) in [
            ("80", None),
            ("on", Some("true")),
            ("n", Some("false")),
            ("true", None),
            ("0012", Some("10")),
            ("1.10", Some("1.1")),
            ("1.0", Some("1")),
            ("1_000", Some("1000")),
            ("null", Some("null")),
            ("~", Some("null")),
            ("", None),
            ("name", None),
            ("1.2.3", None),
        ] {
            assert_eq!(key(text, true).as_deref(), read, "{text}");
            assert_eq!(key(text, false), None, "{text}");
        }
    }
}
