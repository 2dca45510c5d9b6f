//! Names, hosts, addresses and labels, as Istio's validation has them: what is one, and what covers what. It says nothing to
//! anybody; the checks of the kinds and `fields` call it.

use crate::spec::text_match::Labels;
use std::net::IpAddr;

/// The longest domain name.
const MAX_NAME: usize = 255;
/// The longest label of a domain name, and the longest name of a Kubernetes label.
const MAX_LABEL: usize = 63;

/// A DNS label: at most 63 letters, digits and hyphens.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Labels by dots, at most 255 characters, the last of them no number; a dot may end it.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME && !text.is_empty() && are_labels(text)
}

fn are_labels(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let numeric = text.rsplit('.').next().is_some_and(|last| last.parse::<i64>().is_ok());
    !numeric && text.split('.').all(is_label)
}

/// A name whose first label may be `*` or begin with it (`*.a.test`, `*a.test`, `*-a.test`), or `*` alone.
pub(super) fn is_host(text: &str) -> bool {
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let label = first.strip_prefix('*').map_or(first, |rest| rest.strip_prefix('-').unwrap_or(rest));
    text.len() <= MAX_NAME
        && (first == "*" || is_label(label))
        && rest.is_none_or(|rest| rest.is_empty() || are_labels(rest))
}

/// `*a.test`, which is no whole label.
pub(super) fn is_partial_wildcard(text: &str) -> bool {
    text.contains('*') && text != "*" && !text.starts_with("*.")
}

/// The form in which sidecars ask an east-west gateway for a subset: `outbound_.80_.v1_.host` (VS-60).
pub(super) fn is_internal_sni(text: &str) -> bool {
    let mut parts = text.splitn(4, '.');
    let port = |part: &str| part.strip_suffix('_').is_some_and(|port| port.parse::<u16>().is_ok());
    parts.next() == Some("outbound_")
        && parts.next().is_some_and(port)
        && parts.next().is_some_and(|subset| subset.ends_with('_'))
        && parts.next().is_some_and(is_name)
}

/// An IP address, with brackets around IPv6 or without.
pub(super) fn is_address(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.parse::<IpAddr>().is_ok()
}

/// An address or an address with the length of its prefix.
pub(super) fn is_address_or_cidr(text: &str) -> bool {
    match text.split_once('/') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, length)) => match (address.parse(), length.parse::<u8>()) {
            (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
            _ => false,
        },
    }
}

/// What DNS can be asked for. Underscores are no part of host names, and are in use all the same (SRV records, Compose).
pub(super) fn is_resolvable(text: &str) -> bool {
    is_name(&text.replace('_', "u"))
}

/// The path behind `unix://`: absolute and no folder, or abstract.
pub(super) fn is_socket_path(path: &str) -> bool {
    path.len() > 1 && (path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')))
}

/// Whether every host that `narrow` stands for is one that `wide` stands for, whatever their case.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    match (wide.strip_prefix('*'), narrow.strip_prefix('*')) {
        (Some(wide), Some(narrow)) => ends_with(narrow, wide),
        (Some(wide), None) => ends_with(narrow, wide),
        (None, Some(_)) => false,
        (None, None) => wide.eq_ignore_ascii_case(narrow),
    }
}

fn ends_with(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    let begin = text.len().checked_sub(end.len());
    begin.and_then(|begin| text.get(begin..)).is_some_and(|rest| rest.eq_ignore_ascii_case(end))
}

/// Whether one host covers the other or they are the same.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

/// The first label that Kubernetes would not take, as `name=value`.
pub(super) fn bad_label(labels: &Labels) -> Option<String> {
    labels
        .iter()
        .find(|(name, value)| !is_label_name(name) || !(value.is_empty() || is_qualified(value)))
        .map(|(name, value)| format!("{name}={value}"))
}

fn is_label_name(name: &str) -> bool {
    let (prefix, name) = name.split_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_label))
        && name.len() <= MAX_LABEL
        && is_qualified(name)
}

fn is_qualified(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let end = |c: char| c.is_ascii_alphanumeric();
    text.bytes().all(inner) && text.starts_with(end) && text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_overlap_when_one_covers_the_other() {
        assert!(overlap("*", "a.com"));
        assert!(overlap("*.a.com", "x.a.com"));
        assert!(overlap("*.a.com", "*.x.a.com"));
        assert!(overlap("x.a.com", "x.a.com"));
        assert!(!overlap("*.a.com", "a.com"));
        assert!(!overlap("a.com", "b.com"));
    }

    #[test]
    fn vs_60_what_covers_is_wider() {
        assert!(covers("*.a.com", "x.a.com"));
        assert!(covers("*.a.com", "*.x.a.com"));
        assert!(!covers("*.x.a.com", "*.a.com"));
        assert!(!covers("x.a.com", "*.a.com"));
    }

    #[test]
    fn names_are_those_of_dns() {
        for good in ["a", "a.b.com", "x-1.test", "A.b", "istio.io.", "1.a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "-a", "a..b", "a b", "*.a", "a_b.test", "a.1", "10.0.0.1", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_resolvable("a_b.test") && !is_resolvable("a b"));
    }

    #[test]
    fn vs_01_wildcards_stand_in_the_first_label() {
        for good in ["*", "*.a.test", "*a.test", "*-a.test", "a"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ".", "a.*.test", "a*.test", "**.test", "a.test/x", "*.a_b.test", "10.0.0.1"] {
            assert!(!is_host(bad), "{bad}");
        }
        assert!(is_partial_wildcard("*a.test") && !is_partial_wildcard("*.a.test") && !is_partial_wildcard("*"));
    }

    #[test]
    fn vs_60_the_internal_form_of_sni_is_known() {
        assert!(is_internal_sni("outbound_.80_._.e2e.foobar.mesh"));
        assert!(is_internal_sni("outbound_.80_.v1_.a.test"));
        assert!(!is_internal_sni("outbound_.x_.v1_.a.test"));
        assert!(!is_internal_sni("a.test"));
    }

    #[test]
    fn sockets_are_absolute_files_or_abstract() {
        for (path, good) in [("/a/b", true), ("@a", true), ("", false), ("a", false), ("/a/", false), ("/", false)] {
            assert_eq!(is_socket_path(path), good, "{path}");
        }
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        let of = |name: &str, value: &str| bad_label(&Labels::from([(name.into(), value.into())]));
        assert_eq!(of("app.kubernetes.io/name", "a-b_c.d"), None);
        assert_eq!(of("app", ""), None);
        for (name, value) in [("", "x"), ("a/b/c", "x"), ("-a", "x"), ("app", "*"), ("app", "a b")] {
            assert_eq!(of(name, value), Some(format!("{name}={value}")));
        }
    }
}
