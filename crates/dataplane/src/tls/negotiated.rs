//! The negotiated parameters of a client's TLS session, for header variables (VS-47).

use super::xfcc::{escaped, pem};
use aws_lc_rs::digest::{SHA256, digest};
use ir::{ClientAuth, PeerFact, Termination};
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use std::cell::OnceCell;
use webpki::EndEntityCert;

/// The negotiated parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct NegotiatedTls {
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    /// The client's certificate, if it was verified.
    peer: Option<CertificateDer<'static>>,
    /// The names in it, once a policy has asked for them.
    identity: OnceCell<Box<[Box<str>]>>,
}

impl NegotiatedTls {
    /// The parameters of a finished handshake.
    pub(crate) fn of(termination: &Termination, session: &ServerConnection) -> Self {
        let verified = matches!(termination.client, ClientAuth::Optional(_) | ClientAuth::Required(_));
        let peer = session.peer_certificates().filter(|_| verified).and_then(<[_]>::first);
        Self {
            version: session.protocol_version(),
            suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
            peer: peer.map(|certificate| certificate.clone().into_owned()),
            identity: OnceCell::new(),
        }
    }

    /// `TLSv1.2` or `TLSv1.3`; empty if unknown.
    pub(crate) fn version(&self) -> &'static str {
        match self.version {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        }
    }

    /// The cipher suite by its OpenSSL name, as in Envoy.
    pub(crate) fn cipher(&self) -> &'static str {
        match self.suite {
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
            Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-RSA-CHACHA20-POLY1305",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-ECDSA-CHACHA20-POLY1305",
            _ => "",
        }
    }

    /// The names of the client's certificate that policies compare: its URIs, its DNS names, its subject (AP-09).
    pub(crate) fn identity(&self) -> &[Box<str>] {
        self.identity.get_or_init(|| {
            let Some(parsed) = self.peer.as_ref().and_then(|peer| EndEntityCert::try_from(peer).ok()) else {
                return Box::default();
            };
            let names = parsed.valid_uri_names().chain(parsed.valid_dns_names()).map(Box::from);
            names.chain(std::iter::once(ir::x509::name_text(parsed.subject()).into())).collect()
        })
    }

    /// A property of the client's certificate, as Envoy writes it; empty without a certificate.
    pub(crate) fn peer(&self, fact: PeerFact) -> String {
        let parsed = self.peer.as_ref().and_then(|peer| Some((peer, EndEntityCert::try_from(peer).ok()?)));
        let Some((peer, parsed)) = parsed else { return String::new() };
        match fact {
            PeerFact::UriSan => parsed.valid_uri_names().collect::<Vec<_>>().join(","),
            PeerFact::DnsSan => parsed.valid_dns_names().collect::<Vec<_>>().join(","),
            PeerFact::Subject => ir::x509::name_text(parsed.subject()),
            PeerFact::Issuer => ir::x509::name_text(parsed.issuer()),
            PeerFact::Serial => hexadecimal(parsed.serial().iter().skip_while(|byte| **byte == 0)),
            PeerFact::Fingerprint => hexadecimal(digest(&SHA256, peer).as_ref().iter()),
            PeerFact::Certificate => escaped(&pem(peer)),
        }
    }
}

fn hexadecimal<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    #[test]
    fn vs_47_facts_of_a_client_certificate_are_written_as_envoy_does() {
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "c");
        params.serial_number = Some(SerialNumber::from_slice(&[0xab, 0x01]));
        params.subject_alt_names.push(SanType::URI("spiffe://x/y".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let negotiated = NegotiatedTls { peer: Some(certificate.der().clone()), ..NegotiatedTls::default() };
        let facts = [PeerFact::UriSan, PeerFact::DnsSan, PeerFact::Subject, PeerFact::Issuer, PeerFact::Serial];
        assert_eq!(facts.map(|fact| negotiated.peer(fact)), ["spiffe://x/y", "a.test,b.test", "CN=c", "CN=c", "ab01"]);
        assert_eq!(negotiated.identity().join(" "), "spiffe://x/y a.test b.test CN=c");
        assert!(NegotiatedTls::default().identity().is_empty());
        assert_eq!(negotiated.peer(PeerFact::Fingerprint).len(), 64);
        assert!(negotiated.peer(PeerFact::Certificate).starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
        assert_eq!(NegotiatedTls::default().peer(PeerFact::Subject), "");
    }
}
