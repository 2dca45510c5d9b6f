//! Templates of paths: `{*}` stands for one segment, `{**}` for any number of characters (AP-06).

use serde::{Serialize, Serializer};
use std::sync::Arc;

/// A path with `{*}` and `{**}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    source: Arc<str>,
    /// The segments before `{**}`.
    segments: Box<[Segment]>,
    /// The text behind `{**}`, which is empty or begins with `/`; `None` without `{**}`.
    tail: Option<Box<str>>,
    /// Whether operators stand for any character.
    is_wide: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    One,
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPathTemplate {
    /// It does not begin with `/`.
    #[error("a path with `{{*}}` or `{{**}}` begins with `/`")]
    NoSlash,
    /// An operator stands behind `{**}`.
    #[error("`{{**}}` is not the last operator")]
    AfterMany,
    /// `{` or `}` in another place.
    #[error("`{{` and `}}` are allowed in `{{*}}` and `{{**}}` alone, each of which is a whole segment")]
    Brace,
    /// A character that templates cannot have.
    #[error("a segment has a character that is not allowed beside `{{*}}` and `{{**}}`, or is empty")]
    Literal,
}

impl PathTemplate {
    /// Whether the text has an operator of templates.
    pub fn is_template(text: &str) -> bool {
        text.contains("{*}") || text.contains("{**}")
    }

    /// Parses a template.
    pub fn parse(source: &str) -> Result<Self, InvalidPathTemplate> {
        let path = source.strip_prefix('/').ok_or(InvalidPathTemplate::NoSlash)?;
        // One trailing slash is an empty last segment.
        let (inner, slash) = path.strip_suffix('/').map_or((path, false), |inner| (inner, true));
        let mut segments = Vec::new();
        let mut tail: Option<String> = None;
        for segment in inner.split('/') {
            match (segment, &mut tail) {
                ("{*}" | "{**}", Some(_)) => return Err(InvalidPathTemplate::AfterMany),
                ("{*}", None) => segments.push(Segment::One),
                ("{**}", None) => tail = Some(String::new()),
                (literal, _) if literal.contains(['{', '}']) => return Err(InvalidPathTemplate::Brace),
                (literal, _) if literal.is_empty() || !literal.bytes().all(is_literal) => {
                    return Err(InvalidPathTemplate::Literal);
                }
                (literal, None) => segments.push(Segment::Literal(literal.into())),
                (literal, Some(tail)) => {
                    tail.push('/');
                    tail.push_str(literal);
                }
            }
        }
        match &mut tail {
            Some(tail) if slash => tail.push('/'),
            None if slash => segments.push(Segment::Literal("".into())),
            _ => {}
        }
        Ok(Self { source: source.into(), segments: segments.into(), tail: tail.map(Into::into), is_wide: false })
    }

    /// The template whose operators also stand for characters that Envoy's templates do not match, such as `|`. Where a match denies, no
    /// such character may lead around it.
    pub fn widened(self) -> Self {
        Self { is_wide: true, ..self }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The text that every match begins with.
    pub fn literal_prefix(&self) -> &str {
        let end = self.source.find('{').unwrap_or(self.source.len());
        self.source.get(..end).unwrap_or_default()
    }

    /// Whether a path matches.
    pub fn is_match(&self, path: &[u8]) -> bool {
        let Some(mut rest) = path.strip_prefix(b"/") else { return false };
        for (at, segment) in self.segments.iter().enumerate() {
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (value, behind) = rest.split_at(end);
            let matches = match segment {
                Segment::Literal(literal) => value == literal.as_bytes(),
                Segment::One => !value.is_empty() && value.iter().all(|byte| self.stands_for(*byte)),
            };
            if !matches {
                return false;
            }
            if at + 1 == self.segments.len() && self.tail.is_none() {
                return behind.is_empty();
            }
            let Some(behind) = behind.strip_prefix(b"/") else { return false };
            rest = behind;
        }
        let Some(tail) = &self.tail else { return false };
        let any = |byte: &u8| *byte == b'/' || self.stands_for(*byte);
        rest.strip_suffix(tail.as_bytes()).is_some_and(|between| between.iter().all(any))
    }

    /// Whether an operator stands for a character.
    fn stands_for(&self, byte: u8) -> bool {
        self.is_wide || byte == b'*' || is_literal(byte)
    }
}

/// The characters of Envoy's templates (RFC 3986 `pchar` without `*`).
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

impl Serialize for PathTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_06_templates_match_segments() {
        for (template, matching, others) in [
            (
                "/x/{*}",
                &["/x/a", "/x/%2F", "/x/a=b*"][..],
                &["/x", "/x/", "/x/a/", "/x/a/b", "/y/a", "x/a", "/x/a|"][..],
            ),
            ("/x/{*}/y", &["/x/a/y"], &["/x//y", "/x/a/b/y", "/x/a/y/", "/x/a/yy"]),
            ("/x/{*}/", &["/x/a/"], &["/x/a", "/x/a//"]),
            ("/x/{**}", &["/x/", "/x/a", "/x/a/b/", "/x//"], &["/x", "/xx/a", "/x/a\"b"]),
            ("/x/{**}/y", &["/x//y", "/x/a/y", "/x/a/b/y"], &["/x/y", "/x/a/y/", "/x/a/by"]),
            ("/{**}/edit", &["/a/edit", "//edit"], &["/edit", "/a/edit/"]),
            ("/{*}/{**}", &["/a/", "/a/b", "/a/b/c"], &["/a", "/", "//b"]),
            ("/{**}", &["/", "/a"], &["", "*"]),
            ("/{*}", &["/a"], &["/", "/a/"]),
        ] {
            let parsed = PathTemplate::parse(template).unwrap();
            for path in matching {
                assert!(parsed.is_match(path.as_bytes()), "{template} {path}");
            }
            for path in others {
                assert!(!parsed.is_match(path.as_bytes()), "{template} {path}");
            }
        }
    }

    #[test]
    fn where_a_match_denies_every_character_matches() {
        for template in ["/x/{*}", "/x/{**}"] {
            let parsed = PathTemplate::parse(template).unwrap();
            assert!(!parsed.is_match(b"/x/a|b") && parsed.widened().is_match(b"/x/a|b"), "{template}");
        }
        assert!(!PathTemplate::parse("/x/{*}").unwrap().widened().is_match(b"/x/a/b"));
    }

    #[test]
    fn ap_06_operators_are_whole_segments_and_many_is_the_last() {
        use InvalidPathTemplate::{AfterMany, Brace, Literal, NoSlash};
        for (text, why) in [
            ("x/{*}", NoSlash),
            ("/{**}/{*}", AfterMany),
            ("/{**}/{**}", AfterMany),
            ("/a{*}", Brace),
            ("/{a}/{*}", Brace),
            ("/{*}/*", Literal),
            ("/{*}//a", Literal),
        ] {
            assert_eq!(PathTemplate::parse(text), Err(why), "{text}");
        }
        assert_eq!(PathTemplate::parse("/a/b{*}").err(), Some(Brace));
        assert_eq!(PathTemplate::parse("/a/{*}/b").unwrap().literal_prefix(), "/a/");
    }
}
