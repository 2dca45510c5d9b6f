//! HTTP/1: bodies. However the octets are cut, the result is the same.

use crate::http1::{Lines, lines};
use crate::random::Random;
use wire::h1::{BodyError, BodyLength, BodyReader, ChunkWriter};

/// What a body reader found.
#[derive(Debug, PartialEq)]
struct Read {
    body: Vec<u8>,
    consumed: usize,
    end: Result<bool, BodyError>,
    trailers: Lines,
}

/// A chunked body, and a body of a length that is chosen by the input.
///
/// - However the octets are cut, the body, the trailers, the end and the error are the same.
/// - A complete body is the one that a plain reading of RFC 9112 §7.1 finds.
/// - What was read and is written in other chunks is read as it was.
///
/// Returns whether the octets begin with a complete chunked body.
pub fn http1_body(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let cuts = random.cuts(data.len());

    let length = random.below(2 * data.len() + 1) as u64;
    let framing = if length == 0 { BodyLength::None } else { BodyLength::Length(length) };
    let whole = read_body(framing, data, &[data.len()]);
    assert_eq!(whole, read_body(framing, data, &cuts));
    assert_eq!(whole.body.len() as u64, length.min(data.len() as u64));
    assert_eq!(whole.end, Ok(length <= data.len() as u64));

    let whole = read_body(BodyLength::Chunked, data, &[data.len()]);
    assert_eq!(whole, read_body(BodyLength::Chunked, data, &cuts));
    assert_eq!(BodyReader::may_begin(BodyLength::Chunked, data), whole.end.is_ok());
    if whole.end != Ok(true) {
        return false;
    }
    let plain = plain_chunks(data);
    assert!(plain.as_ref().is_some_and(|(body, end)| *body == whole.body && *end < whole.consumed), "{plain:?}");

    let mut written = Vec::new();
    let mut rest = &whole.body[..];
    for end in random.cuts(rest.len()) {
        let already = whole.body.len() - rest.len();
        let (chunk, behind) = rest.split_at(end - already);
        ChunkWriter::data(&mut written, chunk);
        rest = behind;
    }
    let mut reader = BodyReader::new(BodyLength::Chunked);
    feed(&mut reader, data, &mut Vec::new());
    ChunkWriter::end(&mut written, reader.trailers());
    let again = read_body(BodyLength::Chunked, &written, &random.cuts(written.len()));
    assert_eq!(again, Read { consumed: written.len(), ..whole });
    true
}

fn read_body(length: BodyLength, data: &[u8], cuts: &[usize]) -> Read {
    let (mut reader, mut body, mut consumed) = (BodyReader::new(length), Vec::new(), 0);
    let mut end = Ok(reader.is_done());
    for cut in cuts {
        let piece = data.get(consumed..*cut).unwrap_or_default();
        let (taken, error) = feed(&mut reader, piece, &mut body);
        consumed += taken;
        end = error.map_or(Ok(reader.is_done()), Err);
        if end != Ok(false) {
            break;
        }
        assert_eq!(consumed, *cut, "octets are left over before the end of the body");
    }
    // Where exactly an error is found within a piece is not told.
    let consumed = if end.is_err() { 0 } else { consumed };
    let trailers = reader.trailers().map(lines).unwrap_or_default();
    Read { body, consumed, end, trailers }
}

/// Gives a reader all that is there, as the data plane does.
fn feed(reader: &mut BodyReader, piece: &[u8], body: &mut Vec<u8>) -> (usize, Option<BodyError>) {
    let mut consumed = 0;
    loop {
        let rest = piece.get(consumed..).unwrap_or_default();
        match reader.decode(rest) {
            Err(error) => return (consumed, Some(error)),
            Ok(step) => {
                assert!(step.consumed <= rest.len() && step.data.end <= step.consumed);
                body.extend_from_slice(rest.get(step.data).unwrap_or_default());
                consumed += step.consumed;
                if step.done || step.consumed == 0 {
                    return (consumed, None);
                }
            }
        }
    }
}

/// Chunks as RFC 9112 §7.1 has them, read whole: the body, and where the section of the trailers begins.
fn plain_chunks(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = data.get(at..)?;
        let line = rest.get(..rest.windows(2).position(|two| two == b"\r\n")?)?;
        let digits = line.split(|octet| *octet == b';').next().filter(|digits| !digits.is_empty())?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at += line.len() + 2;
        if size == 0 {
            return Some((body, at));
        }
        body.extend_from_slice(data.get(at..at.checked_add(size)?)?);
        at += size;
        if data.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}
