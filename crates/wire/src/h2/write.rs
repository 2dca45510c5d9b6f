//! Builds heads for the `h2` library from a view and its edits.

use crate::edit::Edits;
use crate::h1::write::each_field;
use crate::h1::{OutFraming, RequestParts, ResponseParts};
use crate::view::Fields;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

/// A request's head; `None` if HTTP/2 cannot express it, as with an invalid host. `https` selects the scheme.
///
/// An upgrade becomes an extended CONNECT, to which the caller adds the protocol.
pub fn request(parts: &RequestParts<'_>, edits: &Edits<'_>, https: bool) -> Option<Request<()>> {
    let method = match parts.upgrade {
        Some(_) => Method::CONNECT,
        None => Method::from_bytes(parts.method).ok()?,
    };
    let target = match (&edits.target, parts.query) {
        (Some(target), _) => Bytes::copy_from_slice(target),
        (None, None) => Bytes::copy_from_slice(parts.path),
        (None, Some(query)) => [parts.path, b"?", query].concat().into(),
    };
    let authority = edits.authority.map_or(parts.authority, text::Authority::as_bytes);
    let uri = Uri::builder()
        .scheme(if https { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(Authority::from_maybe_shared(Bytes::copy_from_slice(authority)).ok()?)
        .path_and_query(PathAndQuery::from_maybe_shared(target).ok()?)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields(parts.fields, parts.nominates, edits, true, parts.framing);
    // Keys of the WebSocket handshake are not used here (RFC 8441 §5).
    if parts.upgrade.is_some() {
        request.headers_mut().remove("sec-websocket-key");
    }
    Some(request)
}

/// A response's head.
pub fn response(parts: &ResponseParts<'_>, edits: &Edits<'_>) -> Response<()> {
    let mut response = Response::new(());
    // A successful upgrade is a 200 here.
    let status = if parts.upgrade.is_some() { 200 } else { parts.status };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = fields(parts.fields, parts.nominates, edits, false, parts.framing);
    if parts.upgrade.is_some() {
        response.headers_mut().remove("sec-websocket-accept");
    }
    response
}

/// Trailers; fields that HTTP/2 cannot express are left out.
pub fn trailers(from: Fields<'_>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(from.len());
    for (name, value) in from.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// All fields.
fn fields(from: Fields<'_>, nominates: bool, edits: &Edits<'_>, request: bool, framing: OutFraming) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(from.len() + edits.fields.len() + 1);
    each_field(from, nominates, edits, request, |field| {
        // An allocation for each value costs less than the parts of one.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value)) {
            map.append(name, value);
        }
    });
    if let OutFraming::Length(length) = framing {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    map
}
