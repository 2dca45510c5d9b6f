//! What is known of a request or connection when it is authorized.

use crate::claims::Claims;
use std::net::IpAddr;
use wire::edit::FieldEdit;
use wire::view::RequestView;

/// Facts about a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionAccess<'a> {
    /// The address of the peer, whatever a PROXY header or `X-Forwarded-For` says (AP-07).
    pub source: IpAddr,
    /// The address that the client connected to.
    pub destination: IpAddr,
    /// The port that the client connected to, before `--port-map` (AP-08).
    pub port: u16,
    /// The server name of the TLS handshake; empty without one.
    pub server_name: &'a str,
    /// The names in the verified certificate of the client: its URIs, its DNS names, its subject (AP-09).
    pub identity: &'a [Box<str>],
}

/// Facts about a request, or about a connection whose bytes are passed on.
#[derive(Debug, Clone, Copy)]
pub struct AccessFacts<'a> {
    /// The connection.
    pub connection: ConnectionAccess<'a>,
    /// The address of the client, as a PROXY header or trusted proxies say (AP-07).
    pub remote: IpAddr,
    /// The request; `None` for a connection.
    pub view: Option<&'a RequestView<'a>>,
    /// The edits of the request's head so far, through which conditions on headers see it.
    pub edits: &'a [FieldEdit<'a>],
    /// The claims of the verified token.
    pub claims: Option<&'a Claims>,
}

impl<'a> AccessFacts<'a> {
    /// The values of a header, one for each line, after the edits.
    pub(super) fn header<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s [u8]> {
        let concerned = move |edit: &&FieldEdit<'_>| edit.name() == name;
        // What stands before the last removal or overwrite is gone.
        let is_end = |edit: &FieldEdit<'_>| edit.name() == name && !matches!(edit, FieldEdit::Append(..));
        let end = self.edits.iter().rposition(is_end);
        let edits = self.edits.get(end.unwrap_or_default()..).unwrap_or_default();
        let own = self.view.filter(|_| end.is_none()).into_iter().flat_map(move |view| view.values(name));
        own.chain(edits.iter().filter(concerned).filter_map(|edit| match edit {
            FieldEdit::Remove(_) => None,
            FieldEdit::Set(_, value) | FieldEdit::Append(_, value) => Some(&**value),
        }))
    }
}
