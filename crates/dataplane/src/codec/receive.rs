//! What one side sends: pieces of a body, its trailers, and why nothing more comes.

use crate::conn::{Buffer, HeldPiece};
use bytes::Bytes;
use http::HeaderMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use wire::h1::{BodyError, BodyReader};
use wire::view::Fields;

/// Why nothing more is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiveError {
    /// The peer closed its connection, or reset its connection or stream.
    Closed,
    /// The peer closed before the end of the body.
    Incomplete,
    /// The peer refused the request without processing it.
    Unprocessed,
    /// The head or the body is malformed.
    Malformed,
    /// The trailers of a stream are malformed.
    MalformedTrailers,
    /// A block of header fields did not end in time.
    TimedOut,
}

impl ReceiveError {
    /// What an error of a stream to a backend means.
    pub(super) fn of_stream(error: &h2::Error) -> Self {
        match () {
            () if upstream::is_unprocessed(error) => Self::Unprocessed,
            () if error.is_library() => Self::Malformed,
            // A finding of [`upstream::Watched`] in the frames.
            () => match error.get_io().map(io::Error::kind) {
                Some(ErrorKind::InvalidData) => Self::Malformed,
                Some(ErrorKind::TimedOut) => Self::TimedOut,
                _ => Self::Closed,
            },
        }
    }
}

/// What was received of a body.
pub(crate) enum Received {
    /// Octets, which are in the input and have to be decoded.
    Octets,
    /// A piece that needs no decoding.
    Piece(Piece),
    /// The end of the connection.
    Closed,
}

/// A piece of a body.
#[derive(Debug)]
pub(crate) struct Piece {
    data: PieceData,
    /// Whether it ends the body.
    pub(crate) is_last: bool,
    /// The trailers that came in a frame of their own.
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Debug)]
enum PieceData {
    /// Octets of the input, and how many octets of the input the piece takes with its framing.
    Buffered { data: Range<usize>, consumed: usize },
    /// Octets of a frame.
    Frame(Bytes),
}

impl Piece {
    /// Decodes the next piece of the input; `None` if it has none.
    pub(crate) fn decode(body: &mut BodyReader, input: &Buffer) -> Result<Option<Self>, BodyError> {
        let step = body.decode(input.filled())?;
        if step.consumed == 0 && !step.done {
            return Ok(None);
        }
        let data = PieceData::Buffered { data: step.data, consumed: step.consumed };
        Ok(Some(Self { data, is_last: step.done, trailers: None }))
    }

    /// The data of a frame.
    pub(super) fn of_frame(data: Bytes) -> Self {
        Self { data: PieceData::Frame(data), is_last: false, trailers: None }
    }

    /// Octets that were held; `is_last` says that they end the body.
    pub(crate) fn of_held(held: HeldPiece, is_last: bool) -> Self {
        Self { data: PieceData::Frame(held.octets), is_last, trailers: held.trailers }
    }

    /// The trailers that came in a frame of their own.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }

    /// The end of a stream.
    pub(super) fn of_end(trailers: Option<HeaderMap>) -> Self {
        Self { data: PieceData::Frame(Bytes::new()), is_last: true, trailers: trailers.map(Box::new) }
    }

    /// The octets.
    pub(crate) fn data<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match &self.data {
            PieceData::Buffered { data, .. } => input.filled().get(data.clone()).unwrap_or_default(),
            PieceData::Frame(data) => data,
        }
    }

    /// Where the octets are in the input.
    pub(super) fn place(&self) -> Option<&Range<usize>> {
        match &self.data {
            PieceData::Buffered { data, .. } => Some(data),
            PieceData::Frame(_) => None,
        }
    }

    /// Whether nothing else is in the input.
    pub(super) fn is_all_of(&self, input: &Buffer) -> bool {
        matches!(&self.data, PieceData::Buffered { consumed, .. } if *consumed == input.filled().len())
    }

    /// Removes the piece from the input.
    pub(crate) fn consume(&self, input: &mut Buffer) {
        if let PieceData::Buffered { consumed, .. } = self.data {
            input.consume(consumed);
        }
    }

    /// The trailers after the last piece; `body` has decoded it.
    pub(crate) fn into_trailers(self, body: &BodyReader) -> Trailers<'_> {
        match self.trailers {
            Some(trailers) => Trailers::Map(trailers),
            None => body.trailers().map_or(Trailers::None, Trailers::Lines),
        }
    }
}

/// The trailers of a body.
#[derive(Debug)]
pub(crate) enum Trailers<'a> {
    None,
    /// Lines after the last chunk.
    Lines(Fields<'a>),
    /// Fields of a stream, which were checked; boxed, as most bodies have none.
    Map(Box<HeaderMap>),
}

impl Trailers<'_> {
    /// The trailers as a stream has them.
    pub(crate) fn to_map(&self) -> Option<HeaderMap> {
        match self {
            Self::None => None,
            Self::Lines(lines) => Some(wire::h2::trailers(*lines)),
            Self::Map(map) => Some((**map).clone()),
        }
    }
}
