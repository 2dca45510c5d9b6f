//! Which pages of other origins may use the answers of a route (VS-46).

use crate::StringMatch;
use serde::Serialize;
use text::HeaderValue;

/// A CORS policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// The allowed origins; `*` matches all.
    pub origins: Vec<StringMatch>,
    /// The methods that a preflight allows, joined by commas; empty omits the header, and `*` allows the requested one.
    pub methods: HeaderValue,
    /// Request headers that a preflight allows, in the same way.
    pub headers: HeaderValue,
    /// Response headers that a page may read, joined by commas.
    pub expose: HeaderValue,
    /// For how many seconds a preflight holds.
    pub max_age: Option<u64>,
    /// Whether pages may send cookies with it.
    pub credentials: bool,
    /// Whether a preflight of another origin is forwarded to the backend (`FORWARD`), or answered without allowing anything.
    pub forwards_unmatched: bool,
}
