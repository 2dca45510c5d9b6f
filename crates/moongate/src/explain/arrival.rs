//! How a request or a connection arrived, and what the policies of the workload say of it.

use super::answer::{Answer, Outcome, Question};
use super::{authorization, external};
use ir::{ClientAuth, Listener};
use routing::authorization::AccessFacts;
use routing::{Claims, RequestContext, Scratch, Servers, decision};
use std::net::IpAddr;
use std::sync::Arc;
use wire::edit::Edits;
use wire::forwarded;
use wire::view::RequestView;

/// A listener, and its TLS servers by name.
pub(super) struct Served {
    pub(super) listener: Arc<Listener>,
    pub(super) servers: Servers,
}

/// How a request arrived.
pub(super) struct Arrival<'a> {
    pub(super) question: &'a Question,
    pub(super) served: &'a Served,
    /// Which of the listener's TLS servers took it.
    pub(super) place: Option<usize>,
    /// The address that the client has connected to, where it is known.
    pub(super) destination: Option<IpAddr>,
    /// The port that a client in clear text has connected to that does not know of the gateway.
    pub(super) original_port: Option<u16>,
}

impl<'a> Arrival<'a> {
    /// One to the port of the question.
    pub(super) fn new(question: &'a Question, served: &'a Served, place: Option<usize>) -> Self {
        Self { question, served, place, destination: None, original_port: None }
    }

    /// Why a connection whose bytes are passed on is closed. `AUTO_PASSTHROUGH` has no policies (AP-12).
    pub(super) fn closed(&self, answer: &mut Answer) -> Option<Outcome> {
        let listener = &*self.served.listener;
        if self.place.and_then(|place| listener.tls.get(place)).is_some_and(|server| server.mesh_only) {
            return None;
        }
        let identity = self.identity();
        let connection = authorization::connection(self.question, listener, self.destination, &identity);
        let facts = AccessFacts { connection, remote: connection.source, view: None, edits: &[], claims: None };
        let external = listener.policies.ext_authz.as_deref();
        if let Some(closed) = external.and_then(|external| external::bytes(external, &facts, answer)) {
            return Some(closed);
        }
        authorization::bytes(listener.policies.authorization.as_deref()?, &facts, answer)
    }

    /// The response to a request because no service can be asked about it. Otherwise the answer says how a service is asked.
    pub(super) fn unchecked(&self, context: &RequestContext<'_>, answer: &mut Answer) -> Option<Outcome> {
        let external = self.served.listener.policies.ext_authz.as_deref()?;
        let mut scratch = Scratch::default();
        // What cannot be routed is refused by what decides next.
        let view = decision::prepare(context, &mut scratch).ok()?;
        let claims = Claims::default();
        self.with_facts(context, &view, &claims, |facts| {
            let sent = external::Sent { question: self.question, context, facts };
            external::request(external, &sent, answer)
        })
    }

    /// Why the policies of the workload do not allow a request.
    pub(super) fn denied(
        &self,
        context: &RequestContext<'_>,
        view: &RequestView<'_>,
        claims: &Claims,
        answer: &mut Answer,
    ) -> Option<Outcome> {
        let listener = &*self.served.listener;
        let policies = listener.policies.authorization.as_deref()?;
        self.with_facts(context, view, claims, |facts| authorization::request(policies, facts, answer))
    }

    /// Calls a function with the facts that policies see.
    fn with_facts<T>(
        &self,
        context: &RequestContext<'_>,
        view: &RequestView<'_>,
        claims: &Claims,
        then: impl FnOnce(&AccessFacts<'_>) -> T,
    ) -> T {
        let mut edits = Edits::default();
        decision::edit_received(context, view, "<a new id>".into(), &mut edits);
        let identity = self.identity();
        let listener = &self.served.listener;
        let connection = authorization::connection(self.question, listener, self.destination, &identity);
        let behind = forwarded::client_behind(context.peer, view.fields).and_then(|address| address.parse().ok());
        let remote = behind.unwrap_or(connection.source);
        then(&AccessFacts { connection, remote, view: Some(view), edits: &edits.fields, claims: Some(claims) })
    }

    /// The names in the client's certificate, if the server verifies one.
    pub(super) fn identity(&self) -> Vec<Box<str>> {
        let server = self.place.and_then(|place| self.served.listener.tls.get(place));
        let client = server.and_then(|server| Some(&server.termination.as_ref()?.client));
        if !matches!(client, Some(ClientAuth::Optional(_) | ClientAuth::Required(_))) {
            return Vec::new();
        }
        self.question.identity.iter().map(|name| name.as_str().into()).collect()
    }

    /// S-38: as the data plane has it.
    pub(super) fn is_misdirected(&self, host: &str, found: bool) -> bool {
        let (Some(place), Some(hello)) = (self.place, &self.question.tls) else { return false };
        self.served.servers.is_misdirected(place, hello.sni.as_deref(), host, found)
    }
}
