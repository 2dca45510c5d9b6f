//! Parsing of a text with operators.

use super::operator::parse::InvalidOperator;
use super::operator::{self, Operator};
use std::fmt;
use std::sync::Arc;

/// A parsed text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Format {
    source: Arc<str>,
    parts: Arc<[Part]>,
}

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(Box<str>),
    /// An operator, and the number of octets that its value is cut to (`:LENGTH`).
    Operator(Operator, Option<usize>),
}

/// Why a text is not a format. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFormat {
    /// A `%` that begins nothing.
    #[error("`%` at character {position} begins an operator that does not end; write `%%` for a percent sign")]
    Open {
        /// Where the `%` is.
        position: usize,
    },
    /// Envoy has no such operator.
    #[error("unknown operator `{name}` at character {position}{}", suggestion(.near))]
    Unknown {
        /// The name as written.
        name: Box<str>,
        /// Where the operator begins.
        position: usize,
        /// The operator that was probably meant.
        near: Option<&'static str>,
    },
    /// The operator takes another argument, or none.
    #[error("operator `{name}` at character {position} {expected}")]
    Argument {
        /// The name of the operator.
        name: Box<str>,
        /// Where the operator begins.
        position: usize,
        /// What the operator takes.
        expected: &'static str,
    },
}

fn suggestion(near: &Option<&'static str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

impl Format {
    /// Parses a text; `%%` is a percent sign.
    pub fn parse(text: &str) -> Result<Self, InvalidFormat> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(behind) = behind.strip_prefix('%') {
                literal.push('%');
                rest = behind;
                continue;
            }
            let begins = text.len() - behind.len() - 1;
            let position = text.get(..begins).unwrap_or_default().chars().count() + 1;
            let call = Call::read(behind).ok_or(InvalidFormat::Open { position })?;
            let operator = Operator::parse(call.name, call.argument).map_err(|invalid| match invalid {
                InvalidOperator::Unknown => {
                    InvalidFormat::Unknown { name: call.name.into(), position, near: operator::nearest(call.name) }
                }
                InvalidOperator::Argument(expected) => {
                    InvalidFormat::Argument { name: call.name.into(), position, expected }
                }
            })?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Operator(operator, call.length));
            rest = call.behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self { source: text.into(), parts: parts.into() })
    }

    /// Its parts; neighbours are never both texts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its operators, in their order.
    pub fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.parts.iter().filter_map(|part| match part {
            Part::Operator(operator, _) => Some(operator),
            Part::Text(_) => None,
        })
    }
}

/// As it was written.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// An operator as it is written.
struct Call<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    length: Option<usize>,
    /// The text after it.
    behind: &'a str,
}

impl<'a> Call<'a> {
    /// Reads the operator that a text begins with, after its `%`.
    fn read(text: &'a str) -> Option<Self> {
        let end = text.find(['%', '(', ':'])?;
        let (name, tail) = (text.get(..end)?, text.get(end..)?);
        let Some(inner) = tail.strip_prefix('(') else {
            let (length, behind) = Self::close(tail)?;
            return Some(Self { name, argument: None, length, behind });
        };
        // An argument may have parentheses and percent signs: it ends where the operator does. Blanks before the `%` are a second choice.
        let closed = |blanks: bool| {
            inner.match_indices(')').find_map(|(at, _)| {
                let tail = inner.get(at + 1..)?;
                let tail = if blanks { tail.trim_start_matches(' ') } else { tail };
                Self::close(tail).map(|(length, behind)| (at, length, behind))
            })
        };
        let (at, length, behind) = closed(false).or_else(|| closed(true))?;
        Some(Self { name, argument: Some(inner.get(..at)?.trim()), length, behind })
    }

    /// The length, if there is one, and what follows the closing `%`.
    fn close(tail: &str) -> Option<(Option<usize>, &str)> {
        if let Some(behind) = tail.strip_prefix('%') {
            return Some((None, behind));
        }
        let (length, behind) = tail.strip_prefix(':')?.split_once('%')?;
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((Some(length.parse().ok()?), behind))
    }
}
