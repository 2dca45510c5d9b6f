//! Texts that become part of a message head: what does not parse as such is an error at its field. The types are those of the crate
//! `text`, which the checks of all kinds use; the compiler parses the same texts with them again, into what is served.

use crate::diagnostic::Findings;
use text::{Authority, PathText, TextError};

/// Records why a text did not parse.
pub(super) fn check<T>(parsed: Result<T, TextError>, field: &str, code: &'static str, findings: &mut Findings) {
    if let Err(error) = parsed {
        findings.error(field, code, error.to_string(), error.help());
    }
}

/// A host with an optional port; empty is none.
pub(super) fn check_authority(text: &str, field: &str, code: &'static str, findings: &mut Findings) {
    if !text.is_empty() {
        check(Authority::parse(text), field, code, findings);
    }
}

/// A path or a part of one.
pub(super) fn check_path(text: &str, field: &str, code: &'static str, findings: &mut Findings) {
    check(PathText::parse(text), field, code, findings);
}
