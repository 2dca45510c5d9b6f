//! Tokens of PyJWT, `jose` and golang-jwt are valid by their keys, and no token is valid by those of another library. `vectors/README.md` says
//! how they were made.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use jose::{Failure, Keys, Token};
use serde_json::Value;

const FILES: [(&str, &str); 3] = [
    ("PyJWT", include_str!("vectors/pyjwt.json")),
    ("jose", include_str!("vectors/jose.json")),
    ("golang-jwt", include_str!("vectors/golang_jwt.json")),
];
const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const NOW: u64 = 1_800_000_000;

/// The keys of a library, and its tokens with the algorithm of each.
fn read(text: &str) -> (String, Keys, Vec<(String, String)>) {
    let file: Value = serde_json::from_str(text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tokens = file["tokens"].as_array().unwrap();
    let tokens = tokens.iter().map(|token| (text(&token["alg"]), text(&token["token"]))).collect();
    (text(&file["library"]), Keys::parse(&file["jwks"].to_string()).unwrap(), tokens)
}

#[test]
fn tokens_of_three_libraries_are_valid_by_every_algorithm() {
    for (library, text) in FILES {
        let (name, keys, tokens) = read(text);
        assert!(name.starts_with(library) && keys.unusable().is_empty(), "{name}: {:?}", keys.unusable());
        let algorithms: Vec<&str> = tokens.iter().map(|(alg, _)| alg.as_str()).collect();
        assert_eq!(algorithms, ALGORITHMS, "{name}");
        for (alg, token) in &tokens {
            let token = Token::parse(token).unwrap();
            assert_eq!(keys.verify(&token), Ok(()), "{name} {alg}");
            assert_eq!((token.issuer(), token.expires()), ("https://issuer.test", Some(4_102_444_800)), "{name} {alg}");
            assert_eq!((token.check_time(NOW), token.check_audience(["shop"])), (Ok(()), Ok(())), "{name} {alg}");
            let (payload, nested) = (token.payload(), &token.payload()["nested"]);
            assert_eq!(
                (&payload["sub"], &payload["name"]),
                (&"alice".into(), &"Alice Müller 🔑".into()),
                "{name} {alg}"
            );
            assert_eq!((&nested["roles"][1], &nested["number"]), (&"b".into(), &1.5.into()), "{name} {alg}");
        }
    }
}

#[test]
fn a_token_is_not_valid_by_the_keys_of_another_library_or_with_another_payload() {
    let all = FILES.map(|(_, text)| read(text));
    for (name, _, tokens) in &all {
        for (alg, text) in tokens {
            for (other, keys, _) in all.iter().filter(|(other, ..)| other != name) {
                let refused = keys.verify(&Token::parse(text).unwrap()).unwrap_err();
                assert!(matches!(refused, Failure::Signature | Failure::NoMatchingKey), "{name} {alg} by {other}");
            }
        }
    }
    for (name, keys, tokens) in &all {
        for pair in tokens.windows(2) {
            // The signature of one token behind the message of another.
            let (message, signature) = (pair[0].1.rsplit_once('.').unwrap().0, pair[1].1.rsplit_once('.').unwrap().1);
            let mixed = format!("{message}.{signature}");
            assert!(keys.verify(&Token::parse(&mixed).unwrap()).is_err(), "{name} {} by {}", pair[0].0, pair[1].0);
        }
    }
}
