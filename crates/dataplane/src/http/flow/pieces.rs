//! Pieces of bodies and their ends, as both directions write them.

use http::HeaderMap;
use wire::h1::ChunkWriter;

/// Appends data, as a chunk where the body is sent in chunks.
pub(super) fn put(out: &mut Vec<u8>, data: &[u8], chunked: bool) {
    if chunked {
        ChunkWriter::data(out, data);
    } else {
        out.extend_from_slice(data);
    }
}

/// Appends the last chunk with the trailers that a stream of HTTP/2 ended with.
pub(in crate::http) fn end_chunks(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    let (mut index, mut flat) = (Vec::new(), Vec::new());
    let trailers = trailers.map(|trailers| wire::h2::flatten_trailers(trailers, &mut index, &mut flat));
    ChunkWriter::end(out, trailers);
}

/// Trailers without those that may not be sent as such.
pub(super) fn without_framing(trailers: HeaderMap) -> HeaderMap {
    let (mut index, mut flat) = (Vec::new(), Vec::new());
    wire::h2::trailers(wire::h2::flatten_trailers(&trailers, &mut index, &mut flat))
}
