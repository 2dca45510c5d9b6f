//! Users of a forward proxy, who send their name and password with each request (RFC 7617).

use super::answer::{Refused, refusal};
use crate::claims::Claims;
use crate::route::LocalAnswer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::ProxyUsers;
use serde_json::Value;
use text::FieldValue;
use wire::view::Fields;

/// The issuer of the identities of users: policies know them as `basic/USER`.
const ISSUER: &str = "basic";

/// The identity of the user whose credentials the request has; an answer if there are none, or other ones. `is_known` says that the client is known
/// by its certificate or a token.
pub fn authenticate(users: &ProxyUsers, fields: Fields<'_>, is_known: bool) -> Result<Option<Claims>, LocalAnswer> {
    let mut sent = fields.all("proxy-authorization");
    let (first, second) = (sent.next(), sent.next());
    let credentials = first.filter(|_| second.is_none()).and_then(credentials);
    match credentials {
        Some((user, password)) if users.has(&user, &password) => {
            let claims = [("iss", Value::from(ISSUER)), ("sub", Value::from(user))];
            Ok(Some(Claims::new(claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), &[])))
        }
        Some(_) => Err(unauthenticated("the user or the password is not right", "egress_unauthenticated{credentials}")),
        None if is_known => Ok(None),
        None if first.is_some() => Err(unauthenticated(
            "`Proxy-Authorization` is not of the form of Basic",
            "egress_unauthenticated{malformed}",
        )),
        None => Err(unauthenticated("the proxy needs a user and a password", "egress_unauthenticated{missing}")),
    }
}

/// User and password of `Basic`.
fn credentials(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    let decoded = scheme.eq_ignore_ascii_case(b"basic ").then(|| STANDARD.decode(encoded.trim_ascii()).ok())??;
    let colon = decoded.iter().position(|octet| *octet == b':')?;
    let (user, password) = decoded.split_at(colon);
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

fn unauthenticated(reason: &str, detail: &'static str) -> LocalAnswer {
    let challenge = ("proxy-authenticate", FieldValue::from("Basic realm=\"moongate\""));
    let reason = format!("{reason}. Put them into the proxy's URL (`http://USER:PASSWORD@HOST:PORT`).");
    LocalAnswer { fields: vec![challenge], ..refusal(407, detail, Refused::Denied, &reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::view::{Field, Span};

    fn users() -> ProxyUsers {
        ProxyUsers::new([("alice".to_owned(), b"open: sesame".to_vec()), ("empty".to_owned(), Vec::new())])
    }

    /// The principal, or the detail of the answer.
    fn asked(values: &[&str], is_known: bool) -> Result<Option<String>, &'static str> {
        let (mut buffer, mut index) = (b"proxy-authorization".to_vec(), Vec::new());
        let name = Span { start: 0, end: buffer.len() as u32 };
        for value in values {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(value.as_bytes());
            index.push(Field { name, value: Span { start, end: buffer.len() as u32 } });
        }
        let found = authenticate(&users(), Fields::new(&buffer, &index), is_known);
        found.map(|claims| claims.and_then(|claims| claims.principal())).map_err(|answer| answer.detail)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn users_are_known_by_their_passwords() {
        assert_eq!(asked(&[&basic("alice:open: sesame")], false), Ok(Some("basic/alice".to_owned())));
        assert_eq!(
            asked(&[&basic("alice:open: sesame").replace("Basic", "bASIC")], false),
            Ok(Some("basic/alice".into()))
        );
        for wrong in
            ["alice:open", "alice:open: sesame ", "alice:", "bob:open: sesame", ":", "empty:x", "Alice:open: sesame"]
        {
            assert_eq!(asked(&[&basic(wrong)], false), Err("egress_unauthenticated{credentials}"), "{wrong}");
            assert_eq!(asked(&[&basic(wrong)], true), Err("egress_unauthenticated{credentials}"), "{wrong}");
        }
        // An empty password is no password.
        assert_eq!(asked(&[&basic("empty:")], false), Err("egress_unauthenticated{credentials}"));
    }

    #[test]
    fn without_credentials_a_client_is_asked_for_them_unless_it_is_known() {
        assert_eq!(asked(&[], false), Err("egress_unauthenticated{missing}"));
        assert_eq!(asked(&[], true), Ok(None));
        assert_eq!(asked(&["Bearer x"], true), Ok(None));
        for malformed in ["", "Basic", "Basic ", "Basic !", "Bearer x", "Basic YWxpY2U="] {
            assert_eq!(asked(&[malformed], false), Err("egress_unauthenticated{malformed}"), "{malformed}");
        }
        let twice = basic("alice:open: sesame");
        assert_eq!(asked(&[&twice, &twice], false), Err("egress_unauthenticated{malformed}"));
    }
}
