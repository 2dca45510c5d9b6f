//! Checks of a certificate besides its chain: names and pins (GW-15, DR-43), the same for clients and endpoints.

mod version;

pub use version::{explain, verify_tls12, verify_tls13};

use aws_lc_rs::digest::{SHA256, digest};
use ir::x509::{Certificate, Name, RevocationList};
use ir::{StringMatch, Trust};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use webpki::EndEntityCert;

/// The most names of a certificate that a message lists.
const LISTED: usize = 5;

/// Checks that a certificate has one of the demanded names, and one of the demanded pins, if there are any.
pub fn check(certificate: &CertificateDer<'_>, trust: &Trust) -> Result<(), Error> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let short = |wanted: &StringMatch| match wanted {
        StringMatch::Exact(name) => covers_by_short_wildcard(certificate, name, trust),
        StringMatch::Prefix(_) | StringMatch::Regex(_) => false,
    };
    if !trust.names.is_empty() && !has_name(&parsed, &trust.names) && !trust.names.iter().any(short) {
        return Err(CertificateError::NotValidForName.into());
    }
    let is_pinned = |pins: &[[u8; 32]], bytes: &[u8]| pins.iter().any(|pin| digest(&SHA256, bytes).as_ref() == pin);
    let pinned = (trust.certificate_pins.is_empty() && trust.key_pins.is_empty())
        || is_pinned(&trust.certificate_pins, certificate)
        || is_pinned(&trust.key_pins, &parsed.subject_public_key_info());
    if pinned { Ok(()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
}

/// SHA-256 of the public key of a certificate, with its algorithm (`SubjectPublicKeyInfo`).
pub(crate) fn key_digest(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let key = digest(&SHA256, &parsed.subject_public_key_info());
    key.as_ref().try_into().map_err(|_| CertificateError::BadEncoding.into())
}

/// Rejects a chain of which a list of revoked certificates does not count yet, as BoringSSL does; webpki looks at the end of a list alone.
pub fn check_lists(
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
) -> Result<(), Error> {
    if trust.revoked.is_empty() {
        return Ok(());
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let chain = || std::iter::once(leaf).chain(between).filter_map(|der| Certificate::parse(der).ok());
    let early = trust.revoked.iter().filter_map(|list| RevocationList::parse(&list.0));
    let mut early = early.filter(|list| list.this_update > now);
    if early.any(|list| chain().any(|certificate| certificate.issuer == list.issuer)) {
        return Err(CertificateError::UnknownRevocationStatus.into());
    }
    Ok(())
}

fn has_name(certificate: &EndEntityCert<'_>, wanted: &[StringMatch]) -> bool {
    let mut names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    names.any(|name| wanted.iter().any(|wanted| is_match(wanted, name)))
}

fn is_match(wanted: &StringMatch, name: &str) -> bool {
    match wanted {
        StringMatch::Exact(exact) => name == &**exact || covers(name, exact),
        StringMatch::Prefix(prefix) => name.starts_with(&**prefix),
        StringMatch::Regex(pattern) => pattern.is_match(name.as_bytes()),
    }
}

/// Whether a name with a wildcard label covers the wanted one (RFC 6125 §6.4.3).
fn covers(name: &str, wanted: &str) -> bool {
    let (Some(suffix), Some((label, rest))) = (name.strip_prefix("*."), wanted.split_once('.')) else { return false };
    !label.is_empty() && rest.eq_ignore_ascii_case(suffix)
}

/// Whether a certificate has `*.test` for the name `a.test`. webpki demands two labels after a wildcard, so that no certificate covers a public
/// suffix; Envoy accepts one, and private CAs issue such names. It is accepted if the configuration gives the CA, and not with the CAs of the
/// system.
pub(crate) fn covers_by_short_wildcard(certificate: &CertificateDer<'_>, wanted: &str, trust: &Trust) -> bool {
    let Ok(certificate) = Certificate::parse(certificate) else { return false };
    let is_short = |name: &&str| name.strip_prefix("*.").is_some_and(is_label);
    !trust.authorities.is_empty() && certificate.dns_names().filter(is_short).any(|name| covers(name, wanted))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Why a handshake failed, for people. rustls formats other errors, such as those of this module, with `Debug`.
pub fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.to_string(),
        error => error.to_string(),
    }
}

/// Some of the names of a certificate, for people.
pub(crate) fn describe_names(certificate: &CertificateDer<'_>) -> String {
    let names = Certificate::parse(certificate).map(|certificate| certificate.names).unwrap_or_default();
    if names.is_empty() {
        return "it has no subjectAltName".to_owned();
    }
    let text = |name: &Name<'_>| match name {
        Name::Dns(name) | Name::Uri(name) => name.replace(|c: char| !c.is_ascii_graphic(), "?"),
        Name::Ip(address) => address.to_string(),
    };
    let listed: Vec<String> = names.iter().take(LISTED).map(text).collect();
    let more = names.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("it is valid for {}{more}", listed.join(", "))
}
