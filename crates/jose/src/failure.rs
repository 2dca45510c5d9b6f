//! Why a token is not accepted.

use thiserror::Error;

/// Why a token is not accepted, with the text that Envoy sends to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Failure {
    /// There is none.
    #[error("Jwt is missing")]
    Missing,
    /// `nbf` is later than now.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// `exp` has passed.
    #[error("Jwt is expired")]
    Expired,
    /// Not three parts, or too long.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    BadFormat,
    /// The header is not base64url.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    /// The header is not a JSON object, or has a name twice.
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    /// The header has no `alg`, or it is not a text.
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlg,
    /// The algorithm is unknown; `none` is.
    #[error("Jwt header [alg] is not supported")]
    UnsupportedAlg,
    /// The name of the key is not a text.
    #[error("Jwt header [kid] field is not a string")]
    HeaderKid,
    /// The header demands an extension (`crit`); Envoy passes it over.
    #[error("Jwt header [crit] is not supported")]
    HeaderCrit,
    /// The payload is not base64url.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    /// The payload is not a JSON object, or has a name twice.
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    /// `iss` is not a text.
    #[error("Jwt payload [iss] field is not a string")]
    Iss,
    /// `sub` is not a text.
    #[error("Jwt payload [sub] field is not a string")]
    Sub,
    /// `iat` is not a number.
    #[error("Jwt payload [iat] field is not an integer")]
    Iat,
    /// `iat` is negative or too large.
    #[error("Jwt payload [iat] field is not a positive integer")]
    IatRange,
    /// `nbf` is not a number.
    #[error("Jwt payload [nbf] field is not an integer")]
    Nbf,
    /// `nbf` is negative or too large.
    #[error("Jwt payload [nbf] field is not a positive integer")]
    NbfRange,
    /// `exp` is not a number.
    #[error("Jwt payload [exp] field is not an integer")]
    Exp,
    /// `exp` is negative or too large.
    #[error("Jwt payload [exp] field is not a positive integer")]
    ExpRange,
    /// `jti` is not a text.
    #[error("Jwt payload [jti] field is not a string")]
    Jti,
    /// `aud` is neither a text nor a list of texts.
    #[error("Jwt payload [aud] field is not a string or string list")]
    Aud,
    /// The signature is not base64url.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    /// No provider is of the token's issuer.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// The token is for others.
    #[error("Audiences in Jwt are not allowed")]
    Audience,
    /// The signature is wrong.
    #[error("Jwt verification fails")]
    Signature,
    /// More tokens than are looked at.
    #[error("Found multiple Jwt tokens")]
    MultipleTokens,
    /// No key has the token's `kid` and `alg`.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoMatchingKey,
    /// The provider has no keys.
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    /// The keys of the provider could not be fetched so far.
    #[error("Jwks remote fetch is failed")]
    FetchFailed,
}

impl Failure {
    /// Whether the token is valid but not for this audience: Envoy answers 403 then, and 401 otherwise.
    pub fn is_forbidden(self) -> bool {
        self == Self::Audience
    }
}
