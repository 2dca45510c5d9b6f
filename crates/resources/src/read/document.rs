//! A document while it is read: its file, its text and, where something has to be reported, the tree of its places, which is made once
//! however many findings there are.

use super::cut::DocumentText;
use super::field_path::join;
use crate::code;
use crate::diagnostic::{Diagnostic, Finding, Position, Severity, SourceLocation};
use crate::key::ObjectRef;
use crate::yaml::{self, Node, OddKey};
use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

/// A document and the file it is in; none where it is an object of an API server.
pub(super) struct Document<'a> {
    file: Option<&'a Arc<Path>>,
    text: DocumentText<'a>,
    tree: OnceCell<Option<Node>>,
    /// Made once: a list may hold thousands of objects.
    fingerprint: OnceCell<u32>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a Arc<Path>, text: DocumentText<'a>) -> Self {
        Self { file: Some(file), text, tree: OnceCell::new(), fingerprint: OnceCell::new() }
    }

    /// A document that was never a text: nothing has a place.
    pub(super) fn without_text() -> Self {
        let text = DocumentText { first_line: 1, text: "" };
        Self { file: None, text, tree: OnceCell::new(), fingerprint: OnceCell::new() }
    }

    fn tree(&self) -> Option<&Node> {
        let read = || {
            self.file?;
            yaml::parse_with_places(self.text.text).ok().map(|(_, tree)| tree)
        };
        self.tree.get_or_init(read).as_ref()
    }

    /// What is below a path: an item of a list, an object's `spec`.
    pub(super) fn below(&self, prefix: String) -> Below<'_> {
        Below { document: self, prefix }
    }

    pub(super) fn unreadable(&self, fault: &yaml::Fault) -> Diagnostic {
        Diagnostic {
            code: code::NOT_YAML,
            severity: Severity::Error,
            object: None,
            field: String::new(),
            position: self.position((fault.line, fault.column)),
            message: fault.message.clone(),
            help: Some("fix the document; the other documents of the file are used without it".to_owned()),
        }
    }

    fn position(&self, (line, column): (u32, u32)) -> Option<Position> {
        Some(Position { file: Arc::clone(self.file?), line: self.text.first_line + line - 1, column })
    }

    /// Findings with their places.
    pub(super) fn diagnostics(
        &self,
        object: Option<&ObjectRef>,
        prefix: &str,
        findings: Vec<Finding>,
    ) -> Vec<Diagnostic> {
        let place = |finding: Finding| {
            let node = self.tree().map(|tree| tree.nearest(&join(prefix, &finding.field)).0);
            let position = self.position(node.map_or((1, 1), |node| node.at));
            finding.of(object.cloned(), position)
        };
        findings.into_iter().map(place).collect()
    }

    pub(super) fn source(&self) -> Option<SourceLocation> {
        let file = Arc::clone(self.file?);
        let fingerprint = *self.fingerprint.get_or_init(|| self.text.fingerprint());
        Some(SourceLocation { file, line: self.text.first_line, fingerprint })
    }
}

/// A part of a document: how its keys and scalars were written, by paths from there.
pub(super) struct Below<'d> {
    document: &'d Document<'d>,
    prefix: String,
}

impl<'d> Below<'d> {
    fn node(&self, path: &str) -> Option<&'d Node> {
        self.document.tree()?.get(&join(&self.prefix, path))
    }

    /// How a plain scalar was written that is read as a number, a boolean or null.
    pub(super) fn scalar(&self, path: &str) -> Option<&'d str> {
        self.node(path)?.written()
    }

    /// How a key was written that is read as something else.
    pub(super) fn key(&self, path: &str) -> Option<&'d str> {
        self.node(path)?.written_key()
    }

    /// All keys that are read as something else than what was written.
    pub(super) fn odd_keys(&self) -> Vec<OddKey> {
        self.node("").map_or_else(Vec::new, Node::odd_keys)
    }
}
