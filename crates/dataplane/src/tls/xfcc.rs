//! The header `x-forwarded-client-cert`, with the client's certificate for backends, in Envoy's format (S-113).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{CertificateDetails, ClientAuth, Termination};
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use std::fmt::Write as _;
use webpki::EndEntityCert;

/// Characters in a line of PEM.
const LINE: usize = 64;

/// The value of the header, with the parts that `details` select; `None` without a verified client certificate. `by` is the URI SAN of the
/// server's certificate.
pub(crate) fn xfcc_header(
    termination: &Termination,
    session: &ServerConnection,
    details: CertificateDetails,
    by: Option<&str>,
) -> Option<Box<str>> {
    match termination.client {
        ClientAuth::Optional(_) | ClientAuth::Required(_) => {}
        ClientAuth::None | ClientAuth::Unverified => return None,
    }
    let chain = session.peer_certificates()?;
    chain.first().map(|certificate| value(certificate, chain, details, by).into())
}

/// The first URI SAN of a certificate.
pub(super) fn uri(certificate: &[u8]) -> Option<Box<str>> {
    let certificate = CertificateDer::from(certificate);
    let parsed = EndEntityCert::try_from(&certificate).ok()?;
    parsed.valid_uri_names().next().map(Into::into)
}

fn value(
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    details: CertificateDetails,
    by: Option<&str>,
) -> String {
    let mut out = String::new();
    if let Some(by) = by {
        put(&mut out, "By=", by);
        out.push(';');
    }
    out.push_str("Hash=");
    for byte in digest(&SHA256, certificate).as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    if details.cert {
        let _ = write!(out, ";Cert=\"{}\"", escaped(&pem(certificate)));
    }
    if details.chain {
        let all: String = chain.iter().map(|one| escaped(&pem(one))).collect();
        let _ = write!(out, ";Chain=\"{all}\"");
    }
    let Ok(parsed) = EndEntityCert::try_from(certificate) else { return out };
    if details.subject {
        let _ = write!(out, ";Subject=\"{}\"", ir::x509::name_text(parsed.subject()));
    }
    if details.uri {
        let before = out.len();
        parsed.valid_uri_names().for_each(|name| put(&mut out, ";URI=", name));
        if out.len() == before {
            // The key is written even if there is no URI.
            out.push_str(";URI=");
        }
    }
    if details.dns {
        parsed.valid_dns_names().for_each(|name| put(&mut out, ";DNS=", name));
    }
    out
}

/// Appends a value, in quotes if it has delimiters.
fn put(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    let quoted = value.contains([',', ';', '=', '"']);
    if quoted {
        out.push('"');
    }
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            // A control character could end the header.
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    if quoted {
        out.push('"');
    }
}

pub(super) fn pem(certificate: &[u8]) -> String {
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
pub(super) fn escaped(pem: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "A, B");
        params.distinguished_name.push(DnType::CommonName, "c \"x\"");
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn header(uris: &[&str], details: CertificateDetails, by: Option<&str>) -> String {
        let certificate = certificate(uris);
        let hash: String = digest(&SHA256, &certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let pem = escaped(&pem(&certificate));
        let chain = [certificate.clone(), certificate.clone()];
        value(&certificate, &chain, details, by).replace(&hash, "H").replace(&pem, "P")
    }

    #[test]
    fn s_113_gateways_say_hash_certificate_subject_uris_and_names() {
        assert_eq!(
            header(&["spiffe://x/y"], CertificateDetails::default(), None),
            "Hash=H;Cert=\"P\";Subject=\"CN=c \\\"x\\\",O=A\\, B\";URI=spiffe://x/y;DNS=a.test;DNS=b.test"
        );
    }

    #[test]
    fn pc_03_what_is_said_is_a_matter_of_settings() {
        let none = CertificateDetails { subject: false, cert: false, chain: false, dns: false, uri: false };
        assert_eq!(header(&["spiffe://x/y"], none, Some("spiffe://gateway")), "By=spiffe://gateway;Hash=H");
        assert_eq!(header(&[], CertificateDetails { chain: true, ..none }, None), "Hash=H;Chain=\"PP\"");
        assert_eq!(header(&[], CertificateDetails { uri: true, ..none }, None), "Hash=H;URI=");
        let uris = ["urn:a", "urn:b,By=c"];
        assert_eq!(
            header(&uris, CertificateDetails { uri: true, ..none }, None),
            "Hash=H;URI=urn:a;URI=\"urn:b,By=c\""
        );
    }
}
