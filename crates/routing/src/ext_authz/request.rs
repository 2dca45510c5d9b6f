//! A request as a service for authorization sees it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::SystemTime;
use wire::edit::{FieldEdit, is_replaced};
use wire::view::RequestView;

/// Header lines of one hop, and the framing, which say nothing about the request.
const OF_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "http2-settings", "host"];

/// A connection.
#[derive(Debug, Clone, Copy)]
pub struct CheckedConnection<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The local address.
    pub destination: Option<SocketAddr>,
    /// The identity in the client's certificate; empty without one.
    pub source_principal: &'a str,
    /// The identity in the gateway's certificate; empty without one.
    pub destination_principal: &'a str,
    /// The name that the client asked for in its TLS handshake.
    pub sni: Option<&'a str>,
}

/// A request and its connection.
#[derive(Debug, Clone, Copy)]
pub struct CheckedRequest<'a> {
    /// The connection.
    pub connection: CheckedConnection<'a>,
    /// The request, normalised as for routing.
    pub view: &'a RequestView<'a>,
    /// The edits that every request gets, such as `x-forwarded-for`.
    pub edits: &'a [FieldEdit<'a>],
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The id of the request.
    pub id: &'a str,
    /// When it was received.
    pub time: SystemTime,
    /// The length of the body, if it is known.
    pub size: Option<u64>,
    /// The body, if the service gets it.
    pub body: Option<CheckedBody<'a>>,
}

/// The body of a request, or the first octets of it.
#[derive(Debug, Clone, Copy)]
pub struct CheckedBody<'a> {
    /// The octets.
    pub octets: &'a [u8],
    /// Whether there are more.
    pub is_partial: bool,
}

impl<'a> CheckedRequest<'a> {
    /// The header lines with the edits, without those of one hop. Names of lines that were received are in any case.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> + use<'a> {
        let (fields, edits) = (self.view.fields, self.edits);
        let nominated: Vec<&[u8]> = fields.connection_options().collect();
        let received = fields.iter().filter(move |(name, _)| {
            !is_of_hop(name)
                && !is_replaced(name, edits)
                && !nominated.iter().any(|other| name.eq_ignore_ascii_case(other))
        });
        let written = edits.iter().enumerate().filter_map(move |(at, edit)| match edit {
            FieldEdit::Set(name, value) | FieldEdit::Append(name, value) => {
                let name = name.as_str().as_bytes();
                let is_last = !is_replaced(name, edits.get(at + 1..).unwrap_or_default());
                (is_last && !is_of_hop(name)).then(|| (name, Cow::Borrowed(&**value)))
            }
            FieldEdit::Remove(_) => None,
        });
        received.map(|(name, value)| (name, Cow::Borrowed(value))).chain(written)
    }
}

fn is_of_hop(name: &[u8]) -> bool {
    OF_HOP.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}
