//! One public key and the algorithms that it verifies. The type of the key decides which those are, never a token: a public key cannot be
//! taken for the secret of an HMAC, and a curve goes with one hash.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use std::fmt;

/// The fields of keys are read with and without padding, as in Envoy.
const FIELD: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Octets of an RSA modulus: shorter ones can be factored, longer ones take too long.
const RSA_OCTETS: std::ops::RangeInclusive<usize> = 256..=1024;

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A public key.
pub(crate) struct Key {
    /// Its name, by which tokens refer to it.
    pub(crate) kid: Option<Box<str>>,
    /// The one algorithm that it is for, if it names one.
    pub(crate) alg: Option<Box<str>>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

/// A text of an object, where it is there and a text.
fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

fn octets(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name).ok_or_else(|| format!("`{name}` is missing or not a string"))?;
    FIELD.decode(text).map_err(|_| format!("`{name}` is not base64url"))
}

fn without_leading_zeros(octets: &[u8]) -> &[u8] {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
    octets.get(start..).unwrap_or_default()
}

impl Key {
    /// The key of a JWK (RFC 7517), or why it cannot be used.
    pub(crate) fn parse(jwk: &Map<String, Value>) -> Result<Self, String> {
        if text(jwk, "use").is_some_and(|purpose| purpose != "sig") {
            return Err("`use` is not `sig`".to_owned());
        }
        let kty = text(jwk, "kty").ok_or("`kty` is missing or not a string")?;
        let (algorithms, key) = match kty {
            "RSA" => (RSA, rsa(jwk)?),
            "EC" => elliptic(jwk)?,
            "OKP" => (&[Algorithm::EdDSA][..], edwards(jwk)?),
            "oct" => return Err("`kty` is `oct`: a shared secret is not accepted".to_owned()),
            other => return Err(format!("`kty` is `{other}`, which is not supported")),
        };
        let alg = text(jwk, "alg");
        if let Some(alg) = alg
            && !algorithms.iter().any(|algorithm| name(*algorithm) == alg)
        {
            return Err(format!("`alg` is `{alg}`, which does not go with the key"));
        }
        Ok(Self { kid: text(jwk, "kid").map(Into::into), alg: alg.map(Into::into), algorithms, key })
    }

    /// Whether the signature of a message is of this key by the algorithm of this name.
    pub(crate) fn verifies(&self, alg: &str, message: &[u8], signature: &Vec<u8>) -> bool {
        let Some(algorithm) = self.algorithms.iter().find(|algorithm| name(**algorithm) == alg) else { return false };
        // The factory of the engine itself: the default of the process panics where there is none or two.
        match (DEFAULT_PROVIDER.verifier_factory)(algorithm, &self.key) {
            Ok(verifier) => verifier.verify(message, signature).is_ok(),
            Err(_) => false,
        }
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, String> {
    let (modulus, exponent) = (octets(jwk, "n")?, octets(jwk, "e")?);
    let (modulus, exponent) = (without_leading_zeros(&modulus), without_leading_zeros(&exponent));
    if !RSA_OCTETS.contains(&modulus.len()) {
        return Err(format!("`n` has {} bits; 2048 to 8192 are accepted", modulus.len() * 8));
    }
    // The two that are in use; Envoy refuses others, too.
    if exponent != [3] && exponent != [1, 0, 1] {
        return Err("`e` is neither 3 nor 65537".to_owned());
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn elliptic(jwk: &Map<String, Value>) -> Result<(&'static [Algorithm], DecodingKey), String> {
    let curve = match (text(jwk, "crv"), text(jwk, "alg")) {
        (Some(curve), _) => curve,
        (None, Some("ES384")) => "P-384",
        (None, _) => "P-256",
    };
    let (algorithms, length) = match curve {
        "P-256" => (&[Algorithm::ES256][..], 32),
        "P-384" => (&[Algorithm::ES384][..], 48),
        other => return Err(format!("`crv` is `{other}`; P-256 and P-384 are supported")),
    };
    let mut point = vec![4];
    for name in ["x", "y"] {
        let octets = octets(jwk, name)?;
        let coordinate = without_leading_zeros(&octets);
        let padding =
            usize::checked_sub(length, coordinate.len()).ok_or_else(|| format!("`{name}` is too long for {curve}"))?;
        point.resize(point.len() + padding, 0);
        point.extend_from_slice(coordinate);
    }
    Ok((algorithms, DecodingKey::from_ec_der(&point)))
}

fn edwards(jwk: &Map<String, Value>) -> Result<DecodingKey, String> {
    match text(jwk, "crv") {
        Some("Ed25519") => {}
        Some(other) => return Err(format!("`crv` is `{other}`; Ed25519 is supported")),
        None => return Err("`crv` is missing or not a string".to_owned()),
    }
    let point = octets(jwk, "x")?;
    if point.len() != 32 {
        return Err(format!("`x` has {} octets instead of 32", point.len()));
    }
    Ok(DecodingKey::from_ed_der(&point))
}

/// The name of an algorithm in tokens.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        _ => "",
    }
}
