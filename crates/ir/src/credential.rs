//! What the gateway adds to requests to a destination so that the destination knows whose they are. Clients neither have it nor see it, and it is
//! never printed.

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use text::{HeaderName, HeaderValue};

/// A header that requests to a cluster get on the way out. It takes the place of the client's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestCredential {
    /// Its source, such as `Secret istio-system/github`.
    pub source: Arc<str>,
    /// The header.
    pub header: HeaderName,
    /// The value of the header.
    pub value: CredentialValue,
}

/// The value of a header that is a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CredentialValue {
    /// This.
    Fixed(Hidden<HeaderValue>),
    /// `Bearer` and a token that an authorization server issues.
    Token(Arc<OAuthClient>),
}

/// A client of an authorization server (RFC 6749 §4.4, client credentials).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct OAuthClient {
    /// The URL of the token endpoint.
    pub token_url: Arc<str>,
    /// The name of the client.
    pub id: Arc<str>,
    /// Its password.
    pub secret: Hidden<Arc<str>>,
    /// How the client says who it is.
    pub authentication: ClientAuthentication,
    /// Further parameters of the request, such as `scope`.
    pub parameters: Arc<[(Arc<str>, Arc<str>)]>,
}

/// How a client says who it is to an authorization server (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum ClientAuthentication {
    /// By the header `Authorization`.
    Basic,
    /// By parameters in the body.
    Post,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Hidden<T>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> Serialize for Hidden<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_printed() {
        let client = OAuthClient {
            token_url: "https://issuer.test/token".into(),
            id: "gateway".into(),
            secret: Hidden("s3cr3t".into()),
            authentication: ClientAuthentication::Basic,
            parameters: Arc::default(),
        };
        assert!(!format!("{client:?}").contains("s3cr3t"));
        let credential = RequestCredential {
            source: "Secret a/b".into(),
            header: HeaderName::parse("x-api-key").unwrap(),
            value: CredentialValue::Fixed(Hidden(HeaderValue::parse("s3cr3t").unwrap())),
        };
        let printed = format!("{credential:?}");
        assert!(!printed.contains("s3cr3t") && printed.contains("[redacted]"), "{printed}");
    }
}
