//! Tokens that are accepted and refused: each attack, and each legal form. What becomes of requests is in `requests`.

mod odd;
mod requests;

use super::*;
use crate::fixture::{ask, get};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ir::policy::{ClaimHeader, KeySource, TokenHeader};
use jose::Keys;
use std::sync::LazyLock;

const NOW: u64 = 1_800_000_000;

/// The private keys of the tests, and the sets with their public keys.
struct Signers {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    other: EcdsaKeyPair,
}

static SIGNERS: LazyLock<Signers> = LazyLock::new(|| {
    let elliptic = |algorithm: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(algorithm).unwrap();
    Signers {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        p256: elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING),
        p384: elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING),
        ed: Ed25519KeyPair::generate().unwrap(),
        other: elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING),
    }
});

fn encoded(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn elliptic_jwk(key: &EcdsaKeyPair, curve: &str, more: &str) -> String {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    format!(r#"{{"kty": "EC", "crv": "{curve}", "x": "{}", "y": "{}"{more}}}"#, encoded(x), encoded(y))
}

fn rsa_jwk(more: &str) -> String {
    let key = SIGNERS.rsa.public_key();
    let (n, e) = (key.modulus(), key.exponent());
    let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
    format!(r#"{{"kty": "RSA", "n": "{}", "e": "{}"{more}}}"#, encoded(n), encoded(e))
}

fn ed_jwk(more: &str) -> String {
    format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{}"{more}}}"#, encoded(SIGNERS.ed.public_key()))
}

fn set(keys: &[String]) -> Keys {
    Keys::parse(&format!(r#"{{"keys": [{}]}}"#, keys.join(", "))).unwrap()
}

/// A set with one key of each type, each named.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    set(&[
        rsa_jwk(r#", "kid": "rsa""#),
        elliptic_jwk(&SIGNERS.p256, "P-256", r#", "kid": "p256", "alg": "ES256", "use": "sig""#),
        elliptic_jwk(&SIGNERS.p384, "P-384", r#", "kid": "p384""#),
        ed_jwk(r#", "kid": "ed""#),
    ])
});

/// How a message is signed.
#[derive(Clone, Copy)]
enum By {
    Rsa(&'static dyn RsaEncoding),
    P256,
    P384,
    Ed,
    /// A key that no set has.
    Other,
    /// The public key of the RSA pair as the secret of an HMAC.
    Confused,
}

fn signed(header: &str, payload: &str, by: By) -> String {
    let message = format!("{}.{}", encoded(header), encoded(payload));
    let (random, octets) = (SystemRandom::new(), message.as_bytes());
    let signature = match by {
        By::Rsa(padding) => {
            let mut signature = vec![0; SIGNERS.rsa.public_modulus_len()];
            SIGNERS.rsa.sign(padding, &random, octets, &mut signature).unwrap();
            signature
        }
        By::P256 => SIGNERS.p256.sign(&random, octets).unwrap().as_ref().to_vec(),
        By::P384 => SIGNERS.p384.sign(&random, octets).unwrap().as_ref().to_vec(),
        By::Ed => SIGNERS.ed.sign(octets).as_ref().to_vec(),
        By::Other => SIGNERS.other.sign(&random, octets).unwrap().as_ref().to_vec(),
        By::Confused => {
            let modulus = SIGNERS.rsa.public_key().modulus();
            let secret = hmac::Key::new(hmac::HMAC_SHA256, modulus.big_endian_without_leading_zero());
            hmac::sign(&secret, octets).as_ref().to_vec()
        }
    };
    format!("{message}.{}", encoded(signature))
}

fn provider(issuer: &str) -> Provider {
    Provider {
        origin: ir::Origin {
            kind: ir::ObjectKind::RequestAuthentication,
            namespace: "default".into(),
            name: "ra".into(),
            rule: "jwtRules[0]".into(),
        },
        issuer: issuer.into(),
        audiences: Vec::new(),
        keys: KeySource::None,
        from_headers: vec![TokenHeader { name: name("authorization"), prefix: "Bearer ".into() }],
        from_params: vec!["access_token".into()],
        from_cookies: Vec::new(),
        forward_original_token: false,
        payload_header: None,
        claim_headers: Vec::new(),
        space_delimited_claims: Vec::new(),
    }
}

fn name(name: &str) -> HeaderName {
    HeaderName::parse(name).unwrap()
}

fn verified(provider: &Provider, token: &str, keys: &Keys) -> Result<Verified, Failure> {
    Verified::verify(provider, token, NOW, |_| Ok(keys))
}

const ISSUER: &str = "https://one.test";

/// A payload of the issuer with these members besides.
fn payload(more: &str) -> String {
    format!(r#"{{"iss": "{ISSUER}", "sub": "alice"{more}}}"#)
}

fn es256(payload: &str) -> String {
    signed(r#"{"alg": "ES256", "kid": "p256"}"#, payload, By::P256)
}

/// Changes the signature of a token.
fn with_signature(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    change(&mut signature);
    format!("{message}.{}", encoded(signature))
}

#[track_caller]
fn judged(token: &str, expected: Result<(), Failure>) {
    let found = verified(&provider(ISSUER), token, &KEYS).map(|_| ());
    assert_eq!(found, expected, "{token}");
}

#[test]
fn every_algorithm_is_verified_by_a_key_of_its_type() {
    for (alg, kid, by) in [
        ("RS256", "rsa", By::Rsa(&RSA_PKCS1_SHA256)),
        ("RS384", "rsa", By::Rsa(&RSA_PKCS1_SHA384)),
        ("RS512", "rsa", By::Rsa(&RSA_PKCS1_SHA512)),
        ("PS256", "rsa", By::Rsa(&RSA_PSS_SHA256)),
        ("PS384", "rsa", By::Rsa(&RSA_PSS_SHA384)),
        ("PS512", "rsa", By::Rsa(&RSA_PSS_SHA512)),
        ("ES256", "p256", By::P256),
        ("ES384", "p384", By::P384),
        ("EdDSA", "ed", By::Ed),
    ] {
        judged(&signed(&format!(r#"{{"alg": "{alg}", "kid": "{kid}"}}"#), &payload(""), by), Ok(()));
        // Without a name every key of the set is tried.
        judged(&signed(&format!(r#"{{"typ": "JWT", "alg": "{alg}"}}"#), &payload(""), by), Ok(()));
        judged(&signed(&format!(r#"{{"alg": "{alg}", "kid": ""}}"#), &payload(""), by), Ok(()));
        // A signature of another key.
        let other = signed(&format!(r#"{{"alg": "{alg}", "kid": "{kid}"}}"#), &payload(""), By::Other);
        judged(&other, Err(Failure::Signature));
        // One bit of the signature, or of the message, is another.
        let token = signed(&format!(r#"{{"alg": "{alg}", "kid": "{kid}"}}"#), &payload(""), by);
        judged(&with_signature(&token, |signature| signature[7] ^= 1), Err(Failure::Signature));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{}.{}.{signature}", message.split_once('.').unwrap().0, encoded(payload(r#", "x": 1"#)));
        judged(&forged, Err(Failure::Signature));
    }
}

#[test]
fn an_algorithm_that_is_not_the_key_s_is_refused() {
    for (header, by, failure) in [
        // No algorithm at all.
        (r#"{"alg": "none"}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": "None"}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": "NONE"}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": ""}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": "es256"}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": "RSA1_5"}"#, By::P256, Failure::UnsupportedAlg),
        (r#"{"alg": ["ES256"]}"#, By::P256, Failure::HeaderAlg),
        (r#"{"alg": null}"#, By::P256, Failure::HeaderAlg),
        (r#"{"kid": "p256"}"#, By::P256, Failure::HeaderAlg),
        // The public key as a secret.
        (r#"{"alg": "HS256", "kid": "rsa"}"#, By::Confused, Failure::Signature),
        (r#"{"alg": "HS256"}"#, By::Confused, Failure::Signature),
        (r#"{"alg": "HS512", "kid": "p256"}"#, By::Confused, Failure::NoMatchingKey),
        // A key of another type, a curve with the hash of another, one padding for the other.
        (r#"{"alg": "RS256", "kid": "p384"}"#, By::P384, Failure::Signature),
        (r#"{"alg": "ES384", "kid": "p256"}"#, By::P256, Failure::NoMatchingKey),
        (r#"{"alg": "ES512", "kid": "p384"}"#, By::P384, Failure::Signature),
        (r#"{"alg": "PS256", "kid": "rsa"}"#, By::Rsa(&RSA_PKCS1_SHA256), Failure::Signature),
        (r#"{"alg": "RS256", "kid": "rsa"}"#, By::Rsa(&RSA_PSS_SHA256), Failure::Signature),
        (r#"{"alg": "RS512", "kid": "rsa"}"#, By::Rsa(&RSA_PKCS1_SHA256), Failure::Signature),
        (r#"{"alg": "EdDSA", "kid": "p384"}"#, By::Ed, Failure::Signature),
        // The key of the set that the header names, or none.
        (r#"{"alg": "ES256", "kid": "other"}"#, By::P256, Failure::NoMatchingKey),
        (r#"{"alg": "ES256", "kid": "P256"}"#, By::P256, Failure::NoMatchingKey),
        (r#"{"alg": "ES256", "kid": "../../dev/null"}"#, By::P256, Failure::NoMatchingKey),
        (r#"{"alg": "ES256", "kid": "' OR 1=1 --"}"#, By::P256, Failure::NoMatchingKey),
        (r#"{"alg": "ES256", "kid": 1}"#, By::P256, Failure::HeaderKid),
        (r#"{"alg": "ES256", "kid": null}"#, By::P256, Failure::HeaderKid),
        (r#"{"alg": "ES256", "kid": ["p256"]}"#, By::P256, Failure::HeaderKid),
    ] {
        judged(&signed(header, &payload(""), by), Err(failure));
    }
}

#[test]
fn a_header_brings_no_key_and_no_extension() {
    let own = elliptic_jwk(&SIGNERS.other, "P-256", r#", "kid": "p256""#);
    for more in [
        format!(r#""jwk": {own}"#),
        r#""jku": "https://evil.test/jwks.json""#.to_owned(),
        r#""x5u": "https://evil.test/cert.pem""#.to_owned(),
        r#""x5c": ["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg": "ES256", "kid": "p256", {more}}}"#);
        judged(&signed(&header, &payload(""), By::Other), Err(Failure::Signature));
        judged(&signed(&header, &payload(""), By::P256), Ok(()));
    }
    for crit in [r#""crit": ["b64"], "b64": false"#, r#""crit": ["exp"]"#, r#""crit": []"#] {
        let header = format!(r#"{{"alg": "ES256", "kid": "p256", {crit}}}"#);
        judged(&signed(&header, &payload(""), By::P256), Err(Failure::HeaderCrit));
    }
}

#[test]
fn malformed_signatures_are_refused() {
    let token = es256(&payload(""));
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 9] = [
        |signature| signature.fill(0),
        |signature| signature[..32].fill(0),
        |signature| signature[32..].fill(0),
        |signature| signature.fill(0xff),
        |signature| signature.truncate(63),
        |signature| signature.truncate(1),
        |signature| signature.push(0),
        |signature| signature.extend_from_within(..),
        // The form of X.509 (DER) around halves of the same numbers.
        |signature| {
            let (r, s) = signature.split_at(32);
            let der = [&[0x30, 0x44, 0x02, 0x20], r, &[0x02, 0x20], s].concat();
            *signature = der;
        },
    ];
    for change in changes {
        judged(&with_signature(&token, change), Err(Failure::Signature));
    }
    let rsa = signed(r#"{"alg": "RS256", "kid": "rsa"}"#, &payload(""), By::Rsa(&RSA_PKCS1_SHA256));
    let changes: [Change; 6] = [
        |signature| signature.fill(0),
        |signature| signature.fill(0xff),
        |signature| signature.truncate(255),
        |signature| signature.insert(0, 0),
        |signature| signature.push(0),
        |signature| *signature = vec![1],
    ];
    for change in changes {
        judged(&with_signature(&rsa, change), Err(Failure::Signature));
    }
    let ed = signed(r#"{"alg": "EdDSA", "kid": "ed"}"#, &payload(""), By::Ed);
    let changes: [Change; 5] = [
        |signature| signature.fill(0),
        |signature| signature.truncate(63),
        |signature| signature.push(0),
        |signature| signature[..32].fill(0),
        // `s` is larger than the order of the group: another text for the same signature.
        |signature| signature[63] |= 0xe0,
    ];
    for change in changes {
        judged(&with_signature(&ed, change), Err(Failure::Signature));
    }
}

#[test]
fn a_token_has_three_parts_of_base64url_and_two_objects() {
    let token = es256(&payload(""));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    for text in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a..c",
        ".b.c",
        "a.b.",
        "a.b.c.d",
        &format!("{token}."),
        &format!(".{token}"),
        &format!("{token}.x"),
        &format!("{message}."),
        message,
        &format!("{header}..{signature}"),
    ] {
        judged(text, Err(Failure::BadFormat));
    }
    // Five parts: an encrypted token (JWE), which is none.
    judged(&format!("{header}.{body}.{signature}.{body}.{signature}"), Err(Failure::BadFormat));
    judged(&format!("{header}=.{body}.{signature}"), Err(Failure::HeaderBase64));
    judged(&format!(" {token}"), Err(Failure::HeaderBase64));
    judged(&format!("Toke {token}"), Err(Failure::HeaderJson));
    judged(&format!("{header}+.{body}.{signature}"), Err(Failure::HeaderBase64));
    judged(&format!("{header}.{body}==.{signature}"), Err(Failure::PayloadBase64));
    judged(&format!("{header}.{body}/.{signature}"), Err(Failure::PayloadBase64));
    judged(&format!("{header}.{body}.{signature}=="), Err(Failure::SignatureBase64));
    judged(&format!("{header}.{body}.{signature} "), Err(Failure::SignatureBase64));
    for header in
        ["[]", "null", "", "{", r#"{"alg": "ES256", "alg": "none"}"#, r#"{"alg": "ES256", "\u0061lg": "ES256"}"#]
    {
        judged(
            &signed(header, &payload(""), By::P256),
            Err(if header.is_empty() { Failure::BadFormat } else { Failure::HeaderJson }),
        );
    }
    let twice = format!(r#"{{"iss": "{ISSUER}", "iss": "https://two.test"}}"#);
    let nested = payload(r#", "a": {"b": 1, "b": 2}"#);
    let deep = payload(&format!(r#", "a": {}{}"#, "[".repeat(500), "]".repeat(500)));
    for body in ["[]", "1", "null", "{", &twice, &nested, &deep, &payload(r#", "exp": 1e400"#)] {
        judged(&es256(body), Err(Failure::PayloadJson));
    }
    let huge = es256(&payload(&format!(r#", "x": "{}""#, "x".repeat(jose::MAX_TOKEN))));
    judged(&huge, Err(Failure::BadFormat));
    let large = es256(&payload(&format!(r#", "x": "{}""#, "x".repeat(jose::MAX_TOKEN / 2))));
    judged(&large, Ok(()));
}

#[test]
fn registered_claims_have_their_types() {
    for (more, failure) in [
        (r#", "sub": 5"#, Failure::Sub),
        (r#", "iat": "5""#, Failure::Iat),
        (r#", "iat": -5"#, Failure::IatRange),
        (r#", "nbf": true"#, Failure::Nbf),
        (r#", "nbf": -1"#, Failure::NbfRange),
        (r#", "exp": "4102444800""#, Failure::Exp),
        (r#", "exp": null"#, Failure::Exp),
        (r#", "exp": -1"#, Failure::ExpRange),
        (r#", "exp": 1e30"#, Failure::ExpRange),
        (r#", "jti": {}"#, Failure::Jti),
        (r#", "aud": 1"#, Failure::Aud),
        (r#", "aud": ["a", 1]"#, Failure::Aud),
    ] {
        judged(&es256(&format!(r#"{{"iss": "{ISSUER}"{more}}}"#)), Err(failure));
    }
    judged(&es256(r#"{"iss": 1}"#), Err(Failure::Iss));
    for body in [
        r#"{"sub": "alice"}"#,
        r#"{"iss": ""}"#,
        r#"{"iss": "https://two.test"}"#,
        r#"{"iss": "https://one.test/"}"#,
        r#"{"iss": "HTTPS://ONE.TEST"}"#,
    ] {
        judged(&es256(body), Err(Failure::UnknownIssuer));
    }
}

#[test]
fn times_hold_within_a_minute() {
    for (more, expected) in [
        (format!(r#", "exp": {}"#, NOW - 60), Ok(())),
        (format!(r#", "exp": {}"#, NOW - 61), Err(Failure::Expired)),
        (format!(r#", "exp": {}.9"#, NOW - 61), Err(Failure::Expired)),
        (r#", "exp": 0"#.to_owned(), Err(Failure::Expired)),
        (r#", "exp": 18446744073709551615"#.to_owned(), Ok(())),
        (format!(r#", "nbf": {}"#, NOW + 60), Ok(())),
        (format!(r#", "nbf": {}"#, NOW + 61), Err(Failure::NotYetValid)),
        (format!(r#", "nbf": {}, "exp": 1"#, NOW + 61), Err(Failure::NotYetValid)),
        // When it was issued is not judged, as in Envoy.
        (format!(r#", "iat": {}"#, NOW + 1_000_000), Ok(())),
    ] {
        judged(&es256(&payload(&more)), expected);
    }
    let token = verified(&provider(ISSUER), &es256(&payload(&format!(r#", "exp": {NOW}"#))), &KEYS).unwrap();
    assert_eq!(token.check_time(NOW + 60), Ok(()));
    assert_eq!(token.check_time(NOW + 61), Err(Failure::Expired));
}

#[test]
fn one_audience_has_to_be_one_of_the_provider_s() {
    let with = |audiences: &[&str], more: &str| {
        let provider =
            Provider { audiences: audiences.iter().map(|audience| (*audience).into()).collect(), ..provider(ISSUER) };
        verified(&provider, &es256(&payload(more)), &KEYS).map(|_| ())
    };
    for (audiences, more) in [
        (&["a"][..], r#", "aud": "a""#),
        (&["a", "b"], r#", "aud": ["x", "b"]"#),
        (&["https://a"], r#", "aud": "http://a/""#),
        (&["a/"], r#", "aud": "https://a""#),
        (&[], ""),
    ] {
        assert_eq!(with(audiences, more), Ok(()), "{more}");
    }
    for (audiences, more) in [
        (&["a"][..], ""),
        (&["a"], r#", "aud": []"#),
        (&["a"], r#", "aud": "A""#),
        (&["a"], r#", "aud": "a b""#),
        (&["a"], r#", "aud": ["ab", ""]"#),
    ] {
        assert_eq!(with(audiences, more), Err(Failure::Audience), "{more}");
    }
    // What is wrong before the signature is said first, as in Envoy.
    let other = signed(r#"{"alg": "ES256", "kid": "p256"}"#, &payload(""), By::Other);
    let provider = Provider { audiences: vec!["a".into()], ..provider(ISSUER) };
    assert_eq!(verified(&provider, &other, &KEYS).map(|_| ()), Err(Failure::Audience));
}

#[test]
fn sets_of_keys_are_read_strictly() {
    let p256 = elliptic_jwk(&SIGNERS.p256, "P-256", "");
    let with = |name: &str, value: &str| {
        let mut jwk: serde_json::Value = serde_json::from_str(&p256).unwrap();
        jwk[name] = value.into();
        Keys::parse(&format!(r#"{{"keys": [{jwk}]}}"#))
    };
    assert!(Keys::parse(&format!(r#"{{"keys": [{p256}]}}"#)).is_ok());
    assert!(with("alg", "ES256").is_ok() && with("use", "sig").is_ok());
    for (name, value) in [
        ("use", "enc"),
        ("kty", "oct"),
        ("kty", "RSA"),
        ("kty", "X"),
        ("crv", "P-521"),
        ("crv", "P-384x"),
        ("alg", "RS256"),
        ("alg", "HS256"),
        ("alg", "none"),
        ("x", "!"),
        ("y", &encoded([1; 33])),
    ] {
        assert!(with(name, value).is_err(), "{name}: {value}");
    }
    let short = format!(r#"{{"keys": [{{"kty": "RSA", "e": "AQAB", "n": "{}"}}]}}"#, encoded([0xff; 128]));
    let even = format!(r#"{{"keys": [{{"kty": "RSA", "e": "AQ", "n": "{}"}}]}}"#, encoded([0xff; 256]));
    let many = format!(r#"{{"keys": [{}]}}"#, vec![p256.as_str(); 65].join(","));
    let repeated = format!(r#"{{"keys": [{p256}], "keys": []}}"#);
    for text in
        ["", "{}", "[]", r#"{"keys": {}}"#, r#"{"keys": []}"#, r#"{"keys": [1]}"#, &short, &even, &many, &repeated]
    {
        assert!(Keys::parse(text).is_err(), "{text}");
    }
    // One that can be used is enough, and the others are named.
    let mixed = Keys::parse(&format!(r#"{{"keys": [{{"kty": "oct", "k": "AAAA"}}, {p256}]}}"#)).unwrap();
    assert!(mixed.unusable()[0].starts_with("keys[0]: "), "{:?}", mixed.unusable());
    assert_eq!(verified(&provider(ISSUER), &es256(&payload("")), &mixed).map(|_| ()), Ok(()));
    assert_eq!(verified(&provider(ISSUER), &es256(&payload("")), &Keys::default()).map(|_| ()), Err(Failure::NoKeys));
}
