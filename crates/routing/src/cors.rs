//! CORS as a route has it (VS-46): who may use an answer, and the answers to preflights. What the filter of Istio's proxy does.

use crate::route::{LocalAnswer, RouteEntry};
use ir::Cors;
use std::borrow::Cow;
use wire::edit::Edits;
use wire::view::Fields;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";

/// The page that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker<'a> {
    origin: Cow<'a, [u8]>,
    allowed: bool,
}

impl<'a> Asker<'a> {
    /// The page that a request with these headers comes from; `None` without a policy, or when it comes from none.
    pub fn of(route: &RouteEntry, fields: Fields<'a>) -> Option<Self> {
        let cors = policy(route)?;
        let mut origins = fields.all("origin");
        let first = origins.next().filter(|origin| !origin.is_empty())?;
        // Several of them are one text, as with every header; it is the origin of no page.
        let origin = origins.fold(Cow::Borrowed(first), |all, one| Cow::Owned([&all, &b","[..], one].concat()));
        let allowed = cors.origins.iter().any(|demand| demand.is_match(b"*") || demand.is_match(&origin));
        Some(Self { origin, allowed })
    }

    /// Its origin, where it is allowed to use the answer.
    pub fn allowed(self) -> Option<Cow<'a, [u8]>> {
        self.allowed.then_some(self.origin)
    }

    /// The answer to a preflight; `None` when the request is none, or one that the backend answers.
    pub fn preflight(&self, route: &RouteEntry, method: &[u8], fields: Fields<'_>) -> Option<LocalAnswer> {
        let cors = policy(route)?;
        let wanted = fields.get("access-control-request-method").filter(|wanted| !wanted.is_empty())?;
        if method != b"OPTIONS" || (!self.allowed && cors.forwards_unmatched) {
            return None;
        }
        let asked = |allowed: &str, asked: &[u8]| match allowed {
            "*" => asked.to_vec(),
            allowed => allowed.as_bytes().to_vec(),
        };
        let headers = fields.get("access-control-request-headers").unwrap_or_default();
        let mut told = Vec::with_capacity(6);
        if self.allowed {
            told.push((ALLOW_ORIGIN, self.origin.to_vec()));
        }
        if cors.credentials {
            told.push((ALLOW_CREDENTIALS, b"true".to_vec()));
        }
        told.push(("access-control-allow-methods", asked(&cors.methods, wanted)));
        told.push(("access-control-allow-headers", asked(&cors.headers, headers)));
        told.push(("access-control-max-age", cors.max_age.as_deref().unwrap_or_default().into()));
        if self.allowed {
            told.push((EXPOSE_HEADERS, cors.expose.as_bytes().to_vec()));
        }
        told.retain(|(_, value)| !value.is_empty());
        Some(LocalAnswer { status: 200, detail: "cors_response", fields: told, ..LocalAnswer::default() })
    }
}

impl RouteEntry {
    /// Adds what the policy says to the page that may use the answer, whose origin that is. Every answer of the route depends on who asks.
    pub fn edit_for_page<'a>(&'a self, origin: Option<&'a [u8]>, edits: &mut Edits<'a>) {
        let Some(cors) = policy(self) else { return };
        edits.append("vary", &b"origin"[..]);
        let Some(origin) = origin else { return };
        edits.set(ALLOW_ORIGIN, origin);
        if cors.credentials {
            edits.set(ALLOW_CREDENTIALS, &b"true"[..]);
        }
        if !cors.expose.is_empty() {
            edits.set(EXPOSE_HEADERS, cors.expose.as_bytes());
        }
    }
}

fn policy(route: &RouteEntry) -> Option<&Cors> {
    route.forward()?.cors.as_deref()
}

#[cfg(test)]
mod tests;
