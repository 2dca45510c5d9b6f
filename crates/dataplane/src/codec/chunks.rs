//! Pieces of bodies and their ends, as both directions write them.

use http::HeaderMap;
use wire::h1::{ChunkWriter, HeadLimits};
use wire::h2::FlatError;

/// Appends data, as a chunk where the body is sent in chunks.
pub(super) fn put(out: &mut Vec<u8>, data: &[u8], chunked: bool) {
    if chunked {
        ChunkWriter::data(out, data);
    } else {
        out.extend_from_slice(data);
    }
}

/// Appends the last chunk with the trailers that a stream of HTTP/2 ended with, which were checked before.
pub(super) fn end_chunks(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    let limits = HeadLimits { bytes: usize::MAX, fields: usize::MAX, ..HeadLimits::default() };
    let (mut index, mut flat) = (Vec::new(), Vec::new());
    let trailers = trailers.map(|trailers| wire::h2::flatten_trailers(trailers, &limits, &mut index, &mut flat));
    ChunkWriter::end(out, trailers.and_then(Result::ok));
}

/// The trailers of a stream of HTTP/2 without those that may not be sent as such; `None` where nothing is left.
pub(super) fn checked_trailers(
    trailers: Option<HeaderMap>,
    limits: &HeadLimits,
) -> Result<Option<HeaderMap>, FlatError> {
    let Some(trailers) = trailers else { return Ok(None) };
    let (mut index, mut flat) = (Vec::new(), Vec::new());
    let trailers = wire::h2::trailers(wire::h2::flatten_trailers(&trailers, limits, &mut index, &mut flat)?);
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}
