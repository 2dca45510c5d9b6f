//! gRPC-Web: gRPC for clients that cannot read trailers (S-119). Messages are framed as in gRPC, as octets or as base64; the trailers are the
//! last frame of the body, which a flag in its first octet marks.

use crate::edit::Edits;
use crate::h1::OutFraming;
use crate::view::Fields;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use std::borrow::Cow;

/// The `accept` of a client that sends none, as in Envoy.
const ACCEPT_ENCODING: &str = "identity,deflate,gzip";

/// The first octet of a trailer frame.
const TRAILERS: u8 = 0x80;

/// The header of a message frame: an octet of flags, and four of its length.
const FRAME_HEADER: usize = 5;

/// The encoding of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// As octets.
    Binary,
    /// As base64.
    Text,
}

/// The encodings of a gRPC-Web call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Of the request.
    pub request: Writing,
    /// Of the response, by the client's `accept`.
    pub answer: Writing,
}

impl Call {
    /// The call of a request with this `content-type` and `accept`; `None` if it is not gRPC-Web.
    pub fn of(content_type: &[u8], accept: Option<&[u8]>) -> Option<Self> {
        let (request, _) = parse(content_type)?;
        let accepted = accept.and_then(parse);
        Some(Self { request, answer: accepted.map_or(Writing::Binary, |(writing, _)| writing) })
    }

    /// Adds the edits that turn a request's head into gRPC; the caller sets the framing.
    pub fn edit_request(fields: Fields<'_>, edits: &mut Edits<'_>) {
        edits.set_checked("content-type", to_grpc(fields.get("content-type").unwrap_or_default()));
        edits.set("te", "trailers");
        if fields.get("grpc-accept-encoding").is_none() {
            edits.set("grpc-accept-encoding", ACCEPT_ENCODING);
        }
    }

    /// The framing of the forwarded body: base64 has another length.
    pub fn framing(self, framing: OutFraming) -> OutFraming {
        match (self.request, framing) {
            (Writing::Text, OutFraming::Length(1..)) => OutFraming::Chunked,
            _ => framing,
        }
    }
}

/// The gRPC content type for one of gRPC-Web, with the same message format.
pub fn to_grpc(content_type: &[u8]) -> Cow<'static, [u8]> {
    match parse(content_type) {
        Some((_, format)) if !is_proto(format) => [b"application/grpc", format].concat().into(),
        _ => Cow::Borrowed(b"application/grpc"),
    }
}

/// The gRPC-Web content type of a response, for one of gRPC.
pub fn from_grpc(content_type: &[u8], writing: Writing) -> Cow<'static, [u8]> {
    let format = content_type.get(b"application/grpc".len()..).unwrap_or_default();
    let format = without_parameters(format);
    let format = if format.starts_with(b"+") { format } else { b"+proto" };
    match writing {
        Writing::Binary if is_proto(format) => Cow::Borrowed(b"application/grpc-web+proto"),
        Writing::Text if is_proto(format) => Cow::Borrowed(b"application/grpc-web-text+proto"),
        Writing::Binary => [b"application/grpc-web", format].concat().into(),
        Writing::Text => [b"application/grpc-web-text", format].concat().into(),
    }
}

/// Whether a response is gRPC-Web already.
pub fn is_grpc_web(content_type: &[u8]) -> bool {
    matches!(parse(content_type), Some((Writing::Binary, _)))
}

/// The encoding of a media type, and the format of its messages, which is empty or begins with `+`.
fn parse(media: &[u8]) -> Option<(Writing, &[u8])> {
    const BINARY: &[u8] = b"application/grpc-web";
    const TEXT: &[u8] = b"-text";
    let media = without_parameters(media);
    let (name, rest) = media.split_at_checked(BINARY.len())?;
    if !name.eq_ignore_ascii_case(BINARY) {
        return None;
    }
    let (writing, format) = match rest.split_at_checked(TEXT.len()) {
        Some((text, format)) if text.eq_ignore_ascii_case(TEXT) => (Writing::Text, format),
        _ => (Writing::Binary, rest),
    };
    matches!(format.first(), None | Some(b'+')).then_some((writing, format))
}

fn without_parameters(media: &[u8]) -> &[u8] {
    media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is_proto(format: &[u8]) -> bool {
    format.is_empty() || format.eq_ignore_ascii_case(b"+proto")
}

/// The body is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64")]
pub struct NotBase64;

/// Decodes base64 in pieces of any size. There may be several texts, each with its padding.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Up to three characters that wait for the rest of their group.
    begun: Vec<u8>,
}

impl Decoder {
    /// Appends the decoded octets of a piece.
    pub fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        let mut rest = piece;
        if !self.begun.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(4 - self.begun.len()));
            self.begun.extend_from_slice(head);
            rest = tail;
            if self.begun.len() < 4 {
                return Ok(());
            }
            decode(&self.begun, out)?;
            self.begun.clear();
        }
        let (whole, tail) = rest.split_at(rest.len() / 4 * 4);
        decode(whole, out)?;
        self.begun.extend_from_slice(tail);
        Ok(())
    }

    /// Whether the input ends with a complete text, including its padding.
    pub fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

/// Decodes complete groups of four; a group with padding ends a text.
fn decode(mut groups: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
    while !groups.is_empty() {
        let end = groups.iter().position(|byte| *byte == b'=').map_or(groups.len(), |at| (at / 4 + 1) * 4);
        let (text, rest) = groups.split_at_checked(end).ok_or(NotBase64)?;
        STANDARD.decode_vec(text, out).map_err(|_| NotBase64)?;
        groups = rest;
    }
    Ok(())
}

/// Encodes messages in pieces of any size as base64, each message as a text of its own, so that the client can decode it at once.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Octets of the frame header read so far.
    header: Vec<u8>,
    /// Octets of the message that are not read yet.
    left: usize,
    /// Up to two octets that wait for the rest of their group.
    begun: Vec<u8>,
}

impl Encoder {
    /// Appends the encoded text of a piece.
    pub fn take(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            let wanted = if self.left > 0 { self.left } else { FRAME_HEADER - self.header.len() };
            let (now, rest) = piece.split_at(piece.len().min(wanted));
            piece = rest;
            self.write(now, out);
            if self.left > 0 {
                self.left -= now.len();
            } else {
                self.header.extend_from_slice(now);
                let &[_, a, b, c, d] = &self.header[..] else { continue };
                self.header.clear();
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
            }
            if self.left == 0 && self.header.is_empty() {
                self.finish(out);
            }
        }
    }

    /// Appends the rest of a text, with its padding.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        encode(&self.begun, out);
        self.begun.clear();
    }

    fn write(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        if !self.begun.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(3 - self.begun.len()));
            self.begun.extend_from_slice(head);
            rest = tail;
            if self.begun.len() < 3 {
                return;
            }
            encode(&self.begun, out);
            self.begun.clear();
        }
        let (whole, tail) = rest.split_at(rest.len() / 3 * 3);
        encode(whole, out);
        self.begun.extend_from_slice(tail);
    }
}

fn encode(octets: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The buffer has exactly the size of the text.
        let _ = STANDARD.encode_slice(octets, room);
    }
}

/// Trailers as the last frame of a body.
pub fn trailers(trailers: &HeaderMap) -> Vec<u8> {
    let mut frame = vec![TRAILERS, 0, 0, 0, 0];
    for (name, value) in trailers {
        frame.extend_from_slice(name.as_str().as_bytes());
        frame.push(b':');
        frame.extend_from_slice(value.as_bytes());
        frame.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(frame.len() - FRAME_HEADER).unwrap_or(u32::MAX);
    if let Some(room) = frame.get_mut(1..FRAME_HEADER) {
        room.copy_from_slice(&length.to_be_bytes());
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s_119_a_request_is_grpc_web_by_its_content_type() {
        let of = |text: &str| parse(text.as_bytes()).map(|(writing, format)| (writing, format.to_vec()));
        assert_eq!(of("application/grpc-web"), Some((Writing::Binary, vec![])));
        assert_eq!(of("application/grpc-web+proto"), Some((Writing::Binary, b"+proto".to_vec())));
        assert_eq!(of("Application/gRPC-Web-Text; charset=utf-8"), Some((Writing::Text, vec![])));
        assert_eq!(of("application/grpc-web-text+json"), Some((Writing::Text, b"+json".to_vec())));
        for no in ["application/grpc", "application/grpc-webx", "application/grpc-web-texts", "text/html", ""] {
            assert_eq!(of(no), None, "{no}");
        }
    }

    #[test]
    fn content_types_keep_the_format_of_the_messages() {
        assert_eq!(&*to_grpc(b"application/grpc-web-text+proto"), b"application/grpc");
        assert_eq!(&*to_grpc(b"application/grpc-web+json"), b"application/grpc+json");
        assert_eq!(&*from_grpc(b"application/grpc", Writing::Text), b"application/grpc-web-text+proto");
        assert_eq!(&*from_grpc(b"application/grpc+json;x=y", Writing::Binary), b"application/grpc-web+json");
        assert_eq!(&*from_grpc(b"text/html", Writing::Binary), b"application/grpc-web+proto");
    }

    #[test]
    fn texts_with_padding_follow_one_another_and_end_whole() {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        decoder.take(b"YQ==YW", &mut out).unwrap();
        assert!(!decoder.is_whole());
        decoder.take(b"I=", &mut out).unwrap();
        assert!(decoder.is_whole());
        assert_eq!(out, b"aab");
        for bad in [&b"Y==="[..], b"!!!!", b"=YQ=", b"YQ=a"] {
            assert_eq!(Decoder::default().take(bad, &mut out), Err(NotBase64), "{bad:?}");
        }
    }

    #[test]
    fn trailers_are_a_frame() {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", "0".parse().unwrap());
        map.insert("x-a", "b".parse().unwrap());
        assert_eq!(trailers(&map), b"\x80\0\0\0\x16grpc-status:0\r\nx-a:b\r\n");
    }

    fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for cut in cuts {
            let (head, tail) = bytes.split_at(bytes.len().min(*cut));
            pieces.push(head);
            bytes = tail;
        }
        pieces.push(bytes);
        pieces
    }

    proptest! {
        /// For any cuts of messages and texts, decoding returns what was encoded, and each message ends its text.
        #[test]
        fn what_is_written_as_text_is_read_as_it_was(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in prop::collection::vec(0_usize..9, 0..40),
        ) {
            let mut octets = Vec::new();
            let mut whole = Vec::new();
            for message in &messages {
                let mut frame = vec![0];
                frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
                frame.extend_from_slice(message);
                whole.push(STANDARD.encode(&frame));
                octets.extend_from_slice(&frame);
            }
            let (mut encoder, mut text) = (Encoder::default(), Vec::new());
            for piece in pieces(&octets, &cuts) {
                encoder.take(piece, &mut text);
            }
            let whole = whole.concat();
            prop_assert_eq!(&text[..], whole.as_bytes());
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in pieces(&text, &cuts) {
                decoder.take(piece, &mut read).unwrap();
            }
            prop_assert!(decoder.is_whole());
            prop_assert_eq!(read, octets);
        }
    }
}
