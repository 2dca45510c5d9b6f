//! Tokens with odd headers and payloads.

use super::{By, Failure, SIGNERS, encoded, es256, judged, payload, signed};
use aws_lc_rs::rand::SystemRandom;

/// Further members of a header say nothing, and octets that are no text are no JSON.
#[test]
fn odd_headers_and_payloads_have_one_meaning() {
    for more in [
        r#""typ": "at+jwt""#,
        r#""typ": 5"#,
        r#""cty": "JWT""#,
        r#""zip": "DEF""#,
        // Without `crit` it has no effect (RFC 7797 §6): the payload is base64url.
        r#""b64": false"#,
        r#""x5t": "AAAA""#,
        r#""nonce": {"a": [1]}"#,
        r#""Alg": "none""#,
    ] {
        let header = format!(r#"{{"alg": "ES256", "kid": "p256", {more}}}"#);
        judged(&signed(&header, &payload(""), By::P256), Ok(()));
        judged(&signed(&header, &payload(""), By::Other), Err(Failure::Signature));
    }
    // Blanks around the members are signed with them.
    judged(&es256(&format!("\n {} \t", payload(""))), Ok(()));
    let raw = |payload: &[u8]| {
        let message = format!("{}.{}", encoded(r#"{"alg": "ES256", "kid": "p256"}"#), encoded(payload));
        let signature = SIGNERS.p256.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encoded(signature))
    };
    let text = payload("");
    for octets in [
        &[b"\xef\xbb\xbf", text.as_bytes()].concat()[..],
        &[text.as_bytes(), b"\0"].concat(),
        &[text.as_bytes(), b"{}"].concat(),
        &text.replace("alice", "a\u{0}b").into_bytes(),
        &[b"{\"iss\": \"", &b"\xff"[..], b"\"}"].concat(),
        br#"{'iss': 'https://one.test'}"#,
        br#"{"iss": "https://one.test",}"#,
        br#"{"iss": "https://one.test"} // comment"#,
        br#"{"iss": "\ud800"}"#,
        br#"{"exp": 0x7fffffff}"#,
        br#"{"exp": NaN}"#,
    ] {
        judged(&raw(octets), Err(Failure::PayloadJson));
    }
}
