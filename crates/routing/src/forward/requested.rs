//! What a client asks a forward proxy for.

use wire::destination::{Destination, DestinationHost};
use wire::view::RequestView;

/// The port that TLS has by default: a tunnel there is expected to begin with a ClientHello, also where nothing names the destination.
pub(super) const TLS_PORT: u16 = 443;

/// A destination that a client asks a forward proxy for, and how it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedDestination<'a> {
    /// Whether the client asks for a tunnel (CONNECT).
    pub is_tunnel: bool,
    /// Whether the client asks the proxy to use TLS (`https://` in the target of a request).
    pub is_https: bool,
    /// The host; a name is in lower case.
    pub host: DestinationHost<'a>,
    /// The port.
    pub port: u16,
}

impl<'a> RequestedDestination<'a> {
    /// What a normalised request asks for; `None` if its authority is no destination. Requests of a forward proxy had theirs parsed when they were
    /// normalised.
    pub fn of(view: &RequestView<'a>) -> Option<Self> {
        let is_https = view.scheme == "https";
        let (host, port) = match view.destination {
            Some(destination) => destination,
            None => {
                let Destination { host, port } = Destination::parse(view.authority).ok()?;
                (host, port.unwrap_or(if is_https { TLS_PORT } else { 80 }))
            }
        };
        Some(Self { is_tunnel: view.method == b"CONNECT", is_https, host, port })
    }
}
