//! Signatures that are not what they should be, in the manner of Wycheproof: numbers at and beyond the order of the curve, other encodings of the
//! same numbers, and octets too many or too few. Only the signature itself is valid, and for ECDSA its counterpart with `n - s`, which JWS
//! allows (RFC 7518 §3.4 asks for no canonical form).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panics")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Failure, Keys, Token};

const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &str =
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
/// Little-endian.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn encoded(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn message(alg: &str) -> String {
    format!("{}.{}", encoded(format!(r#"{{"alg": "{alg}"}}"#)), encoded(r#"{"iss": "one", "sub": "alice"}"#))
}

fn verified(keys: &Keys, message: &str, signature: &[u8]) -> Result<(), Failure> {
    keys.verify(&Token::parse(&format!("{message}.{}", encoded(signature)))?)
}

fn set(jwk: &str) -> Keys {
    Keys::parse(&format!(r#"{{"keys": [{jwk}]}}"#)).unwrap()
}

/// `one - other`, big-endian; `one` is not less.
fn minus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let (mut out, mut borrow) = (one.to_vec(), 0_i16);
    for at in (0..one.len()).rev() {
        let digit = i16::from(one[at]) - i16::from(other[at]) - borrow;
        borrow = i16::from(digit < 0);
        out[at] = digit.rem_euclid(256) as u8;
    }
    out
}

/// `one + other`, big-endian; what overflows is lost.
fn plus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let (mut out, mut carry) = (one.to_vec(), 0_u16);
    for at in (0..one.len()).rev() {
        let digit = u16::from(one[at]) + u16::from(other[at]) + carry;
        (out[at], carry) = ((digit & 0xff) as u8, digit >> 8);
    }
    out
}

fn small(value: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    out[length - 1] = value;
    out
}

/// A number as DER has it: without zeros in front, but one where the first bit is set.
fn der_integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|octet| *octet != 0).unwrap_or(number.len() - 1);
    let mut value = number[start..].to_vec();
    if value[0] & 0x80 != 0 {
        value.insert(0, 0);
    }
    [vec![2, value.len() as u8], value].concat()
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [der_integer(r), der_integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

fn elliptic(alg: &str, curve: &str, algorithm: &'static EcdsaSigningAlgorithm, order: &str) {
    let (pair, order) = (EcdsaKeyPair::generate(algorithm).unwrap(), octets(order));
    let size = order.len();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(size);
    let keys = set(&format!(r#"{{"kty": "EC", "crv": "{curve}", "x": "{}", "y": "{}"}}"#, encoded(x), encoded(y)));
    let message = message(alg);
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec();
    let (r, s) = (signature[..size].to_vec(), signature[size..].to_vec());
    let (zero, one, most) = (small(0, size), small(1, size), vec![0xff; size]);
    assert_eq!(verified(&keys, &message, &signature), Ok(()));
    assert_eq!(verified(&keys, &message, &[r.clone(), minus(&order, &s)].concat()), Ok(()), "{alg} n - s");
    let reversed = |number: &[u8]| number.iter().rev().copied().collect::<Vec<u8>>();
    let flipped = |number: &[u8], at: usize| {
        let mut other = number.to_vec();
        other[at] ^= 1;
        other
    };
    let numbers = [
        ("0, 0", &zero, &zero),
        ("0, s", &zero, &s),
        ("r, 0", &r, &zero),
        ("1, 1", &one, &one),
        ("1, s", &one, &s),
        ("r, 1", &r, &one),
        ("n, s", &order, &s),
        ("r, n", &r, &order),
        ("n, n", &order, &order),
        ("n - 1, s", &minus(&order, &one), &s),
        ("r, n - 1", &r, &minus(&order, &one)),
        ("n + 1, s", &plus(&order, &one), &s),
        ("r, n + 1", &r, &plus(&order, &one)),
        ("most, s", &most, &s),
        ("r, most", &r, &most),
        ("n - r, s", &minus(&order, &r), &s),
        ("n - r, n - s", &minus(&order, &r), &minus(&order, &s)),
        ("s, r", &s, &r),
        ("r, r", &r, &r),
        ("r + 1, s", &plus(&r, &one), &s),
        ("r, s + 1", &r, &plus(&s, &one)),
        ("first bit of r", &flipped(&r, 0), &s),
        ("last bit of s", &r, &flipped(&s, size - 1)),
        ("little-endian", &reversed(&r), &reversed(&s)),
    ];
    for (name, r, s) in numbers {
        assert_eq!(verified(&keys, &message, &[r.as_slice(), s].concat()), Err(Failure::Signature), "{alg}: {name}");
    }
    let long = [&[0x30, 0x81, der(&r, &s).len() as u8 - 2], &der(&r, &s)[2..]].concat();
    let forms: [(&str, Vec<u8>); 14] = [
        ("DER", der(&r, &s)),
        ("DER with a long length", long),
        ("DER of zeros", der(&zero, &zero)),
        ("a zero in front of both", [&[0], &r[..], &[0], &s[..]].concat()),
        ("a zero in front", [&[0], &signature[..]].concat()),
        ("a zero behind", [&signature[..], &[0]].concat()),
        ("twice", signature.repeat(2)),
        ("without the first octet", signature[1..].to_vec()),
        ("without the last octet", signature[..2 * size - 1].to_vec()),
        ("r alone", r.clone()),
        ("r without its first octet", [&r[1..], &s[..]].concat()),
        ("one octet", vec![signature[0]]),
        ("of another length with zeros", [small(0, 16), r.clone(), small(0, 16), s.clone()].concat()),
        ("a point of the key", pair.public_key().as_ref().to_vec()),
    ];
    for (name, signature) in forms {
        assert_eq!(verified(&keys, &message, &signature), Err(Failure::Signature), "{alg}: {name}");
    }
    assert_eq!(verified(&keys, &message, &[]), Err(Failure::BadFormat), "{alg}");
    // The same octets for another message, and for another algorithm.
    let other =
        message.replacen(&encoded(r#"{"iss": "one", "sub": "alice"}"#), &encoded(r#"{"iss": "one", "sub": "bob"}"#), 1);
    assert_eq!(verified(&keys, &other, &signature), Err(Failure::Signature), "{alg}");
}

#[test]
fn numbers_of_ecdsa_are_within_the_order_and_in_the_form_of_jws() {
    // Signatures are different each time, and so are the lengths of their numbers.
    for _ in 0..20 {
        elliptic("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, P256_ORDER);
        elliptic("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, P384_ORDER);
    }
}

#[test]
fn signatures_of_ed25519_have_one_form() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let keys = set(&format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{}"}}"#, encoded(pair.public_key())));
    let message = message("EdDSA");
    let signature = pair.sign(message.as_bytes()).as_ref().to_vec();
    assert_eq!(verified(&keys, &message, &signature), Ok(()));
    let (r, s) = (&signature[..32], &signature[32..]);
    let reversed = |number: &[u8]| number.iter().rev().copied().collect::<Vec<u8>>();
    let order = octets(ED25519_ORDER);
    // `s + L` gives the same point: another text for one signature.
    let beyond = reversed(&plus(&reversed(s), &reversed(&order)));
    let zero = vec![0; 32];
    // The neutral point.
    let neutral: Vec<u8> = reversed(&small(1, 32));
    let forms: [(&str, Vec<u8>); 14] = [
        ("s + L", [r, &beyond].concat()),
        ("s = L", [r, &order].concat()),
        ("s = 0", [r, &zero].concat()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("R = 0", [&zero[..], s].concat()),
        ("the neutral point", [&neutral[..], &zero].concat()),
        ("the neutral point with s", [&neutral[..], s].concat()),
        ("swapped", [s, r].concat()),
        ("big-endian", [reversed(r), reversed(s)].concat()),
        ("a bit of R", [&[r[0] ^ 1], &signature[1..]].concat()),
        ("the last bit", [&signature[..63], &[signature[63] ^ 0x80]].concat()),
        ("without the last octet", signature[..63].to_vec()),
        ("a zero behind", [&signature[..], &[0]].concat()),
    ];
    for (name, signature) in forms {
        assert_eq!(verified(&keys, &message, &signature), Err(Failure::Signature), "{name}");
    }
}

fn rsa(alg: &str, pair: &RsaKeyPair, padding: &'static dyn RsaEncoding) {
    let public = pair.public_key();
    let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
    let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
    let keys = set(&format!(r#"{{"kty": "RSA", "n": "{}", "e": "{}"}}"#, encoded(&modulus), encoded(exponent)));
    let message = message(alg);
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    assert_eq!(verified(&keys, &message, &signature), Ok(()));
    let size = modulus.len();
    let forms: [(&str, Vec<u8>); 13] = [
        ("0", small(0, size)),
        ("1", small(1, size)),
        ("n", modulus.clone()),
        ("n - 1", minus(&modulus, &small(1, size))),
        ("n + 1", plus(&modulus, &small(1, size))),
        ("n - s", minus(&modulus, &signature)),
        ("most", vec![0xff; size]),
        ("one octet 1", vec![1]),
        ("a zero in front", [&[0], &signature[..]].concat()),
        ("a zero behind", [&signature[..], &[0]].concat()),
        ("without the first octet", signature[1..].to_vec()),
        ("without the last octet", signature[..size - 1].to_vec()),
        ("little-endian", signature.iter().rev().copied().collect()),
    ];
    for (name, signature) in forms {
        assert_eq!(verified(&keys, &message, &signature), Err(Failure::Signature), "{alg}: {name}");
    }
}

#[test]
fn signatures_of_rsa_are_numbers_below_the_modulus_with_its_length() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    rsa("RS256", &pair, &RSA_PKCS1_SHA256);
    rsa("PS256", &pair, &RSA_PSS_SHA256);
}
