//! Values as YAML, in the form that kubectl prints: keys sorted, lists as deep as their key, texts in quotes where YAML would read them as
//! something else. Reading YAML is `resources`'.

mod scalar;

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Beyond this column kubectl ends a line at the next space of a text.
const WIDTH: usize = 80;

/// A document, without a mark before it; each text that has no lines of its own is on one line.
pub(crate) fn to_yaml(value: &Value) -> String {
    document(value, usize::MAX)
}

/// The same with the lines that kubectl makes of long texts.
pub(crate) fn as_kubectl(value: &Value) -> String {
    document(value, WIDTH)
}

fn document(value: &Value, width: usize) -> String {
    let mut yaml = Yaml { out: String::new(), width };
    match value {
        Value::Object(fields) if !fields.is_empty() => yaml.object(fields, 0, false),
        Value::Array(items) if !items.is_empty() => yaml.array(items, 0, false),
        leaf => {
            yaml.leaf(leaf, 0);
            yaml.out.push('\n');
        }
    }
    yaml.out
}

/// A document that is being written.
struct Yaml {
    out: String,
    width: usize,
}

impl Yaml {
    /// `follows`: the first key stands behind the mark of a list's item.
    fn object(&mut self, fields: &Map<String, Value>, indent: usize, mut follows: bool) {
        let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in sorted {
            if !std::mem::take(&mut follows) {
                self.pad(indent);
            }
            scalar::key(&mut self.out, key);
            self.out.push(':');
            self.nested(value, indent);
        }
    }

    /// `follows`: kubectl puts the first item of an inner list beside the mark of the outer one.
    fn array(&mut self, items: &[Value], indent: usize, mut follows: bool) {
        for item in items {
            if !std::mem::take(&mut follows) {
                self.pad(indent);
            }
            self.out.push_str("- ");
            match item {
                Value::Object(fields) if !fields.is_empty() => self.object(fields, indent + 2, true),
                Value::Array(items) if !items.is_empty() => self.array(items, indent + 2, true),
                leaf => {
                    self.leaf(leaf, indent);
                    self.out.push('\n');
                }
            }
        }
    }

    fn nested(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                self.out.push('\n');
                self.object(fields, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                self.out.push('\n');
                self.array(items, indent, false);
            }
            leaf => {
                self.out.push(' ');
                self.leaf(leaf, indent);
                self.out.push('\n');
            }
        }
    }

    fn leaf(&mut self, value: &Value, indent: usize) {
        match value {
            Value::String(text) => scalar::value(&mut self.out, text, indent, self.width),
            Value::Array(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
            other => drop(write!(self.out, "{other}")),
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
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
            " a\nb",
            "a \nb",
            "\u{1f600}",
            "\u{2028}",
            "::",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  c  d e",
            "# aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  c  d e' f",
            "\taaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  c  d e ",
        ];
        for text in texts {
            for value in [
                json!({ "key": text }),
                json!({ text: "value" }),
                json!([text]),
                json!([[text]]),
                json!([{ "a": [text] }]),
            ] {
                for yaml in [to_yaml(&value), as_kubectl(&value)] {
                    let back: Value =
                        resources::read::from_yaml(&yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
                    assert_eq!(back, value, "{yaml}");
                }
            }
        }
    }
}
