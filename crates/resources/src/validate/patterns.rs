//! Patterns: each has to be one that RE2 takes and that means the same to this program's engine.

use crate::code;
use crate::diagnostic::Findings;
use regex_automata::util::syntax;

/// Istio refuses longer patterns (VS-12).
const MAX_PATTERN_LENGTH: usize = 1024;
/// RE2 repeats nothing more often.
const MAX_REPEAT: u32 = 1000;

pub(super) fn check_pattern(pattern: &str, field: &str, findings: &mut Findings) {
    // `*` alone means presence where Istio allows it (VS-15); it is no pattern.
    if pattern == "*" {
        return;
    }
    if let Err(cause) = is_pattern(pattern) {
        let message = format!("`{}` is not a valid pattern: {cause}", shortened(pattern));
        findings.error(field, code::REGEX, message, "write it as RE2 does, without look-around and back-references");
    }
}

fn shortened(pattern: &str) -> String {
    let mut text: String = pattern.chars().take(80).collect();
    if text.len() < pattern.len() {
        text.push('…');
    }
    text
}

fn is_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("it is empty".to_owned());
    }
    if pattern.len() > MAX_PATTERN_LENGTH {
        return Err(format!("it has {} bytes, more than the {MAX_PATTERN_LENGTH} that Istio allows", pattern.len()));
    }
    let config = syntax::Config::new().utf8(false).unicode(true);
    syntax::parse_with(pattern, &config).map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })?;
    outside_of_re2(pattern).map_or(Ok(()), Err)
}

/// What the engine takes and RE2 does not, or takes to mean something else.
fn outside_of_re2(pattern: &str) -> Option<String> {
    let mut rest = pattern;
    let mut repeated = false;
    while let Some(c) = rest.chars().next() {
        let repeats = std::mem::take(&mut repeated);
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\\' => match escape(behind) {
                Ok(behind) => behind,
                Err(cause) => return Some(cause),
            },
            '[' => match class(behind) {
                Ok(behind) => behind,
                Err(cause) => return Some(cause),
            },
            '(' if behind.starts_with('?') => match flags(behind) {
                Ok(behind) => behind,
                Err(cause) => return Some(cause),
            },
            '*' | '+' | '?' => {
                repeated = true;
                behind
            }
            '{' if is_repeat(rest) => {
                if let Some(count) = counts(rest).find(|count| *count > MAX_REPEAT) {
                    return Some(format!("RE2 repeats at most {MAX_REPEAT} times, not {count}"));
                }
                repeated = true;
                rest.split_once('}').map_or("", |(_, behind)| behind)
            }
            _ => behind,
        };
        if repeated {
            if repeats {
                return Some("a repetition is repeated".to_owned());
            }
            rest = rest.strip_prefix('?').unwrap_or(rest);
        }
    }
    None
}

/// What is behind an escape; `text` begins behind the backslash.
fn escape(text: &str) -> Result<&str, String> {
    let Some(escaped) = text.chars().next() else { return Ok("") };
    if matches!(escaped, '<' | '>' | 'u' | 'U') || text.starts_with("b{") {
        return Err(format!("RE2 has no `\\{escaped}` of this form"));
    }
    Ok(text.get(escaped.len_utf8()..).unwrap_or_default())
}

/// What is behind a class; `text` begins behind its bracket.
fn class(text: &str) -> Result<&str, String> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let mut rest = text.strip_prefix(']').unwrap_or(text);
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            ']' => return Ok(behind),
            '\\' => escape(behind)?,
            '[' if behind.starts_with(':') => behind.split_once(":]").map_or("", |(_, behind)| behind),
            '[' => return Err("a `[` within a class has to be `\\[`".to_owned()),
            '&' | '~' | '-' if behind.starts_with(c) => {
                return Err(format!("`{c}{c}` within a class means something else in RE2"));
            }
            _ => behind,
        };
    }
    Ok("")
}

/// What is behind the mark of a group; `text` begins with its `?`.
fn flags(text: &str) -> Result<&str, String> {
    let text = text.strip_prefix('?').unwrap_or(text);
    let end = text.find(|c: char| !matches!(c, 'a'..='z' | 'A'..='Z' | '-')).unwrap_or(text.len());
    let (flags, behind) = text.split_at(end);
    match flags.chars().find(|flag| matches!(flag, 'x' | 'u' | 'R')) {
        Some(flag) if behind.starts_with([':', ')']) => Err(format!("RE2 has no flag `{flag}`")),
        _ => Ok(behind),
    }
}

/// `{3}`, `{3,}` and `{3,5}`; any other brace is itself.
fn is_repeat(rest: &str) -> bool {
    let body = rest.get(1..).and_then(|rest| rest.split_once('}')).map_or("", |(body, _)| body);
    body.starts_with(|c: char| c.is_ascii_digit()) && body.bytes().all(|b| b.is_ascii_digit() || b == b',')
}

fn counts(rest: &str) -> impl Iterator<Item = u32> {
    let body = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(body, _)| body);
    body.split(',').filter_map(|count| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::is_pattern;

    #[test]
    fn vs_12_patterns_are_those_of_re2() {
        for good in [
            "/a.*",
            "/v[0-9]+",
            "(?i)abc",
            r"\d{1,3}\.\w+",
            "[[:alpha:]]+",
            "a{2,}?",
            "^/x$",
            "(a|b)+",
            "[a-z-]",
            r"[\[\]]",
            "(?P<name>x)",
            "a??",
            "[]a]",
            "[^]&]+",
            "(?:ab)?",
            "(?-i:a)*",
        ] {
            assert_eq!(is_pattern(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "(a",
            "(?=a)",
            r"(a)\1",
            "a**",
            "a+*",
            "a{2}{3}",
            "a{1001}",
            "[a&&b]",
            "[a[b]]",
            r"\<a",
            r"\b{start}a",
            "a?*",
            "(?x)a b",
            "(?iu:a)",
            &"a".repeat(1025),
        ] {
            assert!(is_pattern(bad).is_err(), "{bad}");
        }
    }
}
