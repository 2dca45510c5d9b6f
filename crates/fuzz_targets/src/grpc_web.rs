//! gRPC-Web: content types, texts of base64, frames of trailers, and gRPC's own terms.

use crate::paths::decoded;
use crate::random::Random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::grpc;
use wire::grpc_web::{Call, Decoder, Encoder, NotBase64, Writing, from_grpc, is_grpc_web, to_grpc, trailers};

/// The octets in every part: as a body of base64, as a body of frames, as a content type, as trailers, as a message and as a timeout.
///
/// - However a text or a body is cut, the result is the same; a body that was encoded is decoded as it was.
/// - A content type goes to gRPC and back with its format.
/// - A frame of trailers has the length that it says and one line for each trailer.
/// - A `grpc-message` is printable and decodes to what was encoded.
///
/// Returns whether the octets are a complete text of base64 or a content type of gRPC-Web.
pub fn grpc_web(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    check_there_and_back(data, &mut random);
    check_trailers(data);
    check_message(data);
    if let Some(time) = grpc::timeout(data) {
        assert!(!time.is_zero() && time.as_secs() < 3600 * 100_000_000);
    }
    let is_text = check_text(data, &mut random);
    let is_type = check_content_type(data);
    is_text || is_type
}

fn pieces<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let begins = std::iter::once(0).chain(cuts.iter().copied());
    begins.zip(cuts).filter_map(|(begin, end)| data.get(begin..*end)).collect()
}

fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), NotBase64> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.take(piece, &mut out)?;
    }
    Ok((out, decoder.is_whole()))
}

fn encode(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for piece in pieces {
        encoder.take(piece, &mut out);
    }
    encoder.finish(&mut out);
    out
}

fn check_there_and_back(octets: &[u8], random: &mut Random) {
    let text = encode(&[octets]);
    assert_eq!(encode(&pieces(octets, &random.cuts(octets.len()))), text, "the pieces are another text");
    assert_eq!(text.len() % 4, 0);
    let decoded = decode(&pieces(&text, &random.cuts(text.len())));
    assert_eq!(decoded, Ok((octets.to_vec(), true)));
}

fn check_text(text: &[u8], random: &mut Random) -> bool {
    let whole = decode(&[text]);
    assert_eq!(decode(&pieces(text, &random.cuts(text.len()))), whole, "the pieces are other octets");
    let Ok((octets, true)) = whole else { return false };
    // Without padding inside there is one text of these octets.
    let inner = text.get(..text.len().saturating_sub(4)).unwrap_or_default();
    if !inner.contains(&b'=') {
        assert_eq!(STANDARD.encode(&octets).as_bytes(), text);
    }
    !text.is_empty()
}

fn check_content_type(content_type: &[u8]) -> bool {
    let Some(call) = Call::of(content_type, None) else { return false };
    assert!(!grpc::is_grpc(content_type));
    assert_eq!(is_grpc_web(content_type), call.request == Writing::Binary);
    let grpc = to_grpc(content_type);
    assert!(grpc::is_grpc(&grpc), "{}", grpc.escape_ascii());
    for writing in [Writing::Binary, Writing::Text] {
        let back = from_grpc(&grpc, writing);
        let again = Call::of(&back, Some(content_type));
        assert_eq!(again, Some(Call { request: writing, answer: call.request }), "{}", back.escape_ascii());
        assert_eq!(to_grpc(&back), grpc, "{}", back.escape_ascii());
    }
    true
}

/// Lines of the form `name: value` as trailers.
fn check_trailers(data: &[u8]) {
    let mut map = HeaderMap::new();
    for line in data.split(|octet| *octet == b'\n') {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    let frame = trailers(&map);
    let Some((&[flags, a, b, c, d], body)) = frame.split_first_chunk::<5>() else {
        assert!(frame.len() >= 5, "a frame has a header");
        return;
    };
    assert_eq!((flags, u32::from_be_bytes([a, b, c, d]) as usize), (0x80, body.len()));
    let mut again = HeaderMap::new();
    for line in body.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(b"\r").unwrap_or_default();
        let colon = line.iter().position(|octet| *octet == b':').unwrap_or_default();
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        assert!(name.is_ok() && value.is_ok(), "{}", line.escape_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            again.append(name, value);
        }
    }
    assert_eq!(again, map);
}

fn check_message(text: &[u8]) {
    let message = grpc::message(text);
    assert!(message.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{message:?}");
    assert_eq!(decoded(message.as_bytes()), text);
}
