//! Texts as kubectl writes them: the choice of quotes, the escapes and the width of lines of Go's `yaml.v2`.

use std::fmt::Write as _;

/// How much further lines of a text are indented.
const STEP: usize = 2;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// Where lines end.
#[derive(Debug, Clone, Copy)]
struct Lines {
    /// How far further lines are indented.
    indent: usize,
    /// Beyond this column a space becomes the end of a line.
    width: usize,
}

/// Writes a value; `indent` is that of what it is a value of. Beyond the column `width` a space becomes the end of a line.
pub(super) fn value(out: &mut String, text: &str, indent: usize, width: usize) {
    let lines = Lines { indent: indent + STEP, width };
    match style(text, false) {
        Style::Literal => literal(out, text, lines.indent),
        Style::Plain => folded(out, text, lines, 0, str::to_owned),
        Style::Single => {
            out.push('\'');
            folded(out, text, lines, 1, |word| word.replace('\'', "''"));
            out.push('\'');
        }
        Style::Double => double(out, text, Some(lines)),
    }
}

/// Writes a key, which is one line.
pub(super) fn key(out: &mut String, text: &str) {
    match style(text, true) {
        // Go's library leaves it plain, and would read it as something else.
        Style::Plain if text == "<<" => double(out, text, None),
        Style::Plain => out.push_str(text),
        Style::Single => drop(write!(out, "'{}'", text.replace('\'', "''"))),
        Style::Double | Style::Literal => double(out, text, None),
    }
}

fn style(text: &str, is_key: bool) -> Style {
    let allowed = Allowed::of(text);
    match () {
        () if text.contains('\n') => {
            if allowed.literal && !is_key {
                Style::Literal
            } else {
                Style::Double
            }
        }
        () if !is_word(text) => Style::Double,
        () if allowed.plain => Style::Plain,
        () if allowed.single => Style::Single,
        () => Style::Double,
    }
}

/// Which styles keep a text as it is.
struct Allowed {
    plain: bool,
    single: bool,
    literal: bool,
}

impl Allowed {
    fn of(text: &str) -> Self {
        let is_blank = |c: char| c == ' ' || c == '\t';
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut before_break, mut behind_break) = (false, false, false);
        let mut previous: Option<char> = None;
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            let is_followed_by_blank = characters.peek().is_none_or(|next| is_blank(*next));
            indicators |= match (previous, c) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
                ) => true,
                (None, '?' | '-') | (_, ':') => is_followed_by_blank,
                (Some(previous), '#') => is_blank(previous) || previous == '\n',
                _ => false,
            };
            special |= !is_printable(c);
            behind_break |= c == ' ' && previous == Some('\n');
            before_break |= c == '\n' && previous == Some(' ');
            previous = Some(c);
        }
        let begins_or_ends = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
        let is_odd = special || before_break;
        Self {
            plain: !(is_odd || indicators || begins_or_ends || text.contains('\n')),
            single: !(is_odd || behind_break),
            literal: !(is_odd || text.ends_with(' ')),
        }
    }
}

/// Whether a character is written as it is. Go's library writes separators of lines and paragraphs as they are, too, and cannot read them
/// back.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// Whether what is written next is beyond a column.
fn is_beyond(out: &str, column: usize) -> bool {
    column < usize::MAX && out.rsplit('\n').next().is_some_and(|line| line.chars().count() > column)
}

fn begin_line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a text whose lines end at single spaces beyond the width; `margin`: how many octets at both ends are in no line's end. `written`: how
/// a word is written.
fn folded(out: &mut String, text: &str, lines: Lines, margin: usize, written: impl Fn(&str) -> String) {
    let octets = text.as_bytes();
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let end = at + word.len();
        let space = end.saturating_sub(1);
        // The first of several spaces stays, and so do the others.
        let is_single = word.ends_with(' ')
            && octets.get(end) != Some(&b' ')
            && (space == 0 || octets.get(space - 1) != Some(&b' '))
            && space >= margin
            && end < octets.len() + 1 - margin;
        out.push_str(&written(word));
        at = end;
        // What counts is the column before the space.
        if is_single && is_beyond(out, lines.width.saturating_add(1)) {
            out.pop();
            begin_line(out, lines.indent);
        }
    }
}

fn double(out: &mut String, text: &str, lines: Option<Lines>) {
    out.push('"');
    let last = text.len().saturating_sub(1);
    let mut follows_space = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let is_space = c == ' ';
        match lines {
            Some(lines) if is_space && !follows_space && at > 0 && at < last && is_beyond(out, lines.width) => {
                begin_line(out, lines.indent);
                if characters.peek().is_some_and(|(_, next)| *next == ' ') {
                    out.push('\\');
                }
            }
            _ if is_printable(c) && !matches!(c, '\n' | '"' | '\\') => out.push(c),
            _ => escape(out, c),
        }
        follows_space = is_space;
    }
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c => {
            let _ = match u32::from(c) {
                code @ ..=0xff => write!(out, "\\x{code:02X}"),
                code @ ..=0xffff => write!(out, "\\u{code:04X}"),
                code => write!(out, "\\U{code:08X}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        let _ = write!(out, "{STEP}");
    }
    let lines = text.trim_end_matches('\n');
    out.push_str(match text.len() - lines.len() {
        0 => "-",
        1 if !lines.is_empty() => "",
        _ => "+",
    });
    // The end of the last line is not the text's.
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if line.is_empty() {
            out.push('\n');
        } else {
            begin_line(out, indent);
            out.push_str(line);
        }
    }
}

/// Whether a text without quotes is none that Go's library takes for null, a boolean, a number or a time.
fn is_word(text: &str) -> bool {
    const NO_WORDS: [&str; 38] = [
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n",
        "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf",
        ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
    ];
    if NO_WORDS.contains(&text) || text == "-.INF" {
        return false;
    }
    match text.chars().next() {
        Some('.') => !is_float(text),
        Some('0'..='9' | '+' | '-') => {
            let plain = text.replace('_', "");
            !(is_time(text) || is_integer(&plain) || is_float(&plain) || is_in_sixties(text))
        }
        _ => true,
    }
}

/// With a sign and a prefix of its base, in 64 bits.
fn is_integer(text: &str) -> bool {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.get(..1).unwrap_or_default(), digits),
        None => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let prefixed = prefixes.iter().find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, *base)));
    let (digits, base) = prefixed.filter(|(digits, _)| !digits.is_empty()).unwrap_or((&lower, 10));
    let is_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    let Ok(number) = u64::from_str_radix(digits, base) else { return false };
    is_digits && (sign.is_empty() || number <= i64::MAX.unsigned_abs() + u64::from(sign == "-"))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and not too large.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && are_digits(exponent))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: a number of an older YAML.
fn is_in_sixties(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digit = |b: u8| b.is_ascii_digit() || b == b'_';
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut parts = parts.peekable();
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(is_digit)
        && fraction.bytes().all(is_digit)
        && parts.peek().is_some()
        && parts.all(|part| number(part, 59).is_some())
}

/// One or two digits, of at most so much.
fn number(text: &str, largest: i8) -> Option<i8> {
    let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= largest)
}

/// `2006-1-2`, `2006-1-2 15:4:5.9`, `2006-1-2T15:4:5.9Z` or with `+07:00` at its end.
fn is_time(text: &str) -> bool {
    let date = |text: &str| {
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let is_year = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit());
        let (month, day) = (number(month, 12)?, number(day, 31)?);
        jiff::civil::Date::new(year.parse().ok().filter(|_| is_year)?, month, day).ok()
    };
    let clock = |text: &str| {
        let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
        let parts: Vec<&str> = whole.split(':').collect();
        let [hour, minute, second] = *parts else { return false };
        let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
        is_fraction && number(hour, 23).is_some() && number(minute, 59).is_some() && number(second, 59).is_some()
    };
    let zoned = |text: &str| {
        if let Some(text) = text.strip_suffix('Z') {
            return clock(text);
        }
        let Some((text, zone)) = text.rfind(['+', '-']).map(|at| text.split_at(at)) else { return false };
        let zone = zone.get(1..).and_then(|zone| zone.split_once(':'));
        let is_zone = zone.is_some_and(|(hours, minutes)| {
            hours.len() == 2 && minutes.len() == 2 && number(hours, 24).is_some() && number(minutes, 60).is_some()
        });
        is_zone && clock(text)
    };
    match text.split_once([' ', 'T', 't']) {
        None => date(text).is_some(),
        Some((day, time)) if text.contains(' ') => date(day).is_some() && clock(time),
        Some((day, time)) => date(day).is_some() && zoned(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = "key: ".to_owned();
        value(&mut out, text, 0, 80);
        out.split_off("key: ".len())
    }

    /// As `yaml.v2` writes them; `get_in_cluster` compares some of them with kubectl.
    #[test]
    fn quotes_are_those_of_kubectl() {
        for text in [
            "a",
            "a b",
            "-a",
            "--",
            "?a",
            ":a",
            "a:b",
            "a,b",
            "a#b",
            "=x",
            "<<",
            "=",
            "yES",
            "nUll",
            "0b2",
            "0x",
            "1.2.3",
            "1e999",
            "é",
            "b\u{a0}c",
            "2001-13-01",
            "10.0.0.1",
            "1:60:00",
            "0o8",
            "<a> & 'b' \"c\"",
            "a\\b",
            "_1",
            "99999999999999999999x",
            "v1",
            "2001-01-01T10:00",
            "..",
        ] {
            assert_eq!(written(text), text, "{text}");
        }
        for text in [
            "",
            "~",
            "null",
            "Yes",
            "n",
            "off",
            ".inf",
            "-.INF",
            ".NaN",
            "1",
            "-1",
            "+1",
            "1_000",
            "010",
            "08",
            "0x1F",
            "0o17",
            "0b11",
            "1.5",
            ".5",
            "5.",
            "1e3",
            "12:30",
            "1:20:30.5",
            "2001-01-01",
            "2001-1-1 1:2:3",
            "2001-01-01T10:00:00Z",
            "2001-01-01t10:00:00.5+02:00",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            assert_eq!(written(text), format!("\"{text}\""), "{text}");
        }
        for text in [
            "*x", "&a", "!a", "%a", "@a", "`a", "{a}", "[a]", "- a", "-", "? x", "?", ": ", "a:", "::", "a: b", "a #b",
            "#a", " a", "a ", "---", "...a", "\"a",
        ] {
            assert_eq!(written(text), format!("'{text}'"), "{text}");
        }
        assert_eq!(written("'a"), "'''a'");
    }

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        assert_eq!(written("a\u{1}b\u{1b}[31m\t\r\0\"\\"), r#""a\x01b\e[31m\t\r\0\"\\""#);
        assert_eq!(written("\u{1f600} é"), "\"\\U0001F600 é\"");
        assert_eq!(written("\u{feff}\u{85}\u{2028}\u{fffe}"), "\"\\uFEFF\\N\\L\\uFFFE\"");
        let mut out = String::new();
        key(&mut out, "a\nb");
        assert_eq!(out, "\"a\\nb\"");
    }

    #[test]
    fn lines_are_literal_where_that_keeps_them() {
        for (text, expected) in [
            ("a\nb", "|-\n  a\n  b"),
            ("a\nb\n", "|\n  a\n  b"),
            ("a\n\n", "|+\n  a\n"),
            ("a\n\n  b\n", "|\n  a\n\n    b"),
            (" a\nb", "|2-\n   a\n  b"),
            ("\na", "|2-\n\n  a"),
            ("\n", "|2+\n"),
            ("a \nb", "\"a \\nb\""),
            ("a\nb ", "\"a\\nb \""),
            ("a\n\tb", "\"a\\n\\tb\""),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_folded_at_spaces() {
        let long = "a".repeat(75);
        let of = |text: &str| written(text);
        // `key: ` takes five columns: the word ends at the 80th.
        assert_eq!(of(&format!("{long} b c")), format!("{long} b\n  c"));
        assert_eq!(of(&format!("{long}a b")), format!("{long}a\n  b"));
        assert_eq!(of(&format!("{long}a  b c")), format!("{long}a  b\n  c"), "several spaces stay");
        assert_eq!(of(&format!("# {long} b")), format!("'# {long}\n  b'"));
        assert_eq!(of(&format!("\t{long} b  c")), format!("\"\\t{long}\n  b  c\""));
        assert_eq!(of(&format!("\t{long}  b")), format!("\"\\t{long}\n  \\ b\""));
        assert_eq!(of(&format!("\t{long} ")), format!("\"\\t{long} \""));
        let mut out = String::new();
        key(&mut out, &format!("{long}{long} a"));
        assert_eq!(out, format!("{long}{long} a"));
    }
}
