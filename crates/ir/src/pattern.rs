//! A regular expression in the dialect that RE2 and the Rust engine share, compiled once and matched whole.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Istio refuses longer patterns (VS-12).
const MAX_PATTERN_LENGTH: usize = 1024;
/// Upper bound of a compiled pattern, in bytes; a pattern such as `(a{1000}){1000}` is refused instead of built.
const MAX_COMPILED_BYTES: usize = 2 << 20;

/// A pattern that matches whole values, with ASCII `\d \w \s \b` as RE2 has them.
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

/// Behind one pointer: a pattern stands in every place where a text may, of which there are very many.
struct Inner {
    source: Box<str>,
    regex: Regex,
    /// The same pattern, matching parts; built when a rewrite first asks for it.
    parts: OnceLock<Option<Regex>>,
}

/// Why a pattern is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Longer than Istio allows.
    #[error("the pattern has {0} characters, more than the {MAX_PATTERN_LENGTH} that are allowed")]
    TooLong(usize),
    /// Not a regular expression of the shared dialect, or too large when compiled.
    #[error("{0}")]
    Syntax(String),
}

impl Pattern {
    /// Compiles `source`. It will match whole values only, as Istio's regex matches do (VS-12).
    pub fn parse(source: &str) -> Result<Self, InvalidPattern> {
        if source.chars().count() > MAX_PATTERN_LENGTH {
            return Err(InvalidPattern::TooLong(source.chars().count()));
        }
        // RE2's perl classes are ASCII while its literals are UTF-8, hence the leading (?-u:…) is not an option:
        // the classes are rewritten before parsing.
        let whole = format!("^(?:{})$", ascii_classes(source));
        let regex = build(&whole).map_err(|error| InvalidPattern::Syntax(syntax_message(&error)))?;
        Ok(Self(Arc::new(Inner { source: source.into(), regex, parts: OnceLock::new() })))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// Whether the whole of `value` matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.0.regex.is_match(Input::new(value).anchored(Anchored::Yes))
    }

    /// `value` with every part that matches replaced by `substitution`, in which `\0` is the part and `\1` to `\9` its groups, as
    /// RE2's `GlobalReplace` has it.
    pub fn replace_all(&self, value: &[u8], substitution: &str) -> Vec<u8> {
        let regex = self.0.parts.get_or_init(|| build(&ascii_classes(&self.0.source)).ok());
        let Some(regex) = regex else { return value.to_vec() };
        let mut out = Vec::with_capacity(value.len() + substitution.len());
        let mut copied = 0;
        for found in regex.captures_iter(value) {
            let Some(part) = found.get_match() else { continue };
            out.extend_from_slice(value.get(copied..part.start()).unwrap_or_default());
            substitute(&mut out, substitution, |group| {
                found.get_group(group).and_then(|span| value.get(span.range())).unwrap_or_default()
            });
            copied = part.end();
        }
        out.extend_from_slice(value.get(copied..).unwrap_or_default());
        out
    }

    /// The byte ranges of the capture groups (0 is the whole value), or `None` when `value` does not match.
    pub fn captures(&self, value: &[u8]) -> Option<Vec<Option<std::ops::Range<usize>>>> {
        let mut found = self.0.regex.create_captures();
        self.0.regex.captures(value, &mut found);
        found.is_match().then(|| found.iter().map(|group| group.map(|span| span.range())).collect())
    }
}

fn build(pattern: &str) -> Result<Regex, Box<regex_automata::meta::BuildError>> {
    Regex::builder()
        .syntax(syntax::Config::new().utf8(false).unicode(true))
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(MAX_COMPILED_BYTES)))
        .build(pattern)
        .map_err(Box::new)
}

/// Appends a substitution with its groups put in.
fn substitute<'v>(out: &mut Vec<u8>, substitution: &str, group: impl Fn(usize) -> &'v [u8]) {
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (b'\\', Some(digit @ b'0'..=b'9')) => out.extend_from_slice(group(usize::from(digit - b'0'))),
            (b'\\', Some(other)) => out.push(other),
            (byte, _) => out.push(byte),
        }
    }
}

/// What the engine says about a pattern it refuses, without its multi-line drawing.
fn syntax_message(error: &regex_automata::meta::BuildError) -> String {
    if let Some(syntax) = error.syntax_error() {
        let text = syntax.to_string();
        return text.lines().last().unwrap_or("not a regular expression").trim_start_matches("error: ").to_owned();
    }
    if error.size_limit().is_some() {
        return format!("the compiled pattern is larger than {MAX_COMPILED_BYTES} bytes");
    }
    error.to_string()
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
mod tests {
    use super::*;

    #[test]
    fn matches_whole_values_only() {
        let pattern = Pattern::parse("/api|/v[0-9]+").unwrap();
        assert!(pattern.is_match(b"/api"));
        assert!(pattern.is_match(b"/v12"));
        assert!(!pattern.is_match(b"/api/x"));
        assert!(!pattern.is_match(b"x/api"));
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(Pattern::parse(r"\d+").unwrap().is_match(b"42"));
        assert!(!Pattern::parse(r"\d+").unwrap().is_match("٤٢".as_bytes()));
        assert!(Pattern::parse(r"[\d.]+").unwrap().is_match(b"4.2"));
        assert!(Pattern::parse(r"a\\d").unwrap().is_match(br"a\d"));
    }

    #[test]
    fn refuses_what_re2_refuses() {
        assert!(matches!(Pattern::parse("(?=a)"), Err(InvalidPattern::Syntax(_))));
        assert!(matches!(Pattern::parse("(a"), Err(InvalidPattern::Syntax(_))));
        assert!(matches!(Pattern::parse("((a{1000}){1000}){10}"), Err(InvalidPattern::Syntax(_))));
        assert!(matches!(Pattern::parse(&"a".repeat(1025)), Err(InvalidPattern::TooLong(1025))));
    }

    #[test]
    fn vs_37_parts_are_replaced_by_groups() {
        let replace = |pattern: &str, value: &str, with: &str| {
            String::from_utf8(Pattern::parse(pattern).unwrap().replace_all(value.as_bytes(), with)).unwrap()
        };
        assert_eq!(replace("/([a-z]+)/([0-9]+)", "/item/42/x", r"/\2/\1"), "/42/item/x");
        assert_eq!(replace("a", "banana", "o"), "bonono");
        assert_eq!(replace("x", "abc", "y"), "abc");
        assert_eq!(replace("^/(v1|v2)", "/v1/v2", r"\\\0"), r"\/v1/v2");
    }

    #[test]
    fn groups_are_byte_ranges() {
        let groups = Pattern::parse("/(a+)/(b)?").unwrap().captures(b"/aa/").unwrap();
        assert_eq!(groups, vec![Some(0..4), Some(1..3), None]);
    }
}
