//! Writes one line of the access log (TE-05).
//!
//! What a peer sends cannot end a line or a string in it, nor change how the line is shown: in text, quotes, backslashes, characters that are not
//! shown as themselves, and bytes that are not valid UTF-8 are escaped.

use crate::substitute::{self, Facts};
use ir::{Format, JsonNode, LogFormat, Operator, Part};

/// Appends a line.
pub fn write(format: &LogFormat, facts: &dyn Facts, out: &mut Vec<u8>) {
    match format {
        LogFormat::Text(format) => write_text(format, facts, out, escape),
        LogFormat::Json(node) => {
            write_json(node, facts, out);
            out.push(b'\n');
        }
    }
}

/// Appends a text; operators without a value become `-`. `escape` changes what stands behind an index.
fn write_text(format: &Format, facts: &dyn Facts, out: &mut Vec<u8>, escape: impl Fn(&mut Vec<u8>, usize)) {
    for part in format.parts() {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Operator(operator, length) => {
                let begin = out.len();
                substitute::put(operator, *length, facts, &[], out);
                if out.len() == begin {
                    out.push(b'-');
                } else {
                    escape(out, begin);
                }
            }
        }
    }
}

fn escape(out: &mut Vec<u8>, begin: usize) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if out.get(begin..).is_none_or(|value| value.iter().all(is_plain)) {
        return;
    }
    let hidden = |bytes: &[u8], out: &mut Vec<u8>| {
        bytes.iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
    };
    for chunk in out.split_off(begin).utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut octets = [0; 4];
            let octets = c.encode_utf8(&mut octets).as_bytes();
            match c {
                c if is_hidden(c) => hidden(octets, out),
                '"' | '\\' => {
                    out.push(b'\\');
                    out.extend_from_slice(octets);
                }
                _ => out.extend_from_slice(octets),
            }
        }
        hidden(chunk.invalid(), out);
    }
}

/// Whether a character is not shown as itself: it controls a terminal, ends a line, changes the direction or the place of what stands beside it, or
/// cannot be seen.
pub fn is_hidden(c: char) -> bool {
    // The joiners U+200C and U+200D are parts of words, and are kept.
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn write_json(node: &JsonNode, facts: &dyn Facts, out: &mut Vec<u8>) {
    match node {
        JsonNode::Literal(json) => out.extend_from_slice(json.as_bytes()),
        JsonNode::Format(format) => match format.parts() {
            [Part::Operator(operator, length)] => write_value(operator, *length, facts, out),
            _ => {
                let mut text = Vec::new();
                write_text(format, facts, &mut text, |_, _| {});
                write_json_string(&text, out);
            }
        },
        JsonNode::Object(fields) => {
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json_string(key.as_bytes(), out);
                out.push(b':');
                write_json(value, facts, out);
            }
            out.push(b'}');
        }
        JsonNode::List(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(value, facts, out);
            }
            out.push(b']');
        }
    }
}

/// The value of an operator that stands alone.
fn write_value(operator: &Operator, length: Option<usize>, facts: &dyn Facts, out: &mut Vec<u8>) {
    let begin = out.len();
    substitute::put(operator, length, facts, &[], out);
    if out.len() == begin {
        out.extend_from_slice(b"null");
    } else if !(operator.is_number() && out.get(begin..).is_some_and(|value| value.iter().all(u8::is_ascii_digit))) {
        let value = out.split_off(begin);
        write_json_string(&value, out);
    }
}

/// Appends a JSON string. Octets that are not UTF-8 become U+FFFD.
pub fn write_json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let lossy = String::from_utf8_lossy(text);
    let mut rest = &*lossy;
    // What needs no escape is appended in one piece.
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c) || matches!(c, '"' | '\\')) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default().as_bytes());
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // Beyond U+FFFF these are two units of UTF-16 (RFC 8259 §7).
            c => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.extend_from_slice(format!("\\u{unit:04x}").as_bytes())),
        }
        rest = rest.get(at + c.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{Fact, FieldName};
    use std::borrow::Cow;
    use wire::view::Fields;

    /// A request with two headers and a response with the status 200.
    struct Exchange(&'static [u8]);

    impl Facts for Exchange {
        fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
            match name {
                FieldName::Path => Some(Cow::Borrowed(b"/a?b=c")),
                FieldName::Header(name) if name.as_str() == "x-a" => Some(Cow::Borrowed(self.0)),
                _ => None,
            }
        }

        fn response(&self) -> Option<(u16, Fields<'_>)> {
            None
        }

        fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
            match operator {
                Operator::Fact(Fact::ResponseCode) => out.extend_from_slice(b"200"),
                Operator::Fact(Fact::RouteName) => out.extend_from_slice(b"r"),
                _ => {}
            }
        }
    }

    fn line(format: &LogFormat, header: &'static [u8]) -> String {
        let mut out = Vec::new();
        write(format, &Exchange(header), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn te_05_text_has_a_dash_for_what_is_missing() {
        let text = |format: &str| line(&LogFormat::text(format).unwrap(), b"hello");
        assert_eq!(text("%RESPONSE_CODE% %PROTOCOL% %REQ(x-a)%"), "200 - hello\n");
        assert_eq!(text("%REQ(x-b?x-a):3%|%REQ(x-b?x-c)%|%TRAILER(x)%"), "hel|-|-\n");
        assert_eq!(text("%PATH(NQ)% %PATH% %QUERY_PARAM(b)% 100%%"), "/a /a?b=c c 100%\n");
        assert_eq!(text("%REQ(x-a):0%"), "-\n");
    }

    #[test]
    fn te_05_what_a_peer_sends_cannot_end_a_line_or_a_string() {
        let text = LogFormat::text("\"%REQ(x-a)%\"").unwrap();
        assert_eq!(line(&text, b"a\"b\\c\nd\x7f"), "\"a\\\"b\\\\c\\x0ad\\x7f\"\n");
        let format = |text: &str| JsonNode::Format(Format::parse(text).unwrap());
        let json = LogFormat::Json(JsonNode::object(vec![("k".into(), format("%REQ(x-a)%"))]));
        assert_eq!(line(&json, b"a\"b\\c\nd\xff"), "{\"k\":\"a\\\"b\\\\c\\u000ad\u{fffd}\"}\n");
    }

    #[test]
    fn te_05_an_operator_alone_keeps_its_type_in_json() {
        let format = |text: &str| JsonNode::Format(Format::parse(text).unwrap());
        let json = LogFormat::Json(JsonNode::object(vec![
            ("number".into(), format("%RESPONSE_CODE%")),
            ("text".into(), format("%ROUTE_NAME%")),
            ("missing".into(), format("%PROTOCOL%")),
            ("mixed".into(), format("%RESPONSE_CODE%-%PROTOCOL%")),
            ("fixed".into(), JsonNode::Literal("true".into())),
            ("list".into(), JsonNode::List([format("%RESPONSE_CODE%"), format("x")].into())),
        ]));
        let expected =
            r#"{"fixed":true,"list":[200,"x"],"missing":null,"mixed":"200--","number":200,"text":"r"}"#.to_owned();
        assert_eq!(line(&json, b""), expected + "\n");
    }

    #[test]
    fn characters_that_cannot_be_seen_are_hidden_but_for_joiners() {
        for c in
            "\u{61c}\u{ad}\u{180e}\u{200b}\u{2060}\u{2064}\u{e0000}\u{e007f}\u{200e}\u{2028}\u{2069}\u{feff}\r".chars()
        {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in "a é\u{200c}\u{200d}\u{2065}\u{1f600}\u{e0080}".chars() {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn nothing_in_a_value_changes_how_the_line_is_shown() {
        let text = LogFormat::Text(Format::parse("%REQ(x-a)%|\n").unwrap());
        let json = LogFormat::Json(JsonNode::Format(Format::parse("%REQ(x-a)%").unwrap()));
        for (sent, in_text, in_json) in [
            // The introducer of a terminal's sequences in one character, and an order to write from right to left.
            ("\u{9b}2J\u{202e}a".as_bytes(), "\\xc2\\x9b2J\\xe2\\x80\\xaea", "\\u009b2J\\u202ea"),
            ("a\u{2028}b\u{feff}c".as_bytes(), "a\\xe2\\x80\\xa8b\\xef\\xbb\\xbfc", "a\\u2028b\\ufeffc"),
            ("a\u{200b}\u{ad}b".as_bytes(), "a\\xe2\\x80\\x8b\\xc2\\xadb", "a\\u200b\\u00adb"),
            // A character of a tag, which JSON has as a pair.
            ("\u{e0041}".as_bytes(), "\\xf3\\xa0\\x81\\x81", "\\udb40\\udc41"),
            (b"a\x9bb", "a\\x9bb", "a\u{fffd}b"),
            ("é\"\\ⓛ\u{1f600}".as_bytes(), "é\\\"\\\\ⓛ\u{1f600}", "é\\\"\\\\ⓛ\u{1f600}"),
        ] {
            assert_eq!(line(&text, sent), format!("{in_text}|\n"));
            assert_eq!(line(&json, sent), format!("\"{in_json}\"\n"));
        }
    }
}
