//! The text of a file with what is needed to show findings in it: its lines, and the places of fields, for which each document is read
//! once however many findings it has.

use super::cut::{DocumentText, cuts};
use super::field_path::join;
use super::written::written;
use crate::diagnostic::SourceLocation;
use crate::key::ObjectRef;
use crate::yaml::{self, Node};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The text of a file.
#[derive(Debug)]
pub struct SourceText {
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Documents by the line on which they begin.
    documents: HashMap<u32, Range<usize>>,
    /// Those that were looked at so far, with their fingerprints; those that are what somebody asked for were also read.
    read: HashMap<u32, (u32, Option<Located>)>,
}

/// A document that was read, and where its objects are in it.
#[derive(Debug)]
struct Located {
    tree: Node,
    /// Paths of objects, such as `items[2]`, by kind, namespace and name as they are written.
    objects: HashMap<(String, String, String), String>,
}

impl SourceText {
    /// Takes the text of a file.
    pub fn new(text: Arc<str>) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        let documents = cuts(&text).into_iter().collect();
        Self { text, lines, documents, read: HashMap::new() }
    }

    /// A line, from 1, without its end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let start = *self.lines.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        self.text.get(start..)?.split('\n').next().map(|line| line.strip_suffix('\r').unwrap_or(line))
    }

    /// Line and column, both from 1, of a field of an object, or of the nearest field around it. `source` is where the object was read from.
    /// `None` when the file has another text there now, or when the object is not there.
    pub fn locate(&mut self, object: &ObjectRef, source: &SourceLocation, field: &str) -> Option<(u32, u32)> {
        let first_line = source.line;
        let text = self.text.get(self.documents.get(&first_line)?.clone())?;
        let (fingerprint, located) =
            self.read.entry(first_line).or_insert_with(|| (DocumentText { first_line, text }.fingerprint(), None));
        if *fingerprint != source.fingerprint {
            return None;
        }
        if located.is_none() {
            *located = Located::read(text);
        }
        let located = located.as_ref()?;
        let (line, column) = located.tree.nearest(&join(located.prefix(object)?, field)).0.at;
        Some((first_line + line - 1, column))
    }

    /// The objects of the document that a location names, as they are written; `None` when the file has another text there now.
    pub fn written(&self, source: &SourceLocation) -> Option<Vec<(ObjectRef, Value)>> {
        let text = self.text.get(self.documents.get(&source.line)?.clone())?;
        let document = DocumentText { first_line: source.line, text };
        (document.fingerprint() == source.fingerprint).then(|| written(document))
    }

    /// How many documents were read to locate fields.
    pub fn documents_read(&self) -> usize {
        self.read.values().filter(|(_, located)| located.is_some()).count()
    }
}

impl Located {
    fn read(text: &str) -> Option<Self> {
        let (value, tree) = yaml::parse_with_places(text).ok()?;
        let mut objects = HashMap::new();
        find_objects(&value, &mut String::new(), &mut objects);
        Some(Self { tree, objects })
    }

    /// The path of an object within the document: empty, or `items[2]` in a list.
    fn prefix(&self, object: &ObjectRef) -> Option<&str> {
        let find = |namespace: &str, kind: &str| {
            self.objects.get(&(kind.to_owned(), namespace.to_owned(), object.key.name.to_string()))
        };
        // Items of a typed list may have no kind, and objects of the whole cluster any namespace or none.
        let namespaces = [&*object.key.namespace, if object.key.namespace.is_empty() { "default" } else { "" }];
        let kinds = [object.kind.as_str(), ""];
        let found = kinds.iter().find_map(|kind| namespaces.iter().find_map(|namespace| find(namespace, kind)));
        found.map(String::as_str)
    }
}

fn find_objects(value: &Value, path: &mut String, found: &mut HashMap<(String, String, String), String>) {
    if let Some(items) = value.get("items").and_then(Value::as_array) {
        for (at, item) in items.iter().enumerate() {
            let length = path.len();
            *path = join(path, &format!("items[{at}]"));
            find_objects(item, path, found);
            path.truncate(length);
        }
        return;
    }
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace = Some(text("/metadata/namespace")).filter(|n| !n.is_empty()).unwrap_or_else(|| "default".to_owned());
    found.entry((text("/kind"), namespace, text("/metadata/name"))).or_insert_with(|| path.clone());
}
