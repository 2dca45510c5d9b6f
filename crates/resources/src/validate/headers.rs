//! Names of headers, and what is written into them: VS-15, VS-22, VS-47.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::scalar::Text;
use crate::spec::virtual_service::{HeaderOperations, Headers, HttpRewrite};
use crate::validate::head_text;
use text::{HeaderName, HeaderValue};

/// What a header of a token's claims begins with (VS-22).
const CLAIMS: &str = "@request.auth.claims";

/// A name that Istio takes in matches.
pub(super) fn is_matched_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `@request.auth.claims.a.b` or `@request.auth.claims[a][b]` (VS-22).
pub(super) fn is_claim(name: &str) -> bool {
    let Some(path) = name.strip_prefix(CLAIMS) else { return false };
    let dotted = path.strip_prefix('.').is_some_and(|path| path.split('.').all(|part| !part.is_empty()));
    let bracketed = path.strip_prefix('[').and_then(|path| path.strip_suffix(']'));
    dotted || bracketed.is_some_and(|path| path.split("][").all(|part| !part.is_empty()))
}

/// The name that stands for the Host of a request.
fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// VS-47.
pub(super) fn check_headers(headers: &Headers, findings: &mut Findings) {
    if let Some(operations) = &headers.request {
        findings.at("request", |findings| check_operations(operations, true, findings));
    }
    if let Some(operations) = &headers.response {
        findings.at("response", |findings| check_operations(operations, false, findings));
    }
}

/// `authority` says whether Host may be written, which is a rewrite of the authority (VS-38).
fn check_operations(operations: &HeaderOperations, authority: bool, findings: &mut Findings) {
    for (field, map) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in map {
            let path = if name.is_empty() { field.to_owned() } else { format!("{field}.{name}") };
            check_name(name, &path, authority, findings);
            if is_authority(name) {
                head_text::check_authority(value, &path, code::HEAD_TEXT, findings);
            } else {
                check_value(value, &path, findings);
            }
        }
    }
    for (at, name) in operations.remove.iter().enumerate() {
        check_name(name, &format!("remove[{at}]"), false, findings);
    }
}

fn check_name(name: &str, field: &str, authority: bool, findings: &mut Findings) {
    if is_authority(name) && !authority {
        let help = "use `rewrite.authority` for what backends see as Host";
        findings.error(field, code::HEADER_OPERATION, format!("`{name}` cannot be changed here"), help);
    } else if !is_authority(name) {
        head_text::check(HeaderName::parse(name), field, code::HEADER_OPERATION, findings);
    }
}

fn check_value(value: &str, field: &str, findings: &mut Findings) {
    if let Err(error) = HeaderValue::parse(value) {
        findings.error(field, code::HEADER_OPERATION, error.to_string(), error.help());
    } else if !are_variables_closed(value) {
        let message = format!("`%` begins a variable that does not end: `{value}`");
        findings.error(field, code::HEADER_OPERATION, message, "write `%%` for a percent sign");
    }
}

/// Whether every `%` is `%%` or belongs to `%NAME%`, `%NAME(argument)%` or `%NAME(["one", "two"])%`.
fn are_variables_closed(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once('%') {
        let next = match behind.strip_prefix('%') {
            Some(escaped) => Some(escaped),
            None => behind_variable(behind),
        };
        match next {
            Some(next) => rest = next,
            None => return false,
        }
    }
    true
}

fn behind_variable(text: &str) -> Option<&str> {
    let end = text.find(['%', '('])?;
    let (_, tail) = text.split_at(end);
    match tail.strip_prefix('(') {
        None => tail.strip_prefix('%'),
        Some(arguments) => behind_arguments(arguments)?.trim_start_matches(' ').strip_prefix('%'),
    }
}

fn behind_arguments(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(' ');
    let Some(mut list) = text.strip_prefix('[') else {
        return behind_unescaped(text, ')');
    };
    loop {
        list = behind_unescaped(list.trim_start_matches(' ').strip_prefix('"')?, '"')?.trim_start_matches(' ');
        match list.strip_prefix(',') {
            Some(more) => list = more,
            None => return list.strip_prefix(']')?.trim_start_matches(' ').strip_prefix(')'),
        }
    }
}

/// What is behind the first `end` that no backslash stands before.
fn behind_unescaped(text: &str, end: char) -> Option<&str> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()?),
            c if c == end => return text.get(at + c.len_utf8()..),
            _ => {}
        }
    }
    None
}

/// Host is rewritten in one place at most (VS-38).
pub(super) fn check_authority(rewrite: Option<&HttpRewrite>, headers: Option<&Headers>, findings: &mut Findings) {
    let request = headers.and_then(|headers| headers.request.as_ref());
    let written = |map: &std::collections::BTreeMap<Text, Text>| map.keys().filter(|name| is_authority(name)).count();
    let set = request.map_or(0, |request| written(&request.set) + written(&request.add));
    let rewritten = usize::from(rewrite.is_some_and(|rewrite| !rewrite.authority.is_empty()));
    if set + rewritten > 1 {
        let message = "Host is rewritten in several places";
        findings.error(
            "headers.request",
            code::HEADER_OPERATION,
            message,
            "keep one of them, best `rewrite.authority`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vs_47_variables_have_to_end() {
        for good in ["", "x", "%HOSTNAME%", "100%%", "a %REQ(x)% b", r#"%M(["a", "b"])%"#, "%A(b\\)c)%", "%A(b) %"] {
            assert!(are_variables_closed(good), "{good}");
        }
        for bad in ["%", "100%", "abc%123", "%START_TIME%%", "%REQ(x%", "%REQ(x)", r#"%M(["a"])"#, "%REQ(x):9%"] {
            assert!(!are_variables_closed(bad), "{bad}");
        }
    }

    #[test]
    fn vs_22_claims_are_paths() {
        for good in ["@request.auth.claims.a", "@request.auth.claims.a.b", "@request.auth.claims[a][b]"] {
            assert!(is_claim(good), "{good}");
        }
        for bad in ["@request.auth.claims", "@request.auth.claims.", "@request.auth.claims[]", "@request.x", "claims"] {
            assert!(!is_claim(bad), "{bad}");
        }
    }
}
