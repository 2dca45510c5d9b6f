//! The size of a head as the access log states it: the octets of all names and values, with the pseudo-header fields that HTTP/2 has. It does not
//! depend on the version in which the head is sent.

use super::write::{OutFraming, RequestParts, ResponseParts, each_field};
use crate::edit::Edits;
use crate::view::Fields;
use text::Authority;

/// The octets of a request's head as it is sent.
pub fn request_size(parts: &RequestParts<'_>, scheme: &str, edits: &Edits<'_>) -> u64 {
    let target = match &edits.target {
        Some(target) => target.len(),
        None => parts.path.len() + parts.query.map_or(0, |query| query.len() + 1),
    };
    let authority = edits.authority.map_or(parts.authority, Authority::as_bytes);
    let pseudo = pseudo_size(parts.method, target, authority, scheme);
    pseudo + fields_size(parts.fields, parts.nominates, edits, true) + framing_size(parts.framing)
}

/// The octets of a request's head as it was received; `target` is the length of its path and query.
pub fn received_size(method: &[u8], target: usize, authority: &[u8], scheme: &str, fields: Fields<'_>) -> u64 {
    let is_host = |name: &[u8]| name.eq_ignore_ascii_case(b"host");
    let lines = fields.iter().filter(|(name, _)| !is_host(name)).map(|(name, value)| size(name, value));
    pseudo_size(method, target, authority, scheme) + lines.sum::<u64>()
}

/// The octets of a response's head as it is sent.
pub fn response_size(parts: &ResponseParts<'_>, edits: &Edits<'_>) -> u64 {
    size(b":status", b"200") + fields_size(parts.fields, parts.nominates, edits, false) + framing_size(parts.framing)
}

fn pseudo_size(method: &[u8], target: usize, authority: &[u8], scheme: &str) -> u64 {
    let fields =
        [(":method", method.len()), (":path", target), (":authority", authority.len()), (":scheme", scheme.len())];
    fields.iter().map(|(name, length)| (name.len() + length) as u64).sum()
}

fn fields_size(fields: Fields<'_>, nominates: bool, edits: &Edits<'_>, request: bool) -> u64 {
    let mut sum = 0;
    each_field(fields, nominates, edits, request, |field| sum += size(field.name, field.value));
    sum
}

/// As in HTTP/2, where only a length is a field.
fn framing_size(framing: OutFraming) -> u64 {
    match framing {
        OutFraming::Length(length) => {
            "content-length".len() as u64 + 1 + u64::from(length.checked_ilog10().unwrap_or(0))
        }
        OutFraming::None | OutFraming::Chunked => 0,
    }
}

fn size(name: &[u8], value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{HeadLimits, RequestHead};

    #[test]
    fn te_05_the_size_of_a_head_is_that_of_its_names_and_values() {
        let text =
            "POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nConnection: x-gone\r\nX-Gone: 1\r\nX-A: 22\r\nX-B: 1\r\n\r\n";
        let mut request = RequestHead::default();
        request.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let fields = request.fields(text.as_bytes());
        let mut parts = RequestParts {
            method: b"POST",
            path: b"/a",
            query: Some(b"b=c"),
            authority: b"a.test",
            fields,
            nominates: request.nominates,
            framing: OutFraming::Chunked,
            upgrade: None,
            close: false,
        };
        let pseudo = ":methodPOST:path/a?b=c:authoritya.test:schemehttps".len() as u64;
        assert_eq!(request_size(&parts, "https", &Edits::default()), pseudo + "x-a22x-b1".len() as u64);
        let mut edits = Edits::default();
        edits.set("x-b", "12345");
        edits.append("x-c", "");
        parts.framing = OutFraming::Length(10);
        let lines = "x-a22x-b12345x-ccontent-length10".len() as u64;
        assert_eq!(request_size(&parts, "https", &edits), pseudo + lines);
        let received = "connectionx-gonex-gone1x-a22x-b1".len() as u64;
        assert_eq!(received_size(b"POST", "/a?b=c".len(), b"a.test", "https", fields), pseudo + received);
        let response = ResponseParts {
            status: 404,
            fields: Fields::new(&[], &[]),
            nominates: false,
            framing: OutFraming::Length(0),
            upgrade: None,
            close: true,
        };
        assert_eq!(response_size(&response, &edits), ":status404x-b12345x-ccontent-length0".len() as u64);
    }
}
