//! Verification of client certificates (GW-10, GW-15, GW-19).

use ir::{ClientAuth, Trust};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use upstream::certificate::{check, check_lists, describe, explain, verify_tls12, verify_tls13};

/// The verifier of client certificates; `None` if none are requested.
pub(super) fn verifier(
    client: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    Ok(match client {
        ClientAuth::None => None,
        ClientAuth::Optional(trust) => Some(Arc::new(Verifier::build(trust, false, provider)?)),
        ClientAuth::Required(trust) => Some(Arc::new(Verifier::build(trust, true, provider)?)),
        ClientAuth::Unverified => {
            Some(Arc::new(Verifier { chain: None, trust: None, mandatory: false, provider: Arc::clone(provider) }))
        }
    })
}

/// Verifies the chain first, then the configured names and pins.
#[derive(Debug)]
struct Verifier {
    /// `None`: any chain is accepted if there is no `trust` either, and none if there is.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    trust: Option<Arc<Trust>>,
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn build(trust: &Arc<Trust>, mandatory: bool, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in &trust.authorities {
            roots.add(CertificateDer::from(authority.0.to_vec()))?;
        }
        let chain = if roots.is_empty() {
            // Without a CA certificate every client is rejected (fail closed).
            None
        } else {
            let revoked = trust.revoked.iter().map(|list| CertificateRevocationListDer::from(list.0.to_vec()));
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let built = builder.with_crls(revoked).enforce_revocation_expiration().build();
            Some(built.map_err(|error| Error::General(error.to_string()))?)
        };
        Ok(Self { chain, trust: Some(Arc::clone(trust)), mandatory, provider: Arc::clone(provider) })
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match (&self.chain, &self.trust) {
            (Some(chain), trust) => {
                let verified = chain.verify_client_cert(certificate, between, now);
                let verified = verified.map_err(|error| {
                    let error = explain(error, certificate, between);
                    tracing::debug!(cause = describe(&error), "a client's certificate is refused");
                    error
                })?;
                if let Some(trust) = trust {
                    check_lists(certificate, between, trust, now)?;
                    check(certificate, trust)?;
                }
                Ok(verified)
            }
            (None, None) => Ok(ClientCertVerified::assertion()),
            (None, Some(_)) => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
