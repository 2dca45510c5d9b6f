//! The CORS policy of a route (VS-46): allowed origins, and responses to preflight requests, as in Envoy's filter.

use crate::route::LocalAnswer;
use ir::Cors;
use std::borrow::Cow;
use text::{FieldValue, HeaderValue};
use wire::edit::Edits;
use wire::view::Fields;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";

/// A request with an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CorsRequest<'a> {
    origin: FieldValue<'a>,
    allowed: bool,
}

impl<'a> CorsRequest<'a> {
    /// The origin in these headers; `None` without one.
    pub(crate) fn of(cors: &Cors, fields: Fields<'a>) -> Option<Self> {
        let mut origins = fields.all("origin");
        let first = origins.next().filter(|origin| !origin.is_empty())?;
        // Several values are joined, as for every header; the result matches no origin.
        let origin = origins.fold(Cow::Borrowed(first), |all, one| Cow::Owned([&all, &b","[..], one].concat()));
        let origin = FieldValue::checked(origin)?;
        let allowed = cors.origins.iter().any(|demand| demand.is_match(b"*") || demand.is_match(&origin));
        Some(Self { origin, allowed })
    }

    /// The origin, if the policy allows it.
    pub(crate) fn allowed_origin(self) -> Option<FieldValue<'a>> {
        self.allowed.then_some(self.origin)
    }

    /// The response to a preflight request; `None` for other requests, and for preflights that are forwarded.
    pub(crate) fn preflight(&self, cors: &Cors, method: &[u8], fields: Fields<'_>) -> Option<LocalAnswer> {
        let wanted = fields.get("access-control-request-method").filter(|wanted| !wanted.is_empty())?;
        if method != b"OPTIONS" || (!self.allowed && cors.forwards_unmatched) {
            return None;
        }
        let asked = |allowed: &HeaderValue, asked: &[u8]| match allowed.as_str() {
            "*" => FieldValue::checked(asked.to_vec()),
            _ => Some(FieldValue::from(allowed).into_owned()),
        };
        let headers = fields.get("access-control-request-headers").unwrap_or_default();
        let mut fields = Vec::with_capacity(6);
        if self.allowed {
            fields.push((ALLOW_ORIGIN, self.origin.clone().into_owned()));
        }
        if cors.credentials {
            fields.push((ALLOW_CREDENTIALS, "true".into()));
        }
        fields.extend(asked(&cors.methods, wanted).map(|methods| ("access-control-allow-methods", methods)));
        fields.extend(asked(&cors.headers, headers).map(|names| ("access-control-allow-headers", names)));
        fields.extend(cors.max_age.map(|age| ("access-control-max-age", age.into())));
        if self.allowed {
            fields.push((EXPOSE_HEADERS, FieldValue::from(&cors.expose).into_owned()));
        }
        fields.retain(|(_, value)| !value.is_empty());
        Some(LocalAnswer { status: 200, detail: "cors_response", fields, ..LocalAnswer::default() })
    }
}

/// Adds the CORS headers of the policy for an allowed `origin`. `Vary` is added in any case, since every response of the route depends on the
/// origin.
pub(crate) fn edit_response<'a>(cors: &'a Cors, origin: Option<&'a FieldValue<'_>>, edits: &mut Edits<'a>) {
    edits.append("vary", "origin");
    let Some(origin) = origin else { return };
    edits.set(ALLOW_ORIGIN, origin.by_ref());
    if cors.credentials {
        edits.set(ALLOW_CREDENTIALS, "true");
    }
    if !cors.expose.is_empty() {
        edits.set(EXPOSE_HEADERS, &cors.expose);
    }
}

#[cfg(test)]
mod tests;
