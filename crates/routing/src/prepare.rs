//! The only normalisation of a request, at the start of every exchange: host and path as all later steps see them.

use ir::{EscapedSlashes, HttpSettings, MeshConnectionSettings, PathNormalization};
use wire::destination::{Destination, DestinationHost, InvalidDestination};
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
    /// The port that a transparent client of a forward proxy has connected to.
    pub original_port: Option<u16>,
}

/// Reusable buffers for the normalised host and path.
#[derive(Debug, Default)]
pub struct Scratch {
    host: String,
    path: Vec<u8>,
}

/// A request as it is routed.
#[derive(Debug, Clone, Copy)]
pub struct NormalisedRequest<'a> {
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
    /// The destination that a client of a forward proxy asks for has no unambiguous spelling.
    #[error("the destination is not valid: {0}")]
    Destination(InvalidDestination),
    /// The destination of CONNECT has no port, or CONNECT has a body.
    #[error("CONNECT needs a destination with a port, and no body")]
    Tunnel,
    /// `Host` names another destination than the target.
    #[error("`Host` is not the host of the request's target")]
    HostMismatch,
    /// `Host` names another port than the one that a transparent client has connected to.
    #[error("`Host` does not have the port that the client has connected to")]
    OriginalPort,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Connect => 404,
            Self::Host | Self::Target | Self::Path | Self::Rewrite => 400,
            Self::Destination(_) | Self::Tunnel | Self::HostMismatch | Self::OriginalPort => 400,
        }
    }

    /// Whether a forward proxy denies what is asked for, since it can be read in several ways; other refusals are of malformed requests.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Destination(_) | Self::Tunnel | Self::HostMismatch)
    }

    /// A word for logs (`%RESPONSE_CODE_DETAILS%`).
    pub fn detail(self) -> &'static str {
        match self {
            Self::Host => "http1.invalid_host",
            Self::Target => "http1.invalid_url",
            Self::Path => "path_normalization_failed",
            Self::Rewrite => "path_rewrite_failed",
            Self::Connect => "route_not_found",
            Self::Destination(_) => "egress_invalid_destination",
            Self::Tunnel => "egress_invalid_connect",
            Self::HostMismatch => "egress_host_mismatch",
            Self::OriginalPort => "egress_port_mismatch",
        }
    }

    /// The body of the answer: clients of a forward proxy are told the reason.
    pub fn body(self) -> &'static str {
        match self {
            Self::Host | Self::Target | Self::Path | Self::Rewrite | Self::Connect => "",
            Self::Destination(reason) => reason.text(),
            Self::Tunnel => "CONNECT needs a destination with a port, as in `example.com:443`, and has no body",
            Self::HostMismatch => "`Host` has to be the host of the request's target",
            Self::OriginalPort => "`Host` has to have the port that the client has connected to, if it is not 80",
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
) -> Result<NormalisedRequest<'a>, Refusal> {
    let (authority, origin, asked) = match (settings.forward, raw.method) {
        (true, _) => split_proxied(raw)?,
        (false, b"CONNECT") => return Err(Refusal::Connect),
        (false, _) => split_target(raw).map(|(authority, origin)| (authority, origin, None))?,
    };
    let host = wire::host::host_of(authority, &mut scratch.host).map_err(|_| Refusal::Host)?;
    let RawRequest { method, fields, .. } = raw;
    if origin.is_empty() {
        let (scheme, destination) = (peer.scheme, destination(asked, host, peer.scheme));
        let view = RequestView { method, scheme, authority, host, path: b"", query: None, fields, destination };
        return Ok(NormalisedRequest { view, to_normalised: false });
    }
    let (whole, query) = path::split(origin);
    let escaped = settings.escaped_slashes != EscapedSlashes::Take && path::has_escaped_slash(whole);
    if escaped && settings.escaped_slashes == EscapedSlashes::Reject {
        return Err(Refusal::Path);
    }
    let path = path::normalise(whole, normalization(settings.path_normalization), &mut scratch.path)
        .map_err(|_| Refusal::Path)?;
    let scheme = match settings.forward {
        true => scheme_of(raw.target).unwrap_or(peer.scheme),
        false => forwarded::scheme(peer, fields),
    };
    let destination = destination(asked, host, scheme);
    let view = RequestView { method, scheme, authority, host, path, query, fields, destination };
    Ok(NormalisedRequest { view, to_normalised: escaped })
}

/// The destination with its name in the normalised form, and with the port of the scheme where none is written.
fn destination<'a>(asked: Option<Destination<'a>>, host: &'a str, scheme: &str) -> Option<(DestinationHost<'a>, u16)> {
    let Destination { host: written, port } = asked?;
    let host = match written {
        DestinationHost::Name(_) => DestinationHost::Name(host),
        DestinationHost::Address(address) => DestinationHost::Address(address),
    };
    Some((host, port.unwrap_or(if scheme == "https" { 443 } else { 80 })))
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

/// The authority, the path with the query, and the destination.
type SplitProxied<'a> = (&'a [u8], &'a [u8], Option<Destination<'a>>);

/// Splits a request to a forward proxy; a tunnel has no path. The destination has to be unambiguous, and `Host` must not name another one. A
/// transparent client does not ask for tunnels, and names the port that it has connected to.
fn split_proxied(raw: RawRequest<'_>) -> Result<SplitProxied<'_>, Refusal> {
    let is_tunnel = raw.method == b"CONNECT";
    let (authority, origin) = if is_tunnel { (raw.target, &b""[..]) } else { split_target(raw)? };
    let destination = Destination::parse(authority).map_err(Refusal::Destination)?;
    if is_tunnel && (destination.port.is_none() || raw.original_port.is_some()) {
        return Err(Refusal::Tunnel);
    }
    let scheme = scheme_of(raw.target).filter(|_| !is_tunnel);
    let default = if scheme == Some("https") { 443 } else { 80 };
    let port = destination.port.unwrap_or(default);
    if raw.original_port.is_some_and(|original| original != port) {
        return Err(Refusal::OriginalPort);
    }
    // One spelling for the hosts of policies: without the port that the scheme has anyway.
    let is_plain = scheme.is_some() || raw.original_port.is_some();
    let plain = match destination.port.filter(|port| is_plain && *port == default) {
        Some(_) => authority.iter().rposition(|octet| *octet == b':').and_then(|at| authority.get(..at)),
        None => None,
    };
    let plain = plain.unwrap_or(authority);
    if raw.host.is_empty() || raw.host.eq_ignore_ascii_case(authority) {
        return Ok((plain, origin, Some(destination)));
    }
    let host = Destination::parse(raw.host).map_err(Refusal::Destination)?;
    let is_port = host.port.map_or(is_tunnel || port == default, |named| named == port);
    let is_same = host.host.is_same(&destination.host) && is_port;
    if is_same { Ok((plain, origin, Some(destination))) } else { Err(Refusal::HostMismatch) }
}

/// The scheme of an absolute target.
fn scheme_of(target: &[u8]) -> Option<&'static str> {
    let begins =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()));
    if begins("https://") { Some("https") } else { begins("http://").then_some("http") }
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
