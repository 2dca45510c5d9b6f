//! Host names and wildcards as route tables key them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// `*`, `*.suffix` or one exact name; lower case, without a port (S-33, S-117).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One name or IP address.
    Exact(Arc<str>),
    /// Every name that ends with this text, which begins with a dot: `*.a.com` holds `.a.com` (S-32).
    Suffix(Arc<str>),
    /// Every host.
    Any,
}

/// The text is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is neither a host name, `*`, nor `*.` followed by a name", .0.escape_debug())]
pub struct InvalidHostPattern(pub String);

impl HostPattern {
    /// Parses `*`, `*.suffix` or a name, in lower case. The caller removes a namespace prefix.
    pub fn parse(text: &str) -> Result<Self, InvalidHostPattern> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        let (name, wildcard) = match lower.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (lower.as_str(), false),
        };
        if name.is_empty() || name.contains('*') || name.contains('/') || name.chars().any(char::is_whitespace) {
            return Err(InvalidHostPattern(text.to_owned()));
        }
        Ok(if wildcard { Self::Suffix(lower[1..].into()) } else { Self::Exact(name.into()) })
    }

    /// Whether `self` covers every host that `other` covers.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Suffix(_)) => false,
            (Self::Suffix(a), Self::Exact(b) | Self::Suffix(b)) => {
                b.ends_with(&**a) && (b.len() > a.len() || self == other)
            }
        }
    }

    /// The narrower of two overlapping patterns (S-31), or `None` when no host is in both.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn s_32_a_wildcard_covers_deeper_names_but_not_the_bare_suffix() {
        assert!(pattern("*.a.com").covers(&pattern("x.a.com")));
        assert!(pattern("*.a.com").covers(&pattern("x.y.a.com")));
        assert!(pattern("*.a.com").covers(&pattern("*.a.com")));
        assert!(!pattern("*.a.com").covers(&pattern("a.com")));
        assert!(!pattern("*.a.com").covers(&pattern("xa.com")));
    }

    #[test]
    fn s_31_the_narrower_of_an_overlap_is_used() {
        assert_eq!(pattern("*.a.com").intersect(&pattern("x.a.com")), Some(pattern("x.a.com")));
        assert_eq!(pattern("x.a.com").intersect(&pattern("*")), Some(pattern("x.a.com")));
        assert_eq!(pattern("x.a.com").intersect(&pattern("y.a.com")), None);
    }

    #[test]
    fn partial_wildcards_are_refused() {
        for text in ["a*.com", "*a.com", "a.*.com", "", "*.", "ns/a.com"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
