//! Decoding and encoding of bodies.

use super::write::Style;
use super::{BodyError, BodyLength, MAX_FIELDS};
use crate::view::{Field, Fields};
use std::ops::Range;

/// The longest line with a chunk size, including extensions.
const MAX_SIZE_LINE: usize = 256;
/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 << 10;
/// The most digits of a chunk size; more would overflow.
const MAX_SIZE_DIGITS: u8 = 15;

/// The result of decoding a piece of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are consumed, including those of `data`.
    pub consumed: usize,
    /// The bytes of the input that belong to the body; may be empty.
    pub data: Range<usize>,
    /// Whether the body is complete.
    pub done: bool,
}

/// Decodes a body piece by piece, without copying it.
#[derive(Debug)]
pub enum BodyReader {
    /// There is no body, or it is complete.
    Done,
    /// This many bytes are left.
    Length(u64),
    /// Chunks; boxed, as most bodies have none.
    Chunked(Box<Chunks>),
    /// Everything until the connection closes.
    UntilClose,
}

/// The state of a chunked body.
#[derive(Debug, Default)]
pub struct Chunks {
    state: ChunkState,
    left: u64,
    digits: u8,
    line: usize,
    trailers: Vec<u8>,
    index: Vec<Field>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl BodyReader {
    /// A reader for a body of that length.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Done,
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked => Self::Chunked(Box::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done | Self::Length(0) => true,
            Self::Chunked(chunks) => chunks.state == ChunkState::Done,
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// Whether the body ends with the connection.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Decodes `input`, which begins where the last step ended. Call again until nothing is consumed.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        match self {
            Self::Done => Ok(Step { consumed: 0, data: 0..0, done: true }),
            Self::UntilClose => Ok(Step { consumed: input.len(), data: 0..input.len(), done: false }),
            Self::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                Ok(Step { consumed: take, data: 0..take, done: *left == 0 })
            }
            Self::Chunked(chunks) => chunks.decode(input),
        }
    }

    /// Checks the start of a body of this length, for a head that is not forwarded yet.
    pub fn may_begin(length: BodyLength, input: &[u8]) -> bool {
        if length != BodyLength::Chunked {
            return true;
        }
        let (mut chunks, mut rest) = (Chunks::default(), input);
        loop {
            match chunks.decode(rest) {
                Err(_) => return false,
                Ok(step) if step.done || step.consumed == 0 => return true,
                Ok(step) => rest = rest.get(step.consumed..).unwrap_or_default(),
            }
        }
    }

    /// Whether the chunks are complete and the trailer section is not.
    pub fn is_in_trailers(&self) -> bool {
        matches!(self, Self::Chunked(chunks) if chunks.state == ChunkState::Trailers)
    }

    /// The trailers of a complete chunked body, without fields that are not allowed in trailers (RFC 9110 §6.5.1).
    pub fn trailers(&self) -> Option<Fields<'_>> {
        match self {
            Self::Chunked(chunks) if !chunks.index.is_empty() => Some(Fields::new(&chunks.trailers, &chunks.index)),
            _ => None,
        }
    }
}

impl Chunks {
    fn decode(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut at = 0;
        while let Some(byte) = input.get(at).copied() {
            match self.state {
                ChunkState::Size => self.size(byte)?,
                ChunkState::Extension => self.extension(byte)?,
                ChunkState::SizeLf => {
                    if byte != b'\n' {
                        return Err(BodyError::ChunkSize);
                    }
                    (self.line, self.digits) = (0, 0);
                    self.state = if self.left == 0 { ChunkState::Trailers } else { ChunkState::Data };
                }
                ChunkState::Data => {
                    let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = ChunkState::DataCr;
                    }
                    return Ok(Step { consumed: at + take, data: at..at + take, done: false });
                }
                ChunkState::DataCr | ChunkState::DataLf => self.end_of_data(byte)?,
                ChunkState::Trailers => self.trailer(byte)?,
                ChunkState::Done => break,
            }
            at += 1;
        }
        Ok(Step { consumed: at, data: at..at, done: self.state == ChunkState::Done })
    }

    fn size(&mut self, byte: u8) -> Result<(), BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' | b';' if self.digits > 0 => {
                self.line = usize::from(self.digits);
                self.state = if byte == b'\r' { ChunkState::SizeLf } else { ChunkState::Extension };
                return Ok(());
            }
            _ => return Err(BodyError::ChunkSize),
        };
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err(BodyError::ChunkSize);
        }
        self.left = self.left * 16 + u64::from(digit);
        Ok(())
    }

    /// Extensions are dropped (RFC 9112 §7.1.1), but must not contain what others could treat as a line end.
    fn extension(&mut self, byte: u8) -> Result<(), BodyError> {
        self.line += 1;
        match byte {
            b'\r' => self.state = ChunkState::SizeLf,
            b'\t' | b' '..=b'~' if self.line <= MAX_SIZE_LINE => {}
            _ => return Err(BodyError::ChunkSize),
        }
        Ok(())
    }

    fn end_of_data(&mut self, byte: u8) -> Result<(), BodyError> {
        match (self.state, byte) {
            (ChunkState::DataCr, b'\r') => self.state = ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => self.state = ChunkState::Size,
            _ => return Err(BodyError::ChunkEnd),
        }
        Ok(())
    }

    fn trailer(&mut self, byte: u8) -> Result<(), BodyError> {
        if self.trailers.len() == MAX_TRAILERS {
            return Err(BodyError::Trailers);
        }
        self.trailers.push(byte);
        let ended = self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n");
        if byte == b'\n' && self.trailers.len() >= 2 && self.trailers.get(self.trailers.len() - 2) != Some(&b'\r') {
            return Err(BodyError::Trailers);
        }
        if ended {
            self.state = ChunkState::Done;
            self.read_trailers()?;
        }
        Ok(())
    }

    fn read_trailers(&mut self) -> Result<(), BodyError> {
        if self.trailers == b"\r\n" {
            return Ok(());
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let parsed = httparse::parse_headers(&self.trailers, &mut headers);
        let Ok(httparse::Status::Complete((_, fields))) = parsed else { return Err(BodyError::Trailers) };
        for field in fields.iter().filter(|field| may_trail(field.name)) {
            let name = super::fields::span_of(&self.trailers, field.name.as_bytes());
            let value = super::fields::trim(field.value);
            self.index.push(Field { name, value: super::fields::span_of(&self.trailers, value) });
        }
        Ok(())
    }
}

/// Fields for framing, routing, authentication and similar purposes are not allowed in trailers.
pub(crate) fn may_trail(name: &str) -> bool {
    const NEVER: [&str; 18] = [
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "content-encoding",
        "content-type",
        "content-range",
        "cache-control",
        "proxy-connection",
    ];
    let forwarded = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"));
    !forwarded && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
}

/// Encodes a body in chunks.
#[derive(Debug, Default)]
pub struct ChunkWriter;

impl ChunkWriter {
    /// Appends a chunk; nothing for no data, as an empty chunk would end the body.
    pub fn data(out: &mut Vec<u8>, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        Self::prefix(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the line with the size, for a chunk whose data is written separately.
    pub fn prefix(out: &mut Vec<u8>, length: usize) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
        for at in (0..digits).rev() {
            out.extend(DIGITS.get(length >> (at * 4) & 15));
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the last chunk and the trailers.
    pub fn end(out: &mut Vec<u8>, trailers: Option<Fields<'_>>) {
        Self::end_in(out, trailers, Style::default());
    }

    /// The same, in a given style.
    pub fn end_in(out: &mut Vec<u8>, trailers: Option<Fields<'_>>, style: Style) {
        out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().flat_map(Fields::iter) {
            super::write::field(out, name, value, style.keep_case);
        }
        out.extend_from_slice(b"\r\n");
    }
}
