//! One YAML or JSON document to a JSON value, with scalars read as kubectl reads them, and the places of its fields on demand.
//!
//! Good documents are read without keeping any place. When something is wrong the document is read once more with
//! [`Places`], so that objects stay small and the common case fast. `read` is the only caller.

mod scalar;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How deep a document may nest; an object of the API has less than twenty levels.
const MAX_DEPTH: usize = 100;
/// How many nodes a document may have once its aliases are written out.
const MAX_NODES: usize = 2_000_000;

/// A document that is no YAML, or more of it than is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line within the document, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// What is wrong.
    pub(crate) message: String,
}

/// Line and column of each field path, both from 1.
pub(crate) type Places = BTreeMap<String, (u32, u32)>;

/// Reads a document; `Null` when there is nothing in it.
pub(crate) fn parse(text: &str) -> Result<Value, Fault> {
    Reader::new(text, None).document()
}

/// Reads a document and where each of its fields stands. What could be read before a fault is given all the same.
pub(crate) fn parse_with_places(text: &str) -> (Result<Value, Fault>, Places) {
    let mut places = Places::new();
    let result = Reader::new(text, Some(&mut places)).document();
    (result, places)
}

struct Reader<'t, 'p> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    places: Option<&'p mut Places>,
    path: String,
    anchors: BTreeMap<usize, (Value, usize)>,
    depth: usize,
    nodes: usize,
}

impl<'t, 'p> Reader<'t, 'p> {
    fn new(text: &'t str, places: Option<&'p mut Places>) -> Self {
        let events = Parser::new_from_str(text);
        Self { events, places, path: String::new(), anchors: BTreeMap::new(), depth: 0, nodes: 0 }
    }

    fn document(&mut self) -> Result<Value, Fault> {
        let mut value = Value::Null;
        let mut documents = 0;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentEnd, _) => {}
                (Event::DocumentStart(..), span) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(fault(span, "a second document begins here without a line `---`"));
                    }
                    let (event, span) = self.next()?;
                    value = self.node(event, span)?;
                }
                (Event::StreamEnd, _) => return Ok(value),
                (_, span) => return Err(fault(span, "not expected here")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = error.marker();
                Err(Fault { line: small(at.line()), column: small(at.col() + 1), message: error.info() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Value, Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(fault(
                span,
                format!("more than {MAX_NODES} values, aliases counted as often as they are used"),
            ));
        }
        if self.places.is_some() {
            let at = (small(span.start.line()), small(span.start.col() + 1));
            let path = self.path.clone();
            if let Some(places) = self.places.as_deref_mut() {
                // A mapping's key was noted already; it is the better place.
                places.entry(path).or_insert(at);
            }
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_deref().and_then(|tag| tag.core_suffix());
                let value = scalar::resolve(text, style == ScalarStyle::Plain, core).map_err(|m| fault(span, m))?;
                self.keep(anchor, &value, 1);
                Ok(value)
            }
            Event::SequenceStart(_, anchor, _) => self.nested(anchor, span, Self::sequence),
            Event::MappingStart(_, anchor, _) => self.nested(anchor, span, Self::mapping),
            Event::Alias(id) => {
                let (value, size) =
                    self.anchors.get(&id).cloned().ok_or_else(|| fault(span, "an alias inside of its own anchor"))?;
                self.nodes += size;
                if self.nodes > MAX_NODES {
                    return Err(fault(span, format!("aliases write out to more than {MAX_NODES} values")));
                }
                Ok(value)
            }
            _ => Err(fault(span, "a value was expected here")),
        }
    }

    fn nested(
        &mut self,
        anchor: usize,
        span: Span,
        read: fn(&mut Self) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(fault(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let before = self.nodes;
        let value = read(self)?;
        self.depth -= 1;
        self.keep(anchor, &value, self.nodes - before + 1);
        Ok(value)
    }

    fn keep(&mut self, anchor: usize, value: &Value, size: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
    }

    fn sequence(&mut self) -> Result<Value, Fault> {
        let mut items = Vec::new();
        let length = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            if self.places.is_some() {
                self.path.push_str(&format!("[{}]", items.len()));
            }
            items.push(self.node(event, span)?);
            self.path.truncate(length);
        }
    }

    fn mapping(&mut self) -> Result<Value, Fault> {
        let mut fields = Map::new();
        let mut merged: Vec<Map<String, Value>> = Vec::new();
        let length = self.path.len();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => {
                    let merge = text == "<<" && style == ScalarStyle::Plain;
                    (scalar::key(text, style == ScalarStyle::Plain), merge)
                }
                Event::Alias(id) => match self.anchors.get(&id) {
                    Some((Value::String(text), _)) => (text.clone(), false),
                    _ => return Err(fault(span, "the key of a field has to be a text")),
                },
                _ => return Err(fault(span, "the key of a field has to be a text")),
            };
            self.note_key(&key.0, span);
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span)?;
            self.path.truncate(length);
            match key {
                (_, true) => merge_into(&mut merged, value).map_err(|m| fault(value_span, m))?,
                (name, false) => {
                    if let Some(_before) = fields.insert(name.clone(), value) {
                        return Err(fault(span, format!("the field `{name}` is here a second time")));
                    }
                }
            }
        }
        for fields_of_merge in merged {
            for (name, value) in fields_of_merge {
                fields.entry(name).or_insert(value);
            }
        }
        Ok(Value::Object(fields))
    }

    fn note_key(&mut self, key: &str, span: Span) {
        let Some(places) = self.places.as_deref_mut() else { return };
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        places.insert(self.path.clone(), (small(span.start.line()), small(span.start.col() + 1)));
    }
}

/// `<<: *base` and `<<: [*one, *two]`: earlier ones win.
fn merge_into(merged: &mut Vec<Map<String, Value>>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => merged.push(fields),
        Value::Array(items) => {
            for item in items {
                merge_into(merged, item)?;
            }
        }
        _ => return Err("`<<` takes a mapping or a list of them".to_owned()),
    }
    Ok(())
}

fn fault(span: Span, message: impl Into<Cow<'static, str>>) -> Fault {
    Fault { line: small(span.start.line()), column: small(span.start.col() + 1), message: message.into().into_owned() }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_read_as_well() {
        assert_eq!(parse(r#"{"a": [1, "x", null, true]}"#).unwrap(), json!({"a": [1, "x", null, true]}));
    }

    #[test]
    fn a_field_that_is_there_twice_is_a_fault_with_its_place() {
        let fault = parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
        assert_eq!((fault.line, fault.column), (4, 3));
    }

    #[test]
    fn anchors_aliases_and_merges_are_written_out() {
        let value = parse("base: &b {x: 1, z: 2}\nitem:\n  <<: *b\n  z: 3\nsame: *b\n").unwrap();
        assert_eq!(value["item"], json!({"z": 3, "x": 1}));
        assert_eq!(value["same"], json!({"x": 1, "z": 2}));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
        }
        assert!(parse(&text).unwrap_err().message.contains("more than"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn places_are_those_of_keys_and_items() {
        let (_, places) = parse_with_places("spec:\n  hosts:\n  - a\n  - b\n  port: {number: 80}\n");
        assert_eq!(places["spec.hosts[1]"], (4, 5));
        assert_eq!(places["spec.port.number"], (5, 10));
    }
}
