//! What is wrong, or worth knowing, about an object: the one list behind `check`, statuses, logs and the admin pages.

use crate::key::ObjectRef;
use serde::Serialize;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}
