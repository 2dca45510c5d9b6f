//! TLS to endpoints (DR-40 to DR-47): SNI and ALPN, verification of the endpoint, and the gateway's certificate.

use crate::certificate;
use crate::identity::certified;
use crate::parameters;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{ClientTls, Sni, StringMatch, Trust, UpstreamProtocol, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// The TLS settings for the endpoints of a cluster, ready for use.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) config: Arc<ClientConfig>,
    sni: Sni,
}

impl Connector {
    /// Builds it from the settings of a cluster.
    pub(crate) fn build(tls: &ClientTls, protocol: &UpstreamProtocol) -> Result<Self, Error> {
        let provider = parameters::provider(&tls.parameters);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&parameters::versions(&tls.parameters))?;
        let verifier = Arc::new(Verifier::build(tls, &provider)?);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &tls.identity {
            Some(identity) => {
                let certified = certified(identity).map_err(|error| Error::General(error.to_string()))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        // DR-47.
        if let UpstreamProtocol::Http2 { .. } = protocol {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Self { config: Arc::new(config), sni: tls.sni.clone() })
    }

    /// The SNI of a connection for a request to `host`; `None` sends none.
    pub(crate) fn sni(&self, host: Option<&str>) -> Option<Arc<str>> {
        match &self.sni {
            Sni::Name(name) => Some(Arc::clone(name)),
            Sni::Host => host.filter(|host| !host.is_empty()).map(Into::into),
            Sni::Absent => None,
        }
    }
}

/// The name for a handshake. An address is not sent as SNI, but certificates may have it.
pub(crate) fn server_name(sni: Option<&str>, address: Option<IpAddr>) -> ServerName<'static> {
    let named = sni.and_then(|name| ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).ok());
    let unnamed = || ServerName::IpAddress(address.unwrap_or(IpAddr::from([0, 0, 0, 0])).into());
    named.unwrap_or_else(unnamed)
}

/// The CA certificates of the system, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

/// Whether the system has certificates of authorities, by which endpoints can be verified where no others are named.
pub fn has_system_authorities() -> bool {
    !system_roots().is_empty()
}

/// Verifies the chain first, then names and pins.
#[derive(Debug)]
struct Verifier {
    /// `None` disables the verification.
    chain: Option<Arc<WebPkiServerVerifier>>,
    trust: Option<Arc<Trust>>,
    by_sni: bool,
    /// The origin of the SNI, for messages.
    from: &'static str,
    /// SHA-256 of the public keys, one of which the certificate has to have; empty demands none.
    key_pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

/// The chain is valid, but the certificate has another name, or another public key.
#[derive(Debug, thiserror::Error)]
enum WrongCertificate {
    #[error(
        "the endpoint's certificate is not valid for `{wanted}` ({from}); {names}: set `tls.sni` or `tls.subjectAltNames` of the DestinationRule to a name that it has"
    )]
    Name { wanted: String, from: &'static str, names: String },
    #[error(
        "the endpoint's certificate has none of the `subjectAltNames` {wanted}; {names}: set `tls.subjectAltNames` of the DestinationRule to a name that it has"
    )]
    Listed { wanted: String, names: String },
    #[error(
        "the public key of the endpoint's certificate is `{0}`, which the annotation `moongate.dev/verify-certificate-spki` of the DestinationRule does not have"
    )]
    Key(String),
}

impl From<WrongCertificate> for Error {
    fn from(wrong: WrongCertificate) -> Self {
        CertificateError::Other(OtherError(Arc::new(wrong))).into()
    }
}

impl Verifier {
    fn build(tls: &ClientTls, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let (provider, key_pins) = (Arc::clone(provider), tls.key_pins.clone());
        let from = match &tls.sni {
            Sni::Name(_) => "the DestinationRule's `tls.sni`",
            Sni::Host | Sni::Absent => "the host that the request is sent to",
        };
        let (trust, by_sni) = match &tls.verify {
            Verify::Nothing => return Ok(Self { chain: None, trust: None, by_sni: false, from, key_pins, provider }),
            Verify::Authorities { trust, by_sni } => (trust.clone(), *by_sni),
        };
        let given = trust.as_ref().filter(|trust| !trust.authorities.is_empty());
        let roots = match given {
            None if !has_system_authorities() => {
                return Err(Error::General("the system has no certificates of authorities".to_owned()));
            }
            None => system_roots(),
            Some(trust) => {
                let mut roots = RootCertStore::empty();
                for authority in &trust.authorities {
                    roots.add(CertificateDer::from(authority.0.to_vec()))?;
                }
                Arc::new(roots)
            }
        };
        let revoked = trust.iter().flat_map(|trust| &trust.revoked);
        let revoked = revoked.map(|list| CertificateRevocationListDer::from(list.0.to_vec()));
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).with_crls(revoked);
        // As in BoringSSL: an expired CRL may lack certificates that were revoked later.
        let chain =
            builder.enforce_revocation_expiration().build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { chain: Some(chain), trust, by_sni, from, key_pins, provider })
    }

    /// Whether a certificate covers a name that webpki rejected.
    fn has_name(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        let (Some(trust), ServerName::DnsName(name)) = (&self.trust, name) else { return false };
        certificate::covers_by_short_wildcard(certificate, name.as_ref(), trust)
    }

    /// Whether the chain is valid, and the certificate has a name that is wanted.
    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(chain) = &self.chain else { return Ok(()) };
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is checked last, so the chain is valid here.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                if self.listed().is_none() && self.by_sni && !self.has_name(certificate, name) {
                    let (wanted, names) = (name.to_str().into_owned(), certificate::describe_names(certificate));
                    return Err(WrongCertificate::Name { wanted, from: self.from, names }.into());
                }
            }
            Err(error) => return Err(certificate::explain(error, certificate, between)),
            Ok(_) => {}
        }
        let Some(trust) = &self.trust else { return Ok(()) };
        certificate::check_lists(certificate, between, trust, now)?;
        certificate::check(certificate, trust).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::NotValidForName) => {
                let names = certificate::describe_names(certificate);
                WrongCertificate::Listed { wanted: list(&trust.names), names }.into()
            }
            error => error,
        })?;
        Ok(())
    }

    fn listed(&self) -> Option<&Trust> {
        self.trust.as_deref().filter(|trust| !trust.names.is_empty())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_chain(certificate, between, name, ocsp, now)?;
        if !self.key_pins.is_empty() {
            let key = certificate::key_digest(certificate)?;
            if !self.key_pins.contains(&key) {
                return Err(WrongCertificate::Key(format!("sha256/{}", STANDARD.encode(key))).into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::verify_tls12(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::verify_tls13(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The demanded names, for people.
fn list(names: &[StringMatch]) -> String {
    let text = |name: &StringMatch| match name {
        StringMatch::Exact(text) => format!("`{text}`"),
        StringMatch::Prefix(text) => format!("`{text}…`"),
        StringMatch::Regex(pattern) => format!("`{}`", pattern.as_str()),
    };
    names.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
