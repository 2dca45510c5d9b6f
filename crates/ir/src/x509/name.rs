//! Names of X.501 as text. The compiler's findings, the facts of client certificates and `x-forwarded-client-cert` have them.

use super::der::{Reader, Tag};

/// An X.501 name as text (RFC 4514), with the most specific part first. `name` is the content of its sequence; the text ends at an invalid
/// element.
pub fn name_text(name: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut rest = Reader::new(name);
    while let Some(set) = rest.take(Tag::SET) {
        let mut values = Vec::new();
        let mut inner = Reader::new(set);
        while let Some(pair) = inner.take(Tag::SEQUENCE) {
            values.extend(attribute(pair));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn attribute(pair: &[u8]) -> Option<String> {
    let mut pair = Reader::new(pair);
    let kind = pair.take(Tag::OBJECT_IDENTIFIER)?;
    let (_, value) = pair.next()?;
    let name = match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return None,
    };
    let mut text = String::new();
    for (at, c) in String::from_utf8_lossy(value).chars().enumerate() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || (at == 0 && matches!(c, '#' | ' ')) {
            text.push('\\');
        }
        // A control character could end the header that the text is written to.
        text.push(if c.is_control() { '?' } else { c });
    }
    Some(format!("{name}={text}"))
}

#[cfg(test)]
mod tests {
    use super::name_text;

    #[test]
    fn a_name_is_written_from_its_last_part() {
        let part = |kind: u8, text: &str| {
            let value = [&[0x0c, text.len() as u8][..], text.as_bytes()].concat();
            let pair = [&[0x06, 3, 0x55, 4, kind][..], &value].concat();
            let sequence = [&[0x30, pair.len() as u8][..], &pair].concat();
            [&[0x31, sequence.len() as u8][..], &sequence].concat()
        };
        let name = [part(6, "DE"), part(10, "A, B"), part(3, "x\r\ny")].concat();
        assert_eq!(name_text(&name), "CN=x??y,O=A\\, B,C=DE");
        assert_eq!(name_text(&name[..name.len() - 1]), "O=A\\, B,C=DE");
        assert_eq!(name_text(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), "");
    }
}
