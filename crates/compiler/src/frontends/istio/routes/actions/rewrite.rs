//! What rewrites and redirects have in common.

use crate::code;
use crate::report::Notes;
use ir::{MatchPath, PathRewrite, PathText, StringMatch};
use text::TextError;

/// Parses a text that a rewrite or redirect sends. `None`, which leaves the rule out, for one that validation refuses.
pub(super) fn sent<T>(parsed: Result<T, TextError>, field: String, notes: &mut Notes) -> Option<T> {
    parsed.map_err(|error| notes.add_with_help(code::BAD_REWRITE, field, error.to_string(), error.help())).ok()
}

/// Replacing `text` the way the match found the path (VS-37): a prefix is replaced, an exact or pattern path as a whole.
pub(super) fn by_match(text: PathText, path: &MatchPath) -> PathRewrite {
    match path {
        MatchPath::Text { text: StringMatch::Exact(_) | StringMatch::Regex(_), .. } => PathRewrite::Full(text),
        MatchPath::Any | MatchPath::Text { text: StringMatch::Prefix(_), .. } => PathRewrite::Prefix(text),
    }
}
