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

impl RequestCredential {
    /// Whether servers may read a header of this name as that of the credential: case does not count, and many servers take `_` for `-`
    /// (RFC 3875 §4.1.18).
    pub fn is_read_as(&self, name: &[u8]) -> bool {
        let plain = |octet: &u8| if *octet == b'_' { b'-' } else { octet.to_ascii_lowercase() };
        self.header.as_str().as_bytes().iter().map(plain).eq(name.iter().map(plain))
    }
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

    fn of(header: &str) -> RequestCredential {
        let value = CredentialValue::Fixed(Hidden(HeaderValue::parse("s3cr3t").unwrap()));
        RequestCredential { source: "Secret a/b".into(), header: HeaderName::parse(header).unwrap(), value }
    }

    #[test]
    fn rfc_3875_4_1_18_names_with_underscores_are_read_as_the_same() {
        for (header, same) in [
            ("authorization", &["authorization", "Authorization"][..]),
            ("x-api-key", &["X-API-KEY", "x_api-key", "x-api_key", "X_Api_Key"]),
            ("x_api_key", &["x-api-key", "X-Api_Key"]),
            ("a-b-c-d-e-f", &["a_b_c_d_e_f", "a-b_c-d_e-f"]),
        ] {
            assert!(same.iter().all(|name| of(header).is_read_as(name.as_bytes())), "{header}");
        }
        for other in ["x-api-keys", "x-api", "xapikey", "x--api-key", "x-api-key-", "x.api.key", ""] {
            assert!(!of("x-api-key").is_read_as(other.as_bytes()), "{other}");
        }
    }

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
        let credential = of("x-api-key");
        let printed = format!("{credential:?}");
        assert!(!printed.contains("s3cr3t") && printed.contains("[redacted]"), "{printed}");
    }
}
