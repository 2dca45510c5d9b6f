//! What backends are told of a client's certificate: `x-forwarded-client-cert` in Envoy's form (S-113).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{ClientAuth, Termination};
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use std::fmt::Write as _;
use webpki::EndEntityCert;

/// Characters in a line of PEM.
const LINE: usize = 64;

/// The header's value for the certificate that a client showed; `None` where it showed none, or none that was verified.
pub(crate) fn told(termination: &Termination, session: &ServerConnection) -> Option<Box<str>> {
    match termination.client {
        ClientAuth::Optional(_) | ClientAuth::Required(_) => {}
        ClientAuth::None | ClientAuth::Unverified => return None,
    }
    session.peer_certificates()?.first().map(|certificate| value(certificate).into())
}

fn value(certificate: &CertificateDer<'_>) -> String {
    let mut out = "Hash=".to_owned();
    for byte in digest(&SHA256, certificate).as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    let _ = write!(out, ";Cert=\"{}\"", escaped(&pem(certificate)));
    if let Ok(parsed) = EndEntityCert::try_from(certificate) {
        let subject = upstream::certificate::subject(parsed.subject()).replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, ";Subject=\"{subject}\"");
        parsed.valid_uri_names().for_each(|name| out.push_str(&format!(";URI={name}")));
        parsed.valid_dns_names().for_each(|name| out.push_str(&format!(";DNS={name}")));
    }
    out
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(LINE) {
        out.push_str(std::str::from_utf8(line).unwrap_or_default());
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// As Envoy escapes PEM.
fn escaped(pem: &str) -> String {
    let mut out = String::with_capacity(pem.len() + 128);
    for c in pem.chars() {
        match c {
            '\n' => out.push_str("%0A"),
            ' ' => out.push_str("%20"),
            '+' => out.push_str("%2B"),
            '/' => out.push_str("%2F"),
            '=' => out.push_str("%3D"),
            other => out.push(other),
        }
    }
    out
}
