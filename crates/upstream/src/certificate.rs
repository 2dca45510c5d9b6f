//! Checks of a certificate besides its chain: names and pins (GW-15, DR-43), the same for clients and endpoints.

mod version;

pub use version::{explain, verify_tls12, verify_tls13};

use aws_lc_rs::digest::{SHA256, digest};
use ir::x509::{Certificate, Name};
use ir::{StringMatch, Trust};
use rustls::pki_types::CertificateDer;
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

/// An X.501 name as text (RFC 4514), with the most specific part first. `name` is the content of its sequence; the text ends at an invalid
/// element.
pub fn subject(name: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some((SET, set, behind)) = element(rest) {
        let mut values = Vec::new();
        let mut inner = set;
        while let Some((SEQUENCE, pair, behind)) = element(inner) {
            values.extend(attribute(pair));
            inner = behind;
        }
        parts.push(values.join("+"));
        rest = behind;
    }
    parts.reverse();
    parts.join(",")
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The first DER element: its tag, its content, and the rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f).min(4))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

fn attribute(pair: &[u8]) -> Option<String> {
    let (_, kind, rest) = element(pair)?;
    let (_, value, _) = element(rest)?;
    let name = match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return None,
    };
    let mut text = String::new();
    for (at, c) in String::from_utf8_lossy(value).chars().enumerate() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || (at == 0 && matches!(c, '#' | ' ')) {
            text.push('\\');
        }
        // A control character could end the header that the text is written to.
        text.push(if c.is_control() { '?' } else { c });
    }
    Some(format!("{name}={text}"))
}

#[cfg(test)]
mod tests {
    use super::subject;

    #[test]
    fn a_subject_is_written_from_its_last_part() {
        let part = |kind: u8, text: &str| {
            let value = [&[0x0c, text.len() as u8][..], text.as_bytes()].concat();
            let pair = [&[0x06, 3, 0x55, 4, kind][..], &value].concat();
            let sequence = [&[0x30, pair.len() as u8][..], &pair].concat();
            [&[0x31, sequence.len() as u8][..], &sequence].concat()
        };
        let name = [part(6, "DE"), part(10, "A, B"), part(3, "x\r\ny")].concat();
        assert_eq!(subject(&name), "CN=x??y,O=A\\, B,C=DE");
        assert_eq!(subject(&name[..name.len() - 1]), "O=A\\, B,C=DE");
        assert_eq!(subject(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), "");
    }
}
