//! The parts of a token (RFC 7519), its times and audiences.

use crate::failure::Failure;
use crate::json;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// The payload of a token: a JSON object.
pub type Payload = Map<String, Value>;

/// How far the clocks of issuers may be from ours, in seconds (Envoy's default).
const CLOCK_SKEW: u64 = 60;
/// Octets of a token; a longer one is not read.
pub const MAX_TOKEN: usize = 32 << 10;

/// Bits behind the last octet of a signature are passed over, as in Envoy.
const SIGNATURE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Algorithms that a token may name. Which of them counts is decided by the key. `none` is not among them.
const ALGORITHMS: [&str; 13] = [
    "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA",
];

/// A token that was read, but not verified.
#[derive(Debug)]
pub struct Token<'t> {
    pub(crate) alg: Box<str>,
    pub(crate) kid: Option<Box<str>>,
    /// Header and payload as they were signed.
    pub(crate) message: &'t str,
    pub(crate) signature: Vec<u8>,
    /// The payload in base64url.
    encoded_payload: &'t str,
    payload: Payload,
    not_before: u64,
    expires: Option<u64>,
}

impl<'t> Token<'t> {
    /// Reads a token in the compact form. Stricter than Envoy: nothing around the three parts, no padding, no name twice, no `crit`.
    /// Headers that tell where a key is (`jku`, `x5u`, `jwk`, `x5c`) are never read: keys are those of the provider.
    pub fn parse(text: &'t str) -> Result<Self, Failure> {
        let (message, signature) = text.rsplit_once('.').ok_or(Failure::BadFormat)?;
        let (header, encoded_payload) = message.split_once('.').ok_or(Failure::BadFormat)?;
        let parts = [header, encoded_payload, signature];
        if text.len() > MAX_TOKEN || encoded_payload.contains('.') || parts.iter().any(|part| part.is_empty()) {
            return Err(Failure::BadFormat);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| bad_header(header))?;
        let header = json::object(&header).ok_or(Failure::HeaderJson)?;
        let alg = header.get("alg").and_then(Value::as_str).ok_or(Failure::HeaderAlg)?;
        if !ALGORITHMS.contains(&alg) {
            return Err(Failure::UnsupportedAlg);
        }
        // An empty name is no name, as in Envoy.
        let kid = optional_text(&header, "kid", Failure::HeaderKid)?.filter(|kid| !kid.is_empty());
        if header.contains_key("crit") {
            return Err(Failure::HeaderCrit);
        }
        let payload = URL_SAFE_NO_PAD.decode(encoded_payload).map_err(|_| Failure::PayloadBase64)?;
        let payload = json::object(&payload).ok_or(Failure::PayloadJson)?;
        optional_text(&payload, "iss", Failure::Iss)?;
        optional_text(&payload, "sub", Failure::Sub)?;
        time(&payload, "iat", Failure::Iat, Failure::IatRange)?;
        let not_before = time(&payload, "nbf", Failure::Nbf, Failure::NbfRange)?.unwrap_or(0);
        let expires = time(&payload, "exp", Failure::Exp, Failure::ExpRange)?;
        optional_text(&payload, "jti", Failure::Jti)?;
        match payload.get("aud") {
            None | Some(Value::String(_)) => {}
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {}
            Some(_) => return Err(Failure::Aud),
        }
        let signature = SIGNATURE.decode(signature).map_err(|_| Failure::SignatureBase64)?;
        let (alg, kid) = (alg.into(), kid.map(Into::into));
        Ok(Self { alg, kid, message, signature, encoded_payload, payload, not_before, expires })
    }

    /// The name of the key that signed it, if it says so.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Who issued it; empty if it does not say.
    pub fn issuer(&self) -> &str {
        self.payload.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// The payload in base64url, as it was signed.
    pub fn encoded_payload(&self) -> &'t str {
        self.encoded_payload
    }

    /// The payload.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload by value.
    pub fn into_payload(self) -> Payload {
        self.payload
    }

    /// When it expires, in seconds since the epoch; never if it does not say.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// When it begins to be valid, in seconds since the epoch.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Whether it is valid at a time in seconds since the epoch, within the clock skew.
    pub fn check_time(&self, now: u64) -> Result<(), Failure> {
        check_time(self.not_before, self.expires, now)
    }

    /// Whether it is for one of these audiences; an empty list allows every one. As in Envoy, `http://` or `https://` before an audience
    /// and one `/` behind it do not count.
    pub fn check_audience<'a>(&self, allowed: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let mut allowed = allowed.into_iter().map(plain).peekable();
        if allowed.peek().is_none()
            || allowed.any(|allowed| self.audiences().any(|audience| plain(audience) == allowed))
        {
            return Ok(());
        }
        Err(Failure::Audience)
    }

    fn audiences(&self) -> impl Iterator<Item = &str> {
        let list = match self.payload.get("aud") {
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(Value::Array(list)) => list,
            _ => &[],
        };
        list.iter().filter_map(Value::as_str)
    }
}

/// Why a header that is not base64url is refused. Envoy passes over blanks, so that it finds no JSON in what is left of most such texts.
fn bad_header(header: &str) -> Failure {
    let rest: String = header.split_ascii_whitespace().collect();
    match SIGNATURE.decode(rest) {
        Ok(octets) if json::object(&octets).is_none() => Failure::HeaderJson,
        _ => Failure::HeaderBase64,
    }
}

/// Whether a token with these times is valid now; all in seconds since the epoch.
pub fn check_time(not_before: u64, expires: Option<u64>, now: u64) -> Result<(), Failure> {
    if now.saturating_add(CLOCK_SKEW) < not_before {
        return Err(Failure::NotYetValid);
    }
    // Envoy takes an `exp` of 0 for one that never comes; here it is long past.
    if expires.is_some_and(|expires| now > expires.saturating_add(CLOCK_SKEW)) {
        return Err(Failure::Expired);
    }
    Ok(())
}

fn plain(audience: &str) -> &str {
    let rest = audience.strip_prefix("http://").or_else(|| audience.strip_prefix("https://")).unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}

fn optional_text<'a>(object: &'a Payload, name: &str, failure: Failure) -> Result<Option<&'a str>, Failure> {
    object.get(name).map(|value| value.as_str().ok_or(failure)).transpose()
}

/// A time in seconds; a fraction is cut off.
fn time(payload: &Payload, name: &str, type_of: Failure, range: Failure) -> Result<Option<u64>, Failure> {
    let Some(value) = payload.get(name) else { return Ok(None) };
    let Value::Number(number) = value else { return Err(type_of) };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(seconds));
    }
    let seconds =
        number.as_f64().filter(|seconds| (0.0..18_446_744_073_709_551_615.0).contains(seconds)).ok_or(range)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
    Ok(Some(seconds as u64))
}
