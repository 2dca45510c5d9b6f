//! One YAML or JSON document to a JSON value, with scalars read as kubectl reads them, and the places of its fields on demand.
//!
//! Good documents are read without keeping any place. When something is wrong the document is read once more with
//! [`Node`], so that objects stay small and the common case fast. `read` is the only caller.

mod places;
mod scalar;

pub(crate) use places::{Node, OddKey};

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How deep a document may nest; an object of the API has less than twenty levels.
const MAX_DEPTH: usize = 100;
/// How many nodes a document may have.
const MAX_NODES: usize = 2_000_000;
/// How many bytes anchored values and their copies may take: a base, so many for each byte of the document, and so many in all. Without
/// a bound, three hundred bytes write out to gigabytes.
const COPIES_BASE: usize = 1 << 20;
const COPIES_PER_BYTE: usize = 64;
const MAX_COPIES: usize = 8 << 20;
/// What a value takes beside its text.
const NODE_SIZE: usize = size_of::<Value>();
/// What a field takes beside its key's text and its value: the key, its hash and its place in the index.
const FIELD_SIZE: usize = 48;

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

/// A document that could be read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What it says; `Null` when there is nothing in it.
    pub(crate) value: Value,
    /// Whether any key is read as something else than what was written: `on`, `0012`.
    pub(crate) odd_keys: bool,
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Parsed, Fault> {
    let mut reader = Reader::new(text, false);
    let (value, _) = reader.document()?;
    Ok(Parsed { value, odd_keys: reader.odd_keys })
}

/// Reads a document and where each of its fields is.
pub(crate) fn parse_with_places(text: &str) -> Result<(Value, Node), Fault> {
    Reader::new(text, true).document()
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    /// Whether nodes are kept.
    places: bool,
    anchors: BTreeMap<usize, Anchored>,
    depth: usize,
    nodes: usize,
    /// Bytes that anchored values and copies take, and may take.
    copied: usize,
    most_copied: usize,
    odd_keys: bool,
}

/// What an anchor stands for.
enum Anchored {
    Value(Value),
    /// Too large to be kept; an error only if an alias asks for it.
    TooLarge,
}

type Read = (Value, Node);

#[cfg(test)]
thread_local! {
    static DOCUMENTS_READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many documents this thread has read.
#[cfg(test)]
pub(crate) fn documents_read() -> usize {
    DOCUMENTS_READ.get()
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, places: bool) -> Self {
        #[cfg(test)]
        DOCUMENTS_READ.set(DOCUMENTS_READ.get() + 1);
        let most_copied = COPIES_BASE.saturating_add(text.len().saturating_mul(COPIES_PER_BYTE)).min(MAX_COPIES);
        // Another crate may switch the parser's feature for comments on.
        let mut options = Options::default();
        options.set_emit_comments(false);
        let (anchors, events) = (BTreeMap::new(), Parser::new_from_str_with_options(text, options));
        Self { events, places, anchors, depth: 0, nodes: 0, copied: 0, most_copied, odd_keys: false }
    }

    fn document(&mut self) -> Result<Read, Fault> {
        let mut read = (Value::Null, Node::scalar((1, 1), None));
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
                    read = self.node(event, span)?;
                }
                (Event::StreamEnd, _) => return Ok(read),
                (_, span) => return Err(fault(span, "unexpected content")),
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

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Read, Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(fault(span, format!("the document has more than {MAX_NODES} values")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_deref().and_then(|tag| tag.core_suffix());
                let plain = style == ScalarStyle::Plain;
                // The parser gives `~` where nothing is written.
                let shown = if span.start == span.end { "" } else { &*text };
                let written = (self.places && plain).then(|| Box::from(shown));
                let value = scalar::resolve(text, plain, core).map_err(|m| fault(span, m))?;
                let node = Node::scalar(place(span), written.filter(|_| !value.is_string()));
                self.keep(anchor, &value);
                Ok((value, node))
            }
            Event::SequenceStart(_, anchor, _) => self.nested(anchor, span, Self::sequence),
            Event::MappingStart(_, anchor, _) => self.nested(anchor, span, Self::mapping),
            Event::Alias(id) => Ok((self.alias(id, span)?, Node::scalar(place(span), None))),
            _ => Err(fault(span, "expected a value")),
        }
    }

    /// A copy of what an anchor stands for.
    fn alias(&mut self, id: usize, span: Span) -> Result<Value, Fault> {
        let most = self.most_copied;
        let too_large = || fault(span, format!("the aliases of the document expand to more than {most} bytes"));
        match self.anchors.get(&id) {
            None => Err(fault(span, "an alias inside its own anchor")),
            Some(Anchored::TooLarge) => Err(too_large()),
            Some(Anchored::Value(value)) => {
                self.copied = self.copied.saturating_add(size(value));
                if self.copied > most { Err(too_large()) } else { Ok(value.clone()) }
            }
        }
    }

    /// Keeps what an anchor stands for.
    fn keep(&mut self, anchor: usize, value: &Value) {
        if anchor == 0 {
            return;
        }
        // Anchors within anchors are kept once each, so that these copies count as well.
        let size = size(value);
        let fits = self.copied.saturating_add(size) <= self.most_copied;
        if fits {
            self.copied += size;
        }
        self.anchors.insert(anchor, if fits { Anchored::Value(value.clone()) } else { Anchored::TooLarge });
    }

    fn nested(
        &mut self,
        anchor: usize,
        span: Span,
        read: fn(&mut Self, (u32, u32)) -> Result<Read, Fault>,
    ) -> Result<Read, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(fault(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let (value, node) = read(self, place(span))?;
        self.depth -= 1;
        self.keep(anchor, &value);
        Ok((value, node))
    }

    fn sequence(&mut self, at: (u32, u32)) -> Result<Read, Fault> {
        let (mut items, mut nodes) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((Value::Array(items), Node::sequence(at, nodes)));
            }
            let (value, node) = self.node(event, span)?;
            items.push(value);
            if self.places {
                nodes.push(node);
            }
        }
    }

    fn mapping(&mut self, at: (u32, u32)) -> Result<Read, Fault> {
        let (mut fields, mut nodes) = (Map::new(), Vec::new());
        let mut merged: Vec<Map<String, Value>> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.key(event, span)?;
            let (event, value_span) = self.next()?;
            let (value, node) = self.node(event, value_span)?;
            if key.merges {
                merge_into(&mut merged, value).map_err(|m| fault(value_span, m))?;
                continue;
            }
            if self.places {
                nodes.push(node.named(&key.name, key.written, place(span)));
            }
            if fields.contains_key(&key.name) {
                return Err(fault(span, format!("duplicate key `{}`", key.name)));
            }
            fields.insert(key.name, value);
        }
        for fields_of_merge in merged {
            for (name, value) in fields_of_merge {
                fields.entry(name).or_insert(value);
            }
        }
        Ok((Value::Object(fields), Node::mapping(at, nodes)))
    }

    fn key(&mut self, event: Event<'t>, span: Span) -> Result<Key, Fault> {
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let merges = plain && text == "<<";
                let name = scalar::key(&text, plain);
                let written = name.is_some().then(|| Box::from(&*text));
                self.odd_keys |= written.is_some();
                Ok(Key { name: name.unwrap_or_else(|| text.into_owned()), written, merges })
            }
            Event::Alias(id) => match self.alias(id, span)? {
                Value::String(name) => Ok(Key { name, written: None, merges: false }),
                _ => Err(fault(span, "the key of a field has to be a string")),
            },
            _ => Err(fault(span, "the key of a field has to be a string")),
        }
    }
}

/// The key of a field.
struct Key {
    name: String,
    /// As it was written, where it is read as something else.
    written: Option<Box<str>>,
    /// `<<`.
    merges: bool,
}

/// How many bytes a value takes, about.
fn size(value: &Value) -> usize {
    let below = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| FIELD_SIZE + key.len() + size(value)).sum(),
    };
    NODE_SIZE + below
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
        _ => return Err("`<<` takes a mapping or a list of mappings".to_owned()),
    }
    Ok(())
}

fn place(span: Span) -> (u32, u32) {
    (small(span.start.line()), small(span.start.col() + 1))
}

fn fault(span: Span, message: impl Into<Cow<'static, str>>) -> Fault {
    let (line, column) = place(span);
    Fault { line, column, message: message.into().into_owned() }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
