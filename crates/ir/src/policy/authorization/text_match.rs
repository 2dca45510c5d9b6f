//! How values of conditions are compared (AP-06).

use super::path_template::PathTemplate;
use crate::Pattern;
use serde::Serialize;
use std::sync::Arc;

/// The scheme of identities of a mesh.
const SPIFFE: &str = "spiffe://";

/// A value of a condition: `*`, `*suffix`, `prefix*` or an exact text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum TextMatch {
    /// Any text that is not empty.
    Any,
    /// The very text.
    Exact(Arc<str>),
    /// Texts that begin so.
    Prefix(Arc<str>),
    /// Texts that end so.
    Suffix(Arc<str>),
}

impl TextMatch {
    /// Parses a value.
    pub fn parse(value: &str) -> Self {
        if value == "*" {
            return Self::Any;
        }
        match (value.strip_prefix('*'), value.strip_suffix('*')) {
            (Some(suffix), _) => Self::Suffix(suffix.into()),
            (None, Some(prefix)) => Self::Prefix(prefix.into()),
            (None, None) => Self::Exact(value.into()),
        }
    }

    /// Whether a text matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
        }
    }

    /// Whether a text matches, without regard to the case of ASCII letters.
    pub fn is_match_in_any_case(&self, value: &[u8]) -> bool {
        let alike =
            |part: Option<&[u8]>, text: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()));
        match self {
            Self::Any => !value.is_empty(),
            Self::Exact(exact) => alike(Some(value), exact),
            Self::Prefix(prefix) => alike(value.get(..prefix.len()), prefix),
            Self::Suffix(suffix) => {
                alike(value.len().checked_sub(suffix.len()).and_then(|start| value.get(start..)), suffix)
            }
        }
    }
}

/// A value of a condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PathMatch {
    /// A text.
    Text(TextMatch),
    /// A template with `{*}` or `{**}`.
    Template(PathTemplate),
}

impl PathMatch {
    /// Whether a path matches.
    pub fn is_match(&self, path: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.is_match(path),
            Self::Template(template) => template.is_match(path),
        }
    }
}

/// A value of a condition on the identity of the peer, which is compared with each name in the certificate (AP-09).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum IdentityMatch {
    /// Any name that is not empty.
    Any,
    /// The very name.
    Exact(Arc<str>),
    /// Names that begin so.
    Prefix(Arc<str>),
    /// Identities of a mesh that end so.
    Suffix(Arc<str>),
    /// Names of a namespace: `…/ns/NAMESPACE/…`.
    Namespace(Arc<str>),
    /// Identities of a service account: `spiffe://…/ns/NAMESPACE/…sa/NAME…`.
    ServiceAccount {
        /// The namespace.
        namespace: Arc<str>,
        /// The name.
        name: Arc<str>,
    },
    /// Names that the pattern matches as a whole.
    Pattern(Pattern),
}

impl IdentityMatch {
    /// Whether a name of the certificate matches.
    pub fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Any => !name.is_empty(),
            Self::Exact(exact) => *name == **exact,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
            Self::Suffix(suffix) => name.strip_prefix(SPIFFE).is_some_and(|rest| rest.ends_with(&**suffix)),
            Self::Namespace(namespace) => behind_namespace(name, namespace).next().is_some(),
            Self::ServiceAccount { namespace, name: account } => {
                // At least one character of a trust domain is before `/ns/`.
                let rest = name.strip_prefix(SPIFFE).unwrap_or_default();
                let mut chars = rest.chars();
                chars.next().is_some()
                    && behind_namespace(chars.as_str(), namespace).any(|rest| has_account(rest, account))
            }
            Self::Pattern(pattern) => pattern.is_match(name.as_bytes()),
        }
    }
}

/// What stands behind each `/ns/NAMESPACE/` of a name.
fn behind_namespace<'a>(name: &'a str, namespace: &'a str) -> impl Iterator<Item = &'a str> {
    name.match_indices("/ns/")
        .filter_map(move |(at, part)| name.get(at + part.len()..)?.strip_prefix(namespace)?.strip_prefix('/'))
}

/// Whether a text has `sa/NAME` at its start or behind a `/` with something before it, and nothing or a further level behind it.
fn has_account(text: &str, account: &str) -> bool {
    let starts = std::iter::once(0).chain(text.match_indices('/').map(|(at, _)| at + 1).filter(|start| *start >= 2));
    let mut rests = starts.filter_map(|start| text.get(start..)?.strip_prefix("sa/")?.strip_prefix(account));
    rests.any(|rest| rest.is_empty() || rest.starts_with('/') && rest.len() > 1)
}

/// A value of a condition on the token's issuer and subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestPrincipal {
    /// The issuer.
    pub issuer: TextMatch,
    /// The subject.
    pub subject: TextMatch,
}

impl RequestPrincipal {
    /// Parses `ISSUER/SUBJECT` as Istio does: the last `/` separates them, since an issuer may be a URL.
    pub fn parse(value: &str) -> Self {
        let of = |issuer, subject| Self { issuer, subject };
        let exact = |text: &str| TextMatch::Exact(text.into());
        if value == "*" {
            return of(TextMatch::Any, TextMatch::Any);
        }
        match (value.strip_prefix('*'), value.strip_suffix('*'), value.rsplit_once('/')) {
            (Some(_), _, Some(("*", subject))) => of(TextMatch::Any, exact(subject)),
            (Some(_), _, Some((issuer, subject))) => {
                of(TextMatch::Suffix(issuer.strip_prefix('*').unwrap_or(issuer).into()), exact(subject))
            }
            (Some(subject), _, None) => of(TextMatch::Any, TextMatch::Suffix(subject.into())),
            (None, Some(_), Some((issuer, "*"))) => of(exact(issuer), TextMatch::Any),
            (None, Some(_), Some((issuer, subject))) => {
                of(exact(issuer), TextMatch::Prefix(subject.strip_suffix('*').unwrap_or(subject).into()))
            }
            (None, Some(issuer), None) => of(TextMatch::Prefix(issuer.into()), TextMatch::Any),
            (None, None, Some((issuer, subject))) => of(exact(issuer), exact(subject)),
            (None, None, None) => of(exact(value), exact("")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_06_values_are_exact_prefix_suffix_or_present() {
        for (value, matching, others) in [
            ("*", &["a", "*"][..], &[""][..]),
            ("a", &["a"], &["A", "ab", ""]),
            ("a*", &["a", "ab"], &["ba", "A"]),
            ("*a", &["a", "ba"], &["ab"]),
            ("*a*", &["a*", "xa*"], &["a", "xax"]),
            ("**", &["*", "a*"], &["a"]),
        ] {
            let parsed = TextMatch::parse(value);
            matching.iter().for_each(|text| assert!(parsed.is_match(text.as_bytes()), "{value} {text}"));
            others.iter().for_each(|text| assert!(!parsed.is_match(text.as_bytes()), "{value} {text}"));
        }
    }

    #[test]
    fn ap_06_hosts_are_compared_without_case() {
        for (value, text, is) in [
            ("a.Test", "A.tesT", true),
            ("a.test", "a.test:80", false),
            ("a.test:*", "A.TEST:80", true),
            ("*.Test", "a.tEST", true),
            ("*.test", "test", false),
            ("ä*", "a", false),
        ] {
            assert_eq!(TextMatch::parse(value).is_match_in_any_case(text.as_bytes()), is, "{value} {text}");
        }
    }

    #[test]
    fn ap_09_namespaces_and_accounts_are_found_in_identities() {
        let namespace = IdentityMatch::Namespace("a".into());
        for (name, is) in [
            ("spiffe://td/ns/a/sa/x", true),
            ("td/ns/a/", true),
            ("spiffe://td/ns/a", false),
            ("spiffe://td/ns/b/ns/a/sa/x", true),
            ("spiffe://td/ns/ab/sa/x", false),
        ] {
            assert_eq!(namespace.is_match(name), is, "{name}");
        }
        let account = IdentityMatch::ServiceAccount { namespace: "a".into(), name: "x".into() };
        for (name, is) in [
            ("spiffe://td/ns/a/sa/x", true),
            ("spiffe://td/ns/a/k/v/sa/x", true),
            ("spiffe://td/ns/a/sa/x/k/v", true),
            ("spiffe://td/ns/a/sa/x/", false),
            ("spiffe://td/ns/a/sa/xy", false),
            ("spiffe://td/ns/b/sa/x", false),
            ("spiffe:///ns/a/sa/x", false),
            ("td/ns/a/sa/x", false),
            ("spiffe://td/ns/a/usa/x", false),
        ] {
            assert_eq!(account.is_match(name), is, "{name}");
        }
        let suffix = IdentityMatch::Suffix("/sa/x".into());
        assert!(suffix.is_match("spiffe://td/ns/a/sa/x") && !suffix.is_match("td/ns/a/sa/x"));
    }

    #[test]
    fn ap_10_the_last_slash_separates_issuer_and_subject() {
        let told = |value: &str| {
            let RequestPrincipal { issuer, subject } = RequestPrincipal::parse(value);
            format!("{issuer:?} {subject:?}")
        };
        for (value, expected) in [
            ("*", "Any Any"),
            ("*/bob", "Any Exact(\"bob\")"),
            ("*.test/bob", "Suffix(\".test\") Exact(\"bob\")"),
            ("*bob", "Any Suffix(\"bob\")"),
            ("https://i/*", "Exact(\"https://i\") Any"),
            ("https://i/b*", "Exact(\"https://i\") Prefix(\"b\")"),
            ("i*", "Prefix(\"i\") Any"),
            ("https://i/bob", "Exact(\"https://i\") Exact(\"bob\")"),
            ("i", "Exact(\"i\") Exact(\"\")"),
        ] {
            assert_eq!(told(value), expected, "{value}");
        }
    }
}
