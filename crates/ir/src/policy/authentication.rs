//! What a workload accepts as tokens of requests (RA-01 to RA-05).

use crate::Origin;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use text::HeaderName;

/// The issuers whose tokens a workload accepts. A request without a token passes; one with a token that is not valid does not (RA-02).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// The rules of all objects, sorted by issuer (RA-01), and by object where issuers are the same. The order decides which of several
    /// tokens counts.
    pub providers: Vec<Arc<Provider>>,
}

/// One issuer: a rule of a RequestAuthentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// The object and rule.
    pub origin: Origin,
    /// The `iss` of its tokens.
    pub issuer: Arc<str>,
    /// One of these has to be in `aud`; any will do when empty.
    pub audiences: Vec<Arc<str>>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Headers with tokens, in the order of name and prefix.
    pub from_headers: Vec<TokenHeader>,
    /// Query parameters with tokens, sorted.
    pub from_params: Vec<Arc<str>>,
    /// Cookies with tokens, sorted.
    pub from_cookies: Vec<Arc<str>>,
    /// Whether the token is sent to the backend.
    pub forward_original_token: bool,
    /// The header that the payload is sent in, in base64url.
    pub payload_header: Option<HeaderName>,
    /// Claims that are sent in headers.
    pub claim_headers: Vec<ClaimHeader>,
    /// Claims whose texts are lists of words, besides `scope` and `permission`.
    pub space_delimited_claims: Vec<Arc<str>>,
}

/// Where the keys of an issuer come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum KeySource {
    /// A set of keys (JWKS), as it was written.
    Inline(Arc<str>),
    /// A URL that the set is fetched from.
    Remote(RemoteKeys),
    /// There are none, so that every token is refused: the rule has errors.
    None,
}

/// A set of keys that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RemoteKeys {
    /// The URL.
    pub url: Arc<str>,
    /// Whether the URL is that of an OpenID Connect discovery document, which names that of the keys.
    pub discovery: bool,
    /// How long one fetch may take.
    pub timeout: Duration,
}

/// A header that a token is looked for in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TokenHeader {
    /// The header.
    pub name: HeaderName,
    /// What stands before the token.
    pub prefix: Arc<str>,
}

/// A claim that is sent in a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimHeader {
    /// The header.
    pub name: HeaderName,
    /// The names of the claim, from the outermost.
    pub claim: Vec<Arc<str>>,
}

impl Provider {
    /// The headers that the gateway alone writes for this issuer.
    pub fn output_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.payload_header.iter().chain(self.claim_headers.iter().map(|header| &header.name))
    }
}

impl Authentication {
    /// The headers that the gateway alone writes: those of a client are removed whether it has a token or not.
    pub fn output_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.providers.iter().flat_map(|provider| provider.output_headers())
    }
}
