//! Heads of responses in an attempt: interim ones, and the final one. `routing` decides what the client receives.

use super::Failure;
use super::response::{ResponseSide, ResponseState};
use super::response_context::HeadFacts;
use crate::codec::{Downstream, GrpcWebResponse, Trailers};
use routing::{BackendHead, ClientHead, response_head};
use text::Decimal;
use wire::edit::Edits;
use wire::h1::{BodyReader, OutFraming, ResponseParts};

impl ResponseSide<'_> {
    /// Counts the interim response in the head received last, of `bytes` octets, and forwards it if it is within the limits.
    pub(super) fn take_interim(&mut self, bytes: usize, down: &mut Downstream) -> Result<(), Failure> {
        let fields = self.head.fields(self.input.filled());
        // The size of an HPACK entry: each line costs memory besides its text (RFC 7541 §4.1).
        let size = bytes + 32 * fields.len();
        if !self.interim.admit(size, down.response_account())? {
            return Ok(());
        }
        // Interim responses have no connection headers of the gateway; their own headers are forwarded.
        let parts = ResponseParts {
            status: self.head.status,
            fields,
            nominates: self.head.nominates,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        Ok(down.send_interim(&parts, self.style, &mut self.send)?)
    }

    /// Sends the final head.
    pub(super) fn pass_head(&mut self, down: &mut Downstream, known: &HeadFacts<'_>) -> Result<(), Failure> {
        let backend = BackendHead::new(self.head, self.input.filled(), known.plan.request_kind);
        let (plan, status) = (known.plan, self.head.status);
        let elapsed = Decimal::from(u64::try_from(known.elapsed.as_millis()).unwrap_or(u64::MAX));
        let context = routing::ResponseContext {
            backend,
            client: down.framing(self.style.http10),
            is_last: known.is_last,
            headers: self.headers,
            route: &plan.route,
            target: plan.target,
            filters: &plan.filters,
            set_cookie: plan.affinity.set_cookie.as_ref(),
            accept: plan.accept.as_deref(),
            web: plan.web(),
            date: known.date,
            elapsed: &elapsed,
        };
        let mut edits = Edits::default();
        let facts = known.facts(status, backend.fields);
        let ClientHead { parts, web } = response_head::response_head(&context, &facts, &mut edits);
        self.body = BodyReader::new(self.head.body);
        let is_bodiless = self.body.is_done();
        self.state = match is_bodiless {
            _ if backend.is_switch() => ResponseState::Tunnel,
            true => ResponseState::Done,
            false => ResponseState::Body,
        };
        (self.close, self.time_to_head) = (parts.close, Some(known.elapsed));
        if let Some(log) = known.log {
            self.logged = log.capture_response(&parts, &edits);
        }
        self.web = web.map(|web| Box::new(GrpcWebResponse::from(web)));
        if let Some(web) = &mut self.web
            && web.hold(|| down.encode_head(&parts, &edits, self.style))
        {
            if is_bodiless {
                web.end(&Trailers::None, down, &mut self.send)?;
            }
            return Ok(());
        }
        Ok(down.send_head(&parts, &edits, self.style, is_bodiless, &mut self.send)?)
    }
}
