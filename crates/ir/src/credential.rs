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
    /// Names that many servers read as that of the header, since they take `_` for `-` (RFC 3875 §4.1.18). Requests are sent without them.
    pub aliases: Box<[HeaderName]>,
    /// The value of the header.
    pub value: CredentialValue,
}

/// The most dashes of a name for which every mixture of `-` and `_` is an alias.
const MIXED: u32 = 4;

impl RequestCredential {
    /// A credential with the aliases of its header.
    pub fn new(source: Arc<str>, header: HeaderName, value: CredentialValue) -> Self {
        let name = header.as_str();
        let dashes: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
        let count = u32::try_from(dashes.len()).unwrap_or(u32::MAX);
        let all = if count <= MIXED { 1..1_u32 << count } else { u32::MAX - 1..u32::MAX };
        let alias = |mixture: u32| {
            let mut octets = name.as_bytes().to_vec();
            for (bit, at) in dashes.iter().enumerate() {
                // Of longer names only the one without any dash.
                if (count > MIXED || mixture >> bit & 1 == 1)
                    && let Some(octet) = octets.get_mut(*at)
                {
                    *octet = b'_';
                }
            }
            HeaderName::parse(&String::from_utf8_lossy(&octets)).ok()
        };
        let aliases = all.filter_map(alias).collect();
        Self { source, header, aliases, value }
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
        RequestCredential::new("Secret a/b".into(), HeaderName::parse(header).unwrap(), value)
    }

    #[test]
    fn rfc_3875_4_1_18_names_with_underscores_are_aliases() {
        let aliases = |header| of(header).aliases.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(aliases("authorization"), [""; 0]);
        assert_eq!(aliases("x-api-key"), ["x_api-key", "x-api_key", "x_api_key"]);
        assert_eq!(aliases("a-b-c-d-e").len(), 15);
        assert_eq!(aliases("a-b-c-d-e-f"), ["a_b_c_d_e_f"]);
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
