//! A regular expression in the dialect that RE2 and the Rust engine share, compiled once and matched whole.
//!
//! Values come from clients, so that the work of one match is bounded for every value: a pattern becomes a table (a DFA), through which
//! each byte is one step. Of patterns whose table would be too large, only those whose search is short for every value are accepted.

mod bounds;
mod replace;
mod table;

pub use bounds::InvalidPattern;

use bounds::{MAX_COMPILED_BYTES, MAX_PATTERN_LENGTH, MAX_VALUE, check_steps, too_large};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;
use replace::Parts;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};
use table::Table;

/// A pattern that matches whole values, with ASCII `\d \w \s \b` as RE2 has them.
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

/// Behind one pointer: a pattern is in every place where a text may be, of which there are very many.
struct Inner {
    source: Box<str>,
    matcher: Matcher,
    /// The same pattern, matching parts; built for the first rewrite.
    parts: OnceLock<Result<Parts, InvalidPattern>>,
}

/// What judges whole values.
#[allow(clippy::large_enum_variant, reason = "nearly every pattern is a table, and each is behind a pointer")]
enum Matcher {
    /// One step a byte.
    Table(Table),
    /// A search through the states of a small pattern; values that are longer than any match are not searched.
    Search { regex: Regex, longest: usize },
}

impl Pattern {
    /// Compiles `source`. It will match whole values only, as Istio's regex matches do (VS-12).
    pub fn parse(source: &str) -> Result<Self, InvalidPattern> {
        if source.chars().count() > MAX_PATTERN_LENGTH {
            return Err(InvalidPattern::TooLong(source.chars().count()));
        }
        // RE2's perl classes are ASCII while its literals are UTF-8, hence the leading (?-u:…) is not an option:
        // the classes are rewritten before parsing.
        let whole = parse_hir(&format!("^(?:{})$", ascii_classes(source)))?;
        let nfa = table::nfa(&whole, false).map_err(too_large)?;
        let matcher = match Table::build(&nfa) {
            Some(table) => Matcher::Table(table),
            None => {
                let longest = whole.properties().maximum_len().unwrap_or(MAX_VALUE).min(MAX_VALUE);
                check_steps(nfa.states().len(), longest)?;
                let regex = Regex::builder()
                    .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(MAX_COMPILED_BYTES)))
                    .build_from_hir(&whole)
                    .map_err(|error| InvalidPattern::Syntax(error.to_string()))?;
                Matcher::Search { regex, longest }
            }
        };
        Ok(Self(Arc::new(Inner { source: source.into(), matcher, parts: OnceLock::new() })))
    }

    /// Compiles `source` to replace parts of values as well.
    pub fn parse_for_rewrite(source: &str) -> Result<Self, InvalidPattern> {
        let pattern = Self::parse(source)?;
        match pattern.parts() {
            Ok(_) => Ok(pattern),
            Err(why) => Err(why.clone()),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// Whether the whole of `value` matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match &self.0.matcher {
            Matcher::Table(table) => table.is_match(value),
            Matcher::Search { regex, longest } => {
                value.len() <= *longest && regex.is_match(Input::new(value).anchored(Anchored::Yes))
            }
        }
    }

    /// `value` with every part that matches replaced by `substitution`, in which `\0` is the part and `\1` to `\9` its groups, as
    /// RE2's `GlobalReplace` has it. `None` where it would take too many steps.
    pub fn replace_all(&self, value: &[u8], substitution: &str) -> Option<Vec<u8>> {
        self.parts().as_ref().ok()?.replace_all(value, substitution)
    }

    fn parts(&self) -> &Result<Parts, InvalidPattern> {
        self.0.parts.get_or_init(|| Parts::build(&parse_hir(&ascii_classes(&self.0.source))?))
    }
}

fn parse_hir(pattern: &str) -> Result<Hir, InvalidPattern> {
    let config = syntax::Config::new().utf8(false).unicode(true);
    syntax::parse_with(pattern, &config).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or("not a regular expression");
        InvalidPattern::Syntax(last.trim_start_matches("error: ").to_owned())
    })
}

/// Replaces `\d \w \s \b` and their negations by their ASCII forms, inside and outside of classes.
fn ascii_classes(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some('b') => out.push_str(r"(?-u:\b)"),
            Some('B') => out.push_str(r"(?-u:\B)"),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.source)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.source)
    }
}

#[cfg(test)]
mod tests;
