//! A request that was received, until it is decided: its head, and what every request has to pass.

use super::answer::{Answer, Outcome, Question};
use super::arrival::Arrival;
use super::outcomes::{answered, local};
use super::tokens;
use anyhow::{Result, bail};
use ir::HttpSettings;
use routing::{AllowList, Claims, RequestContext, Scratch, Table, decision, head_limits};
use wire::forwarded::Peer;
use wire::h1::{HeadLimits, RequestHead};

/// A request that was received, and what applies to it.
pub(super) struct Received<'a> {
    pub(super) arrival: &'a Arrival<'a>,
    pub(super) table: &'a Table,
    /// The claims of its token, or of its user.
    pub(super) claims: Claims,
    settings: HttpSettings,
    peer: &'a Peer<'a>,
    request: RequestHead,
    head: Vec<u8>,
}

impl<'a> Received<'a> {
    /// The request of the question.
    pub(super) fn new(arrival: &'a Arrival<'a>, settings: HttpSettings, table: &'a Table, peer: &'a Peer<'a>) -> Self {
        let (claims, request) = (Claims::default(), RequestHead::default());
        Self { arrival, table, claims, settings, peer, request, head: head_of(arrival.question) }
    }

    /// What decisions see of the request.
    pub(super) fn context(&self) -> RequestContext<'_> {
        RequestContext {
            request: &self.request,
            buffer: &self.head,
            settings: self.settings,
            mesh_settings: &self.arrival.served.listener.mesh_settings,
            peer: self.peer,
            original_port: self.arrival.original_port,
        }
    }

    /// Reads the head; the response to one that is malformed.
    pub(super) fn parse(&mut self) -> Result<Option<Outcome>> {
        let limits = head_limits(&self.arrival.served.listener.mesh_settings, HeadLimits::default());
        let limits = if self.settings.forward { limits.of_proxy() } else { limits };
        match self.request.parse(&self.head, &limits) {
            Ok(Some(_)) => Ok(None),
            Ok(None) => bail!("the request is not complete"),
            Err(error) => Ok(Some(answered(error.status(), error.detail()))),
        }
    }

    /// The response to a request that is for a forward proxy itself.
    pub(super) fn to_itself(&self) -> Option<Outcome> {
        if !self.settings.forward {
            return None;
        }
        let (context, mut scratch) = (self.context(), Scratch::default());
        let view = decision::prepare(&context, &mut scratch).ok()?;
        decision::to_itself(&context, &view).map(|itself| local(&itself))
    }

    /// Verifies the tokens, keeps their claims, and changes the head; the response to a request whose token is not valid.
    pub(super) fn authenticate(&mut self, answer: &mut Answer) -> Option<Outcome> {
        let config = self.arrival.served.listener.policies.authentication.as_ref()?;
        let (context, mut scratch) = (self.context(), Scratch::default());
        // What cannot be routed is refused by what decides next.
        let view = decision::prepare(&context, &mut scratch).ok()?;
        match tokens::authenticate(config, &view, &mut answer.tokens) {
            Ok(found) => {
                self.claims = found.claims;
                tokens::amend(&mut self.request, &mut self.head, &found.changes);
                None
            }
            Err(failure) => Some(local(&routing::authentication::refused(&view, failure))),
        }
    }

    /// Finds out who the user of a forward proxy is; the response if there is none.
    pub(super) fn find_user(&mut self) -> Option<Outcome> {
        let users = self.table.forward().and_then(AllowList::users)?;
        let is_known = !self.arrival.identity().is_empty() || !self.claims.is_empty();
        match routing::forward::authenticate(users, self.request.fields(&self.head), is_known) {
            Ok(None) => None,
            Ok(Some(claims)) => {
                self.claims = claims;
                None
            }
            Err(refused) => Some(local(&refused)),
        }
    }
}

/// The bytes that a client would send.
fn head_of(question: &Question) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", question.method, question.target).into_bytes();
    for (name, value) in &question.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
        out.extend_from_slice(b"\r\n");
    }
    if question.body {
        out.extend_from_slice(b"content-length: 1\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}
