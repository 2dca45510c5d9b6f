//! What there is to say about files as such, in words: those that cannot be read or listed, what is kept of them, duplicates, kinds that
//! are not supported. Not what is wrong inside of a document, which `resources` says.

use crate::listing::{Cause, Failure};
use resources::code;
use resources::diagnostic::{Diagnostic, Position, Severity, SourceLocation};
use resources::key::{Key, ObjectRef};
use std::path::Path;
use std::sync::Arc;

/// Codes of paths that are configured and cannot be read at present, so that what they held before is kept.
const UNAVAILABLE: [&str; 6] = [
    code::UNREADABLE_FILE,
    code::UNLISTED_FOLDER,
    code::MISSING_ROOT,
    code::EMPTIED_FILE,
    code::REPLACED_FILE,
    code::TOO_MANY_FILES,
];

/// How many objects of a kind that is not read are named.
const MAX_NAMED: usize = 3;

/// Whether a finding means that a path cannot be read at present.
pub(crate) fn is_unavailable(one: &Diagnostic) -> bool {
    UNAVAILABLE.contains(&one.code)
}

/// Sorts findings by place.
pub(crate) fn sort(all: &mut [Diagnostic]) {
    let place = |one: &Diagnostic| one.position.clone().map(|place| (place.file, place.line, place.column));
    all.sort_by(|one, other| place(one).cmp(&place(other)).then_with(|| one.code.cmp(other.code)));
}

/// A path as a whole.
fn whole(
    code: &'static str,
    severity: Severity,
    path: &Path,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        code,
        severity,
        object: None,
        field: String::new(),
        position: Some(Position { file: Arc::from(path), line: 1, column: 1 }),
        message: message.into(),
        help: Some(help.into()),
    }
}

/// A file that cannot be read.
pub(crate) fn unreadable(path: &Path, message: String) -> Diagnostic {
    whole(code::UNREADABLE_FILE, Severity::Error, path, message, "fix the file; what it held before keeps serving")
}

/// Reading was not finished.
pub(crate) fn unfinished(error: &str) -> Diagnostic {
    Diagnostic {
        code: code::UNREADABLE_FILE,
        severity: Severity::Error,
        object: None,
        field: String::new(),
        position: None,
        message: format!("reading the files failed: {error}"),
        help: Some("it is tried again; what was read before keeps serving".to_owned()),
    }
}

/// A file that held something and holds nothing.
pub(crate) fn emptied(path: &Path) -> Diagnostic {
    let message = "the file is empty; what it held before keeps serving";
    whole(code::EMPTIED_FILE, Severity::Error, path, message, "delete the file to remove what it held, or restore it")
}

/// A path that was a file.
pub(crate) fn replaced(path: &Path, by: &str) -> Diagnostic {
    let message = format!("there is {by} in place of the file; what the file held keeps serving");
    let help = "restore the file, or remove what took its place to remove what it held";
    whole(code::REPLACED_FILE, Severity::Error, path, message, help)
}

/// A file that has been open for writing for long.
pub(crate) fn open(path: &Path) -> Diagnostic {
    let message = "the file has been open for writing for more than 5 s; what it held before keeps serving";
    whole(code::OPEN_FILE, Severity::Warning, path, message, "changes are used once the writer closes the file")
}

/// Something that could not be listed. `holds` says whether configuration was read from there before.
pub(crate) fn unlisted(failure: &Failure, holds: bool) -> Option<Diagnostic> {
    let path = &failure.path;
    Some(match &failure.cause {
        Cause::Root(error) => {
            let message = format!("the path cannot be read: {error}; what it held before keeps serving");
            whole(code::MISSING_ROOT, Severity::Error, path, message, "restore it; it is looked for all the time")
        }
        Cause::Other(_) if !holds => return None,
        Cause::Unavailable(error) | Cause::Other(error) => {
            let message = format!("it cannot be listed: {error}; what it held before keeps serving");
            let help = "allow this process to read it, or delete it to remove what it held";
            whole(code::UNLISTED_FOLDER, Severity::Error, path, message, help)
        }
        Cause::Bound(bound) => {
            let message = format!("{bound}; the others are not read");
            whole(code::TOO_MANY_FILES, Severity::Error, path, message, "put fewer files or levels of folders there")
        }
    })
}

/// An object whose document is broken; `used` is where its last good version was.
pub(crate) fn last_good(used: Option<&SourceLocation>, object: &ObjectRef) -> Diagnostic {
    let position = used.map(|used| Position { file: Arc::clone(&used.file), line: used.line, column: 1 });
    Diagnostic {
        code: code::LAST_GOOD,
        severity: Severity::Warning,
        object: Some(object.clone()),
        field: String::new(),
        position,
        message: "its document has errors, and the last good version keeps serving".to_owned(),
        help: Some("fix the document; a restart would forget that version".to_owned()),
    }
}

/// An object that is not used, because `used` has its kind, namespace and name.
pub(crate) fn duplicate(object: &ObjectRef, position: Position, used: Option<&SourceLocation>) -> Diagnostic {
    let used = used.map_or_else(|| "an object".to_owned(), |used| format!("{}:{}", used.file.display(), used.line));
    Diagnostic {
        code: code::DEFINED_TWICE,
        severity: Severity::Error,
        object: Some(object.clone()),
        field: String::new(),
        position: Some(position),
        message: format!("duplicate of {used}, which is used"),
        help: Some("remove one of them, or give it another name".to_owned()),
    }
}

/// Objects of one kind that is not read.
pub(crate) struct Ignored<'a> {
    pub(crate) keys: Vec<&'a Key>,
    /// The file of the first.
    pub(crate) file: &'a Arc<Path>,
}

/// A kind that is not read.
pub(crate) fn foreign_kind(version: &str, kind: &str, ignored: &Ignored<'_>) -> Diagnostic {
    let Ignored { keys, file } = ignored;
    let mut names: Vec<String> = keys.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if keys.len() > MAX_NAMED {
        names.push(format!("and {} more", keys.len() - MAX_NAMED));
    }
    let message = format!("{kind} of {version} is not supported and was ignored: {}", names.join(", "));
    Diagnostic { help: None, ..whole(code::FOREIGN_KIND, Severity::Info, file, message, "") }
}
