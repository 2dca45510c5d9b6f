//! The messages of the client credentials grant (RFC 6749 §4.4): the request for a token, and what the response says. No text of an error has a
//! part of the secret or of a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{ClientAuthentication, OAuthClient};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;
use text::FieldValue;

/// How long a token is used whose response does not say how long it is valid.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// The longest time that a token is used.
const LONGEST_LIFETIME: Duration = Duration::from_secs(86_400);

/// The body of a request, and its header `Authorization`.
pub(super) struct TokenRequest {
    pub(super) body: String,
    pub(super) authorization: Option<String>,
}

/// A token as it was issued.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Issued {
    /// The value of `Authorization`.
    pub(super) value: FieldValue<'static>,
    pub(super) lifetime: Duration,
}

/// The request of a client.
pub(super) fn request(client: &OAuthClient) -> TokenRequest {
    let mut body = "grant_type=client_credentials".to_owned();
    for (name, value) in client.parameters.iter() {
        put(&mut body, name, value);
    }
    let authorization = match client.authentication {
        ClientAuthentication::Basic => {
            let pair = format!("{}:{}", encode(&client.id), encode(&client.secret.0));
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        ClientAuthentication::Post => {
            put(&mut body, "client_id", &client.id);
            put(&mut body, "client_secret", &client.secret.0);
            None
        }
    };
    TokenRequest { body, authorization }
}

/// Reads a response (RFC 6749 §5.1).
pub(super) fn response(document: &[u8]) -> Result<Issued, &'static str> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "the response is not JSON")?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let token = text("access_token").filter(|token| !token.is_empty()).ok_or("the response has no `access_token`")?;
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token is not of the type Bearer");
    }
    let value = FieldValue::checked(format!("Bearer {token}").into_bytes());
    let value = value.ok_or("the token has a character that a header cannot have")?;
    let lifetime = match document.get("expires_in") {
        None | Some(Value::Null) => DEFAULT_LIFETIME,
        // Some servers write the number as a text.
        Some(seconds) => {
            let number = seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok());
            Duration::from_secs(number.ok_or("`expires_in` is not a number of seconds")?)
        }
    };
    Ok(Issued { value, lifetime: lifetime.min(LONGEST_LIFETIME) })
}

fn put(body: &mut String, name: &str, value: &str) {
    body.push('&');
    body.push_str(name);
    body.push('=');
    body.push_str(&encode(value));
}

/// The form of `application/x-www-form-urlencoded`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' ' => encoded.push('+'),
            b'*' | b'-' | b'.' | b'_' => encoded.push(octet.into()),
            _ if octet.is_ascii_alphanumeric() => encoded.push(octet.into()),
            _ => drop(write!(encoded, "%{octet:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Hidden;

    fn client(authentication: ClientAuthentication) -> OAuthClient {
        OAuthClient {
            token_url: "https://issuer.test/token".into(),
            id: "the gateway".into(),
            secret: Hidden("s3c:r3t&".into()),
            authentication,
            parameters: [("scope".into(), "read write".into()), ("audience".into(), "https://api.test/".into())].into(),
        }
    }

    #[test]
    fn rfc_6749_2_3_1_clients_say_who_they_are_in_the_header_or_in_the_body() {
        let basic = request(&client(ClientAuthentication::Basic));
        let scope = "grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi.test%2F";
        assert_eq!(basic.body, scope);
        let encoded = STANDARD.encode("the+gateway:s3c%3Ar3t%26");
        assert_eq!(basic.authorization, Some(format!("Basic {encoded}")));
        let post = request(&client(ClientAuthentication::Post));
        assert_eq!(post.body, format!("{scope}&client_id=the+gateway&client_secret=s3c%3Ar3t%26"));
        assert_eq!(post.authorization, None);
    }

    #[test]
    fn rfc_6749_5_1_responses_have_a_token_of_the_type_bearer_and_its_lifetime() {
        let read = |text: &str| response(text.as_bytes()).map(|one| (one.value.to_vec(), one.lifetime.as_secs()));
        let expected = |seconds| Ok((b"Bearer t".to_vec(), seconds));
        assert_eq!(read(r#"{"access_token": "t", "token_type": "bearer", "expires_in": 60}"#), expected(60));
        assert_eq!(read(r#"{"access_token": "t", "expires_in": "3599"}"#), expected(3599));
        assert_eq!(read(r#"{"access_token": "t", "token_type": "Bearer"}"#), expected(300));
        assert_eq!(read(r#"{"access_token": "t", "expires_in": 999999999999}"#), expected(86_400));
        for (bad, why) in [
            ("<html>", "the response is not JSON"),
            (r#"{"error": "invalid_client"}"#, "the response has no `access_token`"),
            (r#"{"access_token": ""}"#, "the response has no `access_token`"),
            (r#"{"access_token": "t", "token_type": "mac"}"#, "the token is not of the type Bearer"),
            (r#"{"access_token": "t\r\nx: y"}"#, "the token has a character that a header cannot have"),
            (r#"{"access_token": "t", "expires_in": -1}"#, "`expires_in` is not a number of seconds"),
        ] {
            assert_eq!(read(bad), Err(why), "{bad}");
        }
    }
}
