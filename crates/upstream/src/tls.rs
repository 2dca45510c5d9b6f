//! TLS to endpoints (DR-40 to DR-47): what is asked for, who is believed, who we say we are.

use crate::certificate;
use crate::parameters;
use ir::{ClientTls, Identity, KeyForm, Sni, Trust, UpstreamProtocol, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// How TLS is spoken to the endpoints of one cluster.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) config: Arc<ClientConfig>,
    sni: Sni,
}

impl Connector {
    /// Works the settings of a cluster out.
    pub(crate) fn build(tls: &ClientTls, protocol: UpstreamProtocol) -> Result<Self, Error> {
        let provider = parameters::provider(&tls.parameters);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&parameters::versions(&tls.parameters))?;
        let verifier = Arc::new(Verifier::build(&tls.verify, &provider)?);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &tls.identity {
            Some(identity) => builder.with_client_auth_cert(chain(identity), key(identity))?,
            None => builder.with_no_client_auth(),
        };
        // DR-47.
        if let UpstreamProtocol::Http2 { .. } = protocol {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Self { config: Arc::new(config), sni: tls.sni.clone() })
    }

    /// The name that is asked for where a request goes to `host`; `None` asks for none.
    pub(crate) fn sni(&self, host: Option<&str>) -> Option<Arc<str>> {
        match &self.sni {
            Sni::Name(name) => Some(Arc::clone(name)),
            Sni::Host => host.filter(|host| !host.is_empty()).map(Into::into),
            Sni::Absent => None,
        }
    }
}

/// The name for a handshake. An address is no name to be asked for, but certificates may have it.
pub(crate) fn server_name(sni: Option<&str>, address: Option<IpAddr>) -> ServerName<'static> {
    let named = sni.and_then(|name| ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).ok());
    let unnamed = || ServerName::IpAddress(address.unwrap_or(IpAddr::from([0, 0, 0, 0])).into());
    named.unwrap_or_else(unnamed)
}

fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    identity.chain.iter().map(|certificate| CertificateDer::from(certificate.0.to_vec())).collect()
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    let der = identity.key.der.to_vec();
    match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    }
}

/// The authorities that the system trusts, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::error!(
                "the system has no certificates of authorities, so that no endpoint can be verified by them"
            );
        }
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

/// The chain first, then names and pins.
#[derive(Debug)]
struct Verifier {
    /// `None` verifies nothing.
    chain: Option<Arc<WebPkiServerVerifier>>,
    trust: Option<Arc<Trust>>,
    by_sni: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn build(verify: &Verify, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let provider = Arc::clone(provider);
        let (trust, by_sni) = match verify {
            Verify::Nothing => return Ok(Self { chain: None, trust: None, by_sni: false, provider }),
            Verify::Authorities { trust, by_sni } => (trust.clone(), *by_sni),
        };
        let given = trust.as_ref().filter(|trust| !trust.authorities.is_empty());
        let roots = match given {
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
        let chain = builder.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { chain: Some(chain), trust, by_sni, provider })
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
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let listed = self.trust.as_ref().is_some_and(|trust| !trust.names.is_empty());
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is looked at last: who gets that far has a chain that is good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if listed || !self.by_sni => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        self.trust.as_ref().map_or(Ok(()), |trust| certificate::check(certificate, trust))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
