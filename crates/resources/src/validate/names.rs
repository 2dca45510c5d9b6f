//! Checks of names, hosts, ports and patterns that several kinds share.

use crate::code;
use crate::diagnostic::Findings;
use regex_automata::util::syntax;
use std::net::IpAddr;

/// Istio refuses longer patterns (VS-12).
const MAX_PATTERN_LENGTH: usize = 1024;

/// A DNS label: at most 63 letters, digits and hyphens.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Labels by dots, at most 255 characters.
pub(super) fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    // Underscores are no part of host names, and are in use all the same (SRV records, Compose).
    let label = |label: &str| is_label(&label.replace('_', "u"));
    text.len() <= 255 && !text.is_empty() && text.split('.').all(label)
}

/// A name, `*` or `*.` and a name.
pub(super) fn is_name_or_wildcard(text: &str) -> bool {
    text == "*" || is_name(text.strip_prefix("*.").unwrap_or(text))
}

/// An IP address, with brackets around IPv6 or without.
pub(super) fn is_address(text: &str) -> bool {
    text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// An address or an address with the length of its prefix.
pub(super) fn is_address_or_cidr(text: &str) -> bool {
    match text.split_once('/') {
        None => is_address(text),
        Some((address, length)) => match (address.parse(), length.parse::<u8>()) {
            (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
            _ => false,
        },
    }
}

/// Whether one host covers the other or they are the same.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let covers = |wide: &str, narrow: &str| match wide.strip_prefix('*') {
        Some(suffix) => narrow.trim_start_matches('*').ends_with(suffix) && narrow.len() >= wide.len(),
        None => wide == narrow,
    };
    covers(one, other) || covers(other, one)
}

pub(super) fn check_export_to(export_to: &[Box<str>], findings: &mut Findings) {
    for (at, entry) in export_to.iter().enumerate() {
        if !(matches!(&**entry, "." | "*" | "~") || is_label(entry)) {
            let help = "use `.` for its own namespace, `*` for all, or names of namespaces";
            findings.error(&format!("exportTo[{at}]"), code::EXPORT_TO, format!("`{entry}` is no namespace"), help);
        }
    }
}

pub(super) fn check_port(number: u32, field: &str, code: &'static str, findings: &mut Findings) {
    if !(1..=65535).contains(&number) {
        findings.error(field, code, format!("{number} is no port number"), "use a number from 1 to 65535");
    }
}

/// A pattern has to be one that RE2 and this program's engine both take.
pub(super) fn check_regex(pattern: &str, field: &str, findings: &mut Findings) {
    if pattern.chars().count() > MAX_PATTERN_LENGTH {
        let message = format!("the pattern has {} characters, more than {MAX_PATTERN_LENGTH}", pattern.chars().count());
        findings.error(field, code::REGEX, message, "write a shorter pattern, or several matches");
        return;
    }
    // `*` alone means presence where Istio allows it (VS-15); it is no pattern.
    if pattern == "*" {
        return;
    }
    let parsed = syntax::parse_with(pattern, &syntax::Config::new().utf8(false).unicode(true));
    if let Err(error) = parsed {
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        findings.error(
            field,
            code::REGEX,
            format!("`{pattern}` is no pattern: {cause}"),
            "write it as RE2 does, without look-around and back-references",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_overlap_when_one_covers_the_other() {
        assert!(overlap("*", "a.com"));
        assert!(overlap("*.a.com", "x.a.com"));
        assert!(overlap("x.a.com", "x.a.com"));
        assert!(!overlap("*.a.com", "a.com"));
        assert!(!overlap("a.com", "b.com"));
    }

    #[test]
    fn names_are_those_of_dns() {
        for good in ["a", "a.b.com", "x-1.test", "a_b.test"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "-a", "a..b", "a b", "*.a", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
