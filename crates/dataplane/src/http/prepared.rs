//! A request that is prepared for a decision: its host and path are normalised, and what decides writes into the buffers of its exchange.

use super::client::ClientConnection;
use super::received_request::ReceivedRequest;
use crate::conn::{Client, HeldBody, Worker};
use ir::{FieldName, HttpSettings};
use routing::ext_authz::Changes;
use routing::{Claims, RequestContext, RouteError, decision};
use std::rc::Rc;
use text::{FieldValue, Uuid};
use wire::edit::Edits;
use wire::forwarded::Peer;
use wire::h1::BodyReader;
use wire::view::RequestView;

/// A request that is prepared for a decision.
pub(super) struct Prepared<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) conn: &'a ClientConnection,
    pub(super) context: &'a RequestContext<'a>,
    pub(super) view: &'a RequestView<'a>,
    pub(super) id: &'a Uuid,
    pub(super) claims: &'a Claims,
    /// What was received of the body, and the state of the rest.
    pub(super) held: Option<&'a (Box<HeldBody>, BodyReader)>,
    pub(super) out: DecisionBuffers<'a>,
}

/// The buffers that a decision writes to.
pub(super) struct DecisionBuffers<'a> {
    pub(super) up_out: &'a mut Vec<u8>,
    pub(super) captured_headers: &'a mut Vec<(FieldName, Vec<u8>)>,
    pub(super) logged_headers: &'a mut Vec<(FieldName, Vec<u8>)>,
    pub(super) logged_size: &'a mut u64,
    pub(super) logged_path: &'a mut Vec<u8>,
    pub(super) checked: &'a mut Option<Box<Changes>>,
}

impl ReceivedRequest<'_> {
    /// Prepares the request by the settings of a table, and decides by it. The error says why the request has no route, whatever the routes are.
    pub(super) fn prepare<T>(
        &mut self,
        settings: HttpSettings,
        decide: impl FnOnce(Prepared<'_>) -> T,
    ) -> Result<T, RouteError> {
        let (worker, conn, buffers) = (self.worker, &*self.conn, &mut *self.buffers);
        let peer = peer(&conn.client, settings);
        let buffer = conn.input.filled().get(..self.head).unwrap_or_default();
        let (request, mesh_settings) = (&buffers.request, &conn.client.mesh_settings);
        let original_port = conn.client.original_port;
        let context = RequestContext { request, buffer, settings, mesh_settings, peer: &peer, original_port };
        let view = decision::prepare(&context, &mut buffers.scratch)?;
        let out = DecisionBuffers {
            up_out: &mut buffers.up_out,
            captured_headers: &mut buffers.captured_headers,
            logged_headers: &mut buffers.logged_headers,
            logged_size: &mut buffers.logged_size,
            logged_path: &mut buffers.logged_path,
            checked: &mut buffers.checked,
        };
        let (id, claims, held) = (&buffers.request_id, &buffers.claims, buffers.held.as_ref());
        Ok(decide(Prepared { worker, conn, context: &context, view: &view, id, claims, held, out }))
    }
}

impl<'a> Prepared<'a> {
    /// Adds the edits that every request gets, whatever its route. A list of edits is large, and is not moved.
    pub(super) fn edit_received(&self, edits: &mut Edits<'a>) {
        decision::edit_received(self.context, self.view, FieldValue::from(self.id), edits);
    }
}

/// The client, for `routing`.
fn peer(client: &Client, settings: HttpSettings) -> Peer<'_> {
    let certificate = client.certificate_header(settings.forwarded.certificates);
    let port = client.local.filter(|_| client.mesh_settings.headers.forwarded_port).map(|local| local.port());
    let trusted_proxies = settings.forwarded.trusted_proxies;
    Peer { address: &client.peer, scheme: client.scheme(), trusted_proxies, certificate, port }
}
