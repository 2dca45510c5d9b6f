//! What is wrong, or worth knowing, about an object: the one list behind `check`, statuses, logs and the admin pages.

use crate::key::ObjectRef;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know: a field that does not act here, a Gateway for another workload.
    Info,
    /// Probably not what was meant; it acts all the same.
    Warning,
    /// The object, or the part of it that is named, does not act.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    /// A stable code, `MG` and four digits; `docs/diagnostics.md` lists them.
    pub code: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// The object, where the document got as far as having a kind and a name.
    pub object: Option<ObjectRef>,
    /// The field, as `spec.servers[0].port.number`; empty for the whole object.
    pub field: String,
    /// Where it stands, if it came from a file.
    pub position: Option<Position>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Position {
    /// The file.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1; 0 when only the line is known.
    pub column: u32,
}

/// Where an object was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLocation {
    /// The file.
    pub file: Arc<Path>,
    /// The line on which its document begins, from 1.
    pub line: u32,
    /// The fingerprint of its document's text, by which a later reader of the file knows whether it is still the same.
    pub fingerprint: u32,
}

/// What was found wrong in one object while it was read and validated; field paths are put together from scopes.
#[derive(Debug, Default)]
pub struct Findings {
    scope: String,
    found: Vec<Finding>,
}

/// One finding, before it is known where its object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// See [`Diagnostic::code`].
    pub code: &'static str,
    /// See [`Diagnostic::severity`].
    pub severity: Severity,
    /// The field path.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Findings {
    /// Runs `check` with field paths that begin at `scope` below the present one.
    pub fn at(&mut self, scope: impl std::fmt::Display, check: impl FnOnce(&mut Self)) {
        let before = self.scope.len();
        if before > 0 {
            self.scope.push('.');
        }
        // Written in place: most objects have no findings, and none of them should pay for paths.
        let _ = write!(self.scope, "{scope}");
        if before > 0 && self.scope.get(before + 1..).is_some_and(|added| added.starts_with('[')) {
            self.scope.remove(before);
        }
        check(self);
        self.scope.truncate(before);
    }

    /// The object, or the part of it that is named, is refused.
    pub fn error(&mut self, field: &str, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, field, code, message.into(), help.into());
    }

    /// It acts, but probably not as it was meant.
    pub fn warning(&mut self, field: &str, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, field, code, message.into(), help.into());
    }

    fn add(&mut self, severity: Severity, field: &str, code: &'static str, message: String, help: String) {
        let help = (!help.is_empty()).then_some(help);
        self.found.push(Finding { code, severity, field: self.path(field), message, help });
    }

    fn path(&self, field: &str) -> String {
        match (self.scope.is_empty(), field.is_empty()) {
            (true, _) => field.to_owned(),
            (false, true) => self.scope.clone(),
            (false, false) if field.starts_with('[') => format!("{}{field}", self.scope),
            (false, false) => format!("{}.{field}", self.scope),
        }
    }

    /// Takes in what was found apart.
    pub(crate) fn append(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    /// Whether the object is refused.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All of them, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

impl Finding {
    /// The diagnostic of an object that stands somewhere.
    pub fn of(self, object: Option<ObjectRef>, position: Option<Position>) -> Diagnostic {
        let Self { code, severity, field, message, help } = self;
        Diagnostic { code, severity, object, field, position, message, help }
    }
}
