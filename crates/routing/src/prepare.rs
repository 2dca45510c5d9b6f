//! The only normalisation of a request, at the start of every exchange: host and path as all later steps see them.

use ir::{EscapedSlashes, HttpSettings, MeshConnectionSettings, PathNormalization};
use wire::forwarded::{self, Peer};
use wire::h1::{HeadLimits, RequestHead, Underscores, Version};
use wire::path::{self, Normalization};
use wire::view::{Fields, RequestView};

/// A request as it was read.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The request target in any of its forms (RFC 9112 §3.2).
    pub target: &'a [u8],
    /// The value of `Host`.
    pub host: &'a [u8],
    /// The header lines.
    pub fields: Fields<'a>,
}

/// Reusable buffers for the normalised host and path.
#[derive(Debug, Default)]
pub struct Scratch {
    host: String,
    path: Vec<u8>,
}

/// A request as it is routed.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    /// The view that every decision uses.
    pub view: RequestView<'a>,
    /// Whether the client is redirected to the normalised path, because of escaped slashes (PC-04).
    pub to_normalised: bool,
}

/// A request that cannot be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The host is missing or ambiguous.
    #[error("the host is not valid")]
    Host,
    /// The target is in a form that its method does not allow.
    #[error("the request target is not valid")]
    Target,
    /// The path has an escaped NUL or an invalid `%` escape.
    #[error("the path cannot be normalised")]
    Path,
    /// The route's rewrite would result in a path that backends read differently (VS-37).
    #[error("the rewritten path is not valid")]
    Rewrite,
    /// CONNECT, which no route matches (S-118).
    #[error("CONNECT is not routed")]
    Connect,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Host | Self::Target | Self::Path | Self::Rewrite => 400,
            Self::Connect => 404,
        }
    }

    /// A word for logs (`%RESPONSE_CODE_DETAILS%`).
    pub fn detail(self) -> &'static str {
        match self {
            Self::Host => "http1.invalid_host",
            Self::Target => "http1.invalid_url",
            Self::Path => "path_normalization_failed",
            Self::Rewrite => "path_rewrite_failed",
            Self::Connect => "route_not_found",
        }
    }
}

/// The limits of request heads: `usual` with the mesh's settings.
pub fn head_limits(mesh_settings: &MeshConnectionSettings, usual: HeadLimits) -> HeadLimits {
    let underscores = match mesh_settings.connections.underscores {
        ir::Underscores::Allow => Underscores::Allow,
        ir::Underscores::Reject => Underscores::Reject,
        ir::Underscores::Drop => Underscores::Drop,
    };
    HeadLimits { http10: mesh_settings.http10.is_some(), underscores, ..usual }
}

/// The host of a request. An HTTP/1.0 request may have none, and then the mesh's default host applies (S-120).
pub fn host<'a>(
    request: &RequestHead,
    mesh_settings: &'a MeshConnectionSettings,
    buffer: &'a [u8],
) -> Result<&'a [u8], Refusal> {
    let named = request.host.of(buffer);
    if !named.is_empty() || request.version == Version::Http11 {
        return Ok(named);
    }
    match mesh_settings.http10.as_ref().and_then(|http10| http10.default_host.as_ref()) {
        Some(host) => Ok(host.as_bytes()),
        // The target may have a host.
        None if request.target.of(buffer).first() != Some(&b'/') => Ok(named),
        None => Err(Refusal::Host),
    }
}

/// Normalises host and path by the settings of the table.
pub fn prepare<'a>(
    raw: RawRequest<'a>,
    settings: HttpSettings,
    peer: &Peer<'_>,
    scratch: &'a mut Scratch,
) -> Result<Prepared<'a>, Refusal> {
    if raw.method == b"CONNECT" {
        return Err(Refusal::Connect);
    }
    let (authority, origin) = split_target(raw)?;
    let host = wire::host::host_of(authority, &mut scratch.host).map_err(|_| Refusal::Host)?;
    let (whole, query) = path::split(origin);
    let escaped = settings.escaped_slashes != EscapedSlashes::Take && path::has_escaped_slash(whole);
    if escaped && settings.escaped_slashes == EscapedSlashes::Reject {
        return Err(Refusal::Path);
    }
    let path = path::normalise(whole, normalization(settings.path_normalization), &mut scratch.path)
        .map_err(|_| Refusal::Path)?;
    let scheme = forwarded::scheme(peer, raw.fields);
    let view = RequestView { method: raw.method, scheme, authority, host, path, query, fields: raw.fields };
    Ok(Prepared { view, to_normalised: escaped })
}

/// The authority, and the path with the query. The authority of an absolute target wins over `Host` (RFC 9112 §3.2.2).
fn split_target(raw: RawRequest<'_>) -> Result<(&[u8], &[u8]), Refusal> {
    match raw.target.first() {
        Some(b'/') => Ok((raw.host, raw.target)),
        Some(b'*') if raw.target == b"*" && raw.method == b"OPTIONS" => Ok((raw.host, raw.target)),
        _ => {
            let scheme = |scheme: &[u8]| {
                let begins = raw.target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
                begins.then(|| raw.target.get(scheme.len()..)).flatten()
            };
            let rest = scheme(b"http://").or_else(|| scheme(b"https://")).ok_or(Refusal::Target)?;
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
            let (authority, origin) = rest.split_at(end);
            match origin.first() {
                _ if authority.is_empty() => Err(Refusal::Host),
                None => Ok((authority, b"/")),
                Some(b'/') => Ok((authority, origin)),
                // A query or fragment without a path; only test tools send such targets.
                Some(_) => Err(Refusal::Target),
            }
        }
    }
}

fn normalization(setting: PathNormalization) -> Normalization {
    match setting {
        PathNormalization::None => Normalization::None,
        PathNormalization::Base => Normalization::Base,
        PathNormalization::MergeSlashes => Normalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes => Normalization::DecodeAndMergeSlashes,
        PathNormalization::DecodeSlashes => Normalization::DecodeSlashes,
    }
}

#[cfg(test)]
mod tests;
