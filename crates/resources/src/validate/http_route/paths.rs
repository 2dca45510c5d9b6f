//! Paths that rewrites and redirects write (VS-35, VS-37): what has no slash, and what no request can be sent with. They are findings and
//! no errors, since requests get an answer all the same; what is written is made safe by `routing`.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::virtual_service::{HttpRedirect, HttpRewrite, RegexRewrite};

/// The paths of a redirect.
pub(super) fn check_redirect(redirect: &HttpRedirect, findings: &mut Findings) {
    for (text, field) in [(&redirect.uri, "uri"), (&redirect.prefix_rewrite, "prefixRewrite")] {
        if text.contains("://") && !text.starts_with('/') {
            let message = format!("`{text}` is not a path: the `Location` gets `/{text}` behind the authority");
            let help = "set `scheme` and `authority` for another host, and here its path";
            findings.warning(field, code::PATH_SLASH, message, help);
        } else {
            check_slash(text, field, "the `Location`", findings);
        }
    }
}

/// The paths of a rewrite.
pub(super) fn check_rewrite(rewrite: &HttpRewrite, findings: &mut Findings) {
    check_slash(&rewrite.uri, "uri", "the request", findings);
    check_sent(&rewrite.uri, "uri", findings);
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        check_pattern(regex, findings);
        check_sent(&regex.rewrite, "uriRegexRewrite.rewrite", findings);
    }
}

fn check_slash(text: &str, field: &str, of: &str, findings: &mut Findings) {
    if text.is_empty() {
        return;
    }
    if !text.starts_with('/') {
        let message = format!("`{text}` does not begin with `/`, and {of} gets `/{text}`");
        findings.warning(field, code::PATH_SLASH, message, format!("write `/{text}`"));
    } else if text.starts_with("//") {
        let message = format!("`{text}` begins with `//`, which some readers take for the beginning of a host");
        findings.warning(field, code::PATH_SLASH, message, "begin the path with one `/`");
    }
}

/// Where a pattern takes the beginning of the path, what it writes begins with a slash, or with a group that does.
fn check_pattern(regex: &RegexRewrite, findings: &mut Findings) {
    let (pattern, text) = (&*regex.pattern, &*regex.rewrite);
    let begins = |pattern: &str| ["^", "/", "(/", ".*", "(.*"].iter().any(|start| pattern.starts_with(start));
    let field = "uriRegexRewrite.rewrite";
    if text.is_empty() || !begins(pattern) {
        return;
    }
    if text.starts_with("//") {
        check_slash(text, field, "the request", findings);
    } else if !text.starts_with('/') && !group_has_slash(pattern, text) {
        let message = format!("`{text}` does not begin with `/`, and a path that begins with it gets one in front");
        findings.warning(field, code::PATH_SLASH, message, format!("write `/{text}`"));
    }
}

/// Whether `text` begins with a group of `pattern` (`\1`) that begins with a slash, or may.
fn group_has_slash(pattern: &str, text: &str) -> bool {
    let Some(number) = text.strip_prefix('\\').and_then(|rest| rest.chars().next()?.to_digit(10)) else { return false };
    if number == 0 {
        return true;
    }
    let mut groups = pattern.match_indices('(').filter(|(at, _)| {
        let escaped =
            pattern.get(..*at).unwrap_or_default().bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        !escaped && !pattern.get(at + 1..).unwrap_or_default().starts_with('?')
    });
    let group = groups.nth(number as usize - 1).and_then(|(at, _)| pattern.get(at + 1..));
    // `(.*)` behind a slash leaves none; what else a group takes is not worked out.
    group.is_none_or(|group| !group.starts_with('.') || pattern.starts_with("(.*"))
}

/// What every request that is rewritten would be answered 400 for.
fn check_sent(text: &str, field: &str, findings: &mut Findings) {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let digit = |at: usize| path.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if path.match_indices('%').any(|(at, _)| !digit(at + 1) || !digit(at + 2)) {
        let message =
            format!("`{text}` has a `%` that starts no escape, and requests with such a path are answered 400");
        findings.warning(field, code::PATH_NOT_SENT, message, "write `%25` for a `%`");
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        let message =
            format!("`{text}` has a `.` or `..` segment, and requests that are rewritten to one are answered 400");
        findings.warning(field, code::PATH_NOT_SENT, message, "write the path that is meant");
    }
}
