//! Values as YAML, in the form that kubectl prints: keys sorted, lists as deep as their key, texts in quotes where YAML would read them as
//! something else. Reading YAML is `resources`'.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A document, without a mark before it.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(&mut out, fields, 0, false),
        Value::Array(items) if !items.is_empty() => array(&mut out, items, 0),
        scalar => {
            self::scalar(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

/// `follows`: the first key stands behind the mark of a list's item.
fn object(out: &mut String, fields: &Map<String, Value>, indent: usize, mut follows: bool) {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in sorted {
        if !std::mem::take(&mut follows) {
            pad(out, indent);
        }
        if key.contains('\n') {
            quoted(out, key);
        } else {
            text(out, key, indent);
        }
        out.push(':');
        nested(out, value, indent);
    }
}

fn array(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push('-');
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                out.push(' ');
                object(out, fields, indent + 2, true);
            }
            Value::Array(items) if !items.is_empty() => {
                // kubectl puts the first item of an inner list beside the mark of the outer one.
                out.push(' ');
                let mut inner = String::new();
                array(&mut inner, items, indent + 2);
                out.push_str(inner.trim_start_matches(' '));
            }
            scalar => {
                out.push(' ');
                self::scalar(out, scalar, indent);
                out.push('\n');
            }
        }
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            object(out, fields, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            array(out, items, indent);
        }
        scalar => {
            out.push(' ');
            self::scalar(out, scalar, indent);
            out.push('\n');
        }
    }
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(value) => text(out, value, indent),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        other => drop(write!(out, "{other}")),
    }
}

fn text(out: &mut String, value: &str, indent: usize) {
    let is_block =
        value.contains('\n') && !value.starts_with([' ', '\n']) && value.chars().all(|c| c == '\n' || !c.is_control());
    if is_block {
        block(out, value, indent);
    } else if is_plain(value) {
        out.push_str(value);
    } else if value.chars().any(|c| c.is_control() || c == '\u{feff}') || value.is_empty() || !is_word(value) {
        quoted(out, value);
    } else {
        let _ = write!(out, "'{}'", value.replace('\'', "''"));
    }
}

fn block(out: &mut String, value: &str, indent: usize) {
    let kept = value.len() - value.trim_end_matches('\n').len();
    out.push_str(match kept {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in value.trim_end_matches('\n').split('\n').chain(std::iter::repeat_n("", kept.saturating_sub(1))) {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent + 2);
            out.push_str(line);
        }
    }
}

fn quoted(out: &mut String, value: &str) {
    // JSON's escapes are YAML's.
    let _ = write!(out, "{}", Value::from(value));
}

/// Whether YAML reads the text, without quotes, as this very text.
fn is_plain(value: &str) -> bool {
    let is_starting = |c: char| !"-?:,[]{}#&*!|>'\"%@` ".contains(c);
    let follows =
        value.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c != ' ')) && !value.starts_with("---");
    let starts = value.starts_with(is_starting) || follows;
    starts
        && !value.ends_with([' ', ':'])
        && !value.contains(": ")
        && !value.contains(" #")
        && !value.chars().any(|c| c.is_control() || c == '\u{feff}')
        && is_word(value)
}

/// Whether the text is none that YAML, or what reads YAML as kubectl does, takes for a number, a time, a boolean or null.
fn is_word(value: &str) -> bool {
    const RESERVED: [&str; 12] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<"];
    let lower = value.to_ascii_lowercase();
    !RESERVED.contains(&&*lower)
        && !is_number(&lower)
        && !is_time(&lower)
        && !matches!(&*lower, ".inf" | "-.inf" | "+.inf" | ".nan")
        && !matches!(&*lower, "=" | "---" | "...")
}

/// A number of YAML 1.1, also in sixties.
fn is_number(lower: &str) -> bool {
    let text = lower.trim_start_matches(['-', '+']).replace('_', "");
    let all = |text: &str, is_digit: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| is_digit(&c));
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, base)));
    if let Some((digits, base)) = prefixed {
        return !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    }
    let (mantissa, exponent) =
        text.split_once('e').map_or((&*text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let is_exponent =
        exponent.is_none_or(|exponent| all(exponent.trim_start_matches(['-', '+']), char::is_ascii_digit));
    let is_mantissa = all(&mantissa.replacen('.', "", 1), char::is_ascii_digit);
    let sixties = text.contains(':') && all(&text.replace([':', '.'], ""), char::is_ascii_digit);
    is_mantissa && is_exponent || sixties
}

/// A date, with or without a time.
fn is_time(lower: &str) -> bool {
    let is_date =
        lower.get(..5).is_some_and(|year| year.ends_with('-') && year.bytes().take(4).all(|b| b.is_ascii_digit()));
    is_date && lower.chars().all(|c| c.is_ascii_digit() || "-:tz.+ ".contains(c))
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_look_as_kubectl_prints_them() {
        let value = json!({
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": "a", "labels": {}, "annotations": {"on": "true", "n": "080", "empty": "", "text": "one\ntwo\n"}},
            "spec": {"ports": [{"port": 80, "name": "http"}], "hosts": ["*", "10.96.19.43"], "uid": "8562f0d4-7579", "time": "2026-11-29T12:36:01Z", "nested": [[1, 2]], "none": null},
        });
        let expected = "\
apiVersion: v1
kind: Service
metadata:
  annotations:
    empty: \"\"
    \"n\": \"080\"
    \"on\": \"true\"
    text: |
      one
      two
  labels: {}
  name: a
spec:
  hosts:
  - '*'
  - 10.96.19.43
  nested:
  - - 1
    - 2
  none: null
  ports:
  - name: http
    port: 80
  time: \"2026-11-29T12:36:01Z\"
  uid: 8562f0d4-7579
";
        assert_eq!(to_yaml(&value), expected);
    }

    #[test]
    fn every_text_is_read_back_as_it_was() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            " a",
            "a ",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "- a",
            "-a",
            "-",
            "--",
            "---",
            "?",
            ":",
            "::",
            "yes",
            "No",
            "0x1f",
            "1e3",
            "1_000",
            ".5",
            "-.inf",
            "12:30",
            "2001-01-01",
            "null",
            "~",
            "'",
            "\"",
            "it's",
            "\\",
            "a\nb",
            "a\nb\n",
            "a\n\n\n",
            "\n",
            "\na",
            "  a\nb",
            "a\tb",
            "\t",
            "{a}",
            "[a]",
            "*",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "a, b",
            "é",
            "\u{1}",
            "\u{85}",
            "=",
            "<<",
            "a\r\nb",
            "a\n  b\n c",
            "...",
        ];
        for text in texts {
            for value in [
                json!({ "key": text }),
                json!({ text: "value" }),
                json!([text]),
                json!([[text]]),
                json!([{ "a": [text] }]),
            ] {
                let yaml = to_yaml(&value);
                let back: Value = resources::read::from_yaml(&yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
                assert_eq!(back, value, "{yaml}");
            }
        }
    }
}
